"""Where requests go: scheme, address, and names for TLS and the Host header."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from loadtest.engine.client.names import ascii_name
from loadtest.engine.client.tls import PLAIN, TlsChoice, tls_context
from loadtest.errors import EngineError
from loadtest.records.kinds import HTTP_2, HTTP_AUTO

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REMEMBERED_HEADS = 1024


class TargetLike(Protocol):
    """Anything with the fields of ``plan.order.Target``."""

    @property
    def url(self) -> str:
        """Base URL without a path."""
        ...

    @property
    def host(self) -> str:
        """Host header to send instead of the URL's own; empty keeps it."""
        ...

    @property
    def ca_file(self) -> str:
        """PEM file to verify TLS against; empty uses the system's trust."""
        ...

    @property
    def http(self) -> str:
        """``auto``, ``1.1`` or ``2``."""
        ...


class Origin:
    """
    One place that connections lead to; shared by all users of a process. It is a target itself.

    Args:
        url: Base URL; its path is not read.
        host: Host header that replaces the URL's, and the name that TLS asks for and verifies;
            empty: the URL's own.
        ca_file: PEM file to trust; empty: the system's.
        http: ``auto``, ``1.1`` or ``2``: what is spoken.
        tls: What is trusted and shown besides.

    Raises:
        EngineError: The URL or a file of TLS cannot be used.
    """

    def __init__(
        self,
        url: str,
        host: str = "",
        ca_file: str = "",
        http: str = HTTP_AUTO,
        tls: TlsChoice = PLAIN,
    ) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise EngineError(f"target URL {url!r}: {error}") from None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise EngineError(f"target URL {url!r}: need http://HOST[:PORT] or https://HOST[:PORT]")
        self.url, self.host, self.ca_file, self.http, self.tls = url, host, ca_file, http, tls
        self.name = ascii_name(parts.hostname)
        """Host of the URL: what is looked up and connected to."""
        self.port = port or _DEFAULT_PORTS[parts.scheme]
        # a zone means something on this machine alone: no part of Host (RFC 6874, 4)
        plain, percent, zone = self.name.partition("%")
        if percent:
            self.name = f"{plain}%{zone.removeprefix('25')}"
        self.host_header = host or _authority(plain, port)
        self.server_name = urlsplit(f"//{self.host_header}").hostname or self.name
        self.context = tls_context(ca_file, http, tls) if parts.scheme == "https" else None
        undecided = http == HTTP_AUTO and self.context is not None
        self.shares: bool | None = None if undecided else http == HTTP_2
        """Whether requests of one user can share a connection, as the server said last; None until
        a first handshake has said so."""
        self.heads: dict[Any, Any] = {}
        """Request heads built before; emptied when it has grown too large."""

    @property
    def secure(self) -> bool:
        """Whether connections are TLS."""
        return self.context is not None

    def remember_head(self, key: Any, value: Any) -> None:
        """Keep a built request head for its next use."""
        if len(self.heads) >= _REMEMBERED_HEADS:
            self.heads.clear()
        self.heads[key] = value


@lru_cache(maxsize=1024)
def origin_of(
    url: str,
    host: str = "",
    ca_file: str = "",
    http: str = HTTP_AUTO,
    tls: TlsChoice = PLAIN,
) -> Origin:
    """Return the one Origin of these values (see there)."""
    return Origin(url, host, ca_file, http, tls)


def _authority(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
