"""Where requests go: scheme, address, names for TLS and the Host header, and addresses of names."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

import gevent
from gevent import socket as gevent_socket

from loadtest.errors import EngineError
from loadtest.records.kinds import HTTP_1, HTTP_2, HTTP_AUTO

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REMEMBERED_HEADS = 1024
_OFFERS = {HTTP_AUTO: ["h2", "http/1.1"], HTTP_1: ["http/1.1"], HTTP_2: ["h2"]}


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

    Raises:
        EngineError: The URL or the CA file cannot be used.
    """

    def __init__(self, url: str, host: str = "", ca_file: str = "", http: str = HTTP_AUTO) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise EngineError(f"target URL {url!r}: {error}") from None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise EngineError(f"target URL {url!r}: need http://HOST[:PORT] or https://HOST[:PORT]")
        self.url, self.host, self.ca_file, self.http = url, host, ca_file, http
        self.name = parts.hostname
        """Host of the URL: what is looked up and connected to."""
        self.port = port or _DEFAULT_PORTS[parts.scheme]
        # a zone means something on this machine alone: no part of Host (RFC 6874, 4)
        plain, percent, zone = self.name.partition("%")
        if percent:
            self.name = f"{plain}%{zone.removeprefix('25')}"
        self.host_header = host or _authority(plain, port)
        self.server_name = urlsplit(f"//{self.host_header}").hostname or self.name
        self.context = _tls_context(ca_file, http) if parts.scheme == "https" else None
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
def origin_of(url: str, host: str = "", ca_file: str = "", http: str = HTTP_AUTO) -> Origin:
    """Return the one Origin of these values (see there)."""
    return Origin(url, host, ca_file, http)


def _authority(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


@lru_cache(maxsize=64)
def _tls_context(ca_file: str, http: str) -> ssl.SSLContext:
    """Return a verifying client context: chain, host name, and what ALPN offers."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise EngineError(
            f"CA file {ca_file!r} cannot be read as PEM certificates: {error}"
        ) from None
    context.set_alpn_protocols(_OFFERS[http])
    return context


class Address:
    """One socket address: family and what connect() takes."""

    __slots__ = ("family", "host", "sockaddr")

    def __init__(self, family: int, sockaddr: tuple[Any, ...]) -> None:
        self.family = family
        self.sockaddr = sockaddr
        self.host: str = sockaddr[0]


class AddressResolver:
    """
    Looks a name up once and keeps the answer for the run, in the order the system gives.

    A name is pinned so that all requests of a run go to the same place and no request but the first
    pays for the look-up.  Users who ask at the same time share one look-up.
    """

    def __init__(self) -> None:
        self._pinned: dict[tuple[str, int], list[Address]] = {}
        self._pending: dict[tuple[str, int], Any] = {}

    def addresses(self, host: str, port: int) -> list[Address]:
        """
        Return a name's addresses; blocks the calling greenlet for the first look-up only.

        Raises:
            OSError: The name has none.
        """
        key = (host, port)
        found = self._pinned.get(key)
        if found is None:
            found = _literal(host, port) or self._look_up(key)
            self._pinned[key] = found
        return found

    def _look_up(self, key: tuple[str, int]) -> list[Address]:
        pending = self._pending.get(key)
        if pending is None:
            # its own greenlet: who gives up waiting does not take the answer from the others
            pending = self._pending[key] = gevent.spawn(_getaddrinfo, *key)
            pending.link(lambda _: self._pending.pop(key, None))
        found = pending.get()
        if isinstance(found, OSError):
            raise found
        addresses: list[Address] = found
        return addresses


def _getaddrinfo(host: str, port: int) -> list[Address] | OSError:
    try:
        found = gevent_socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except OSError as error:
        return error  # handed over as a value: gevent prints what a greenlet raises
    except UnicodeError as error:
        return OSError(f"no valid name: {error}")
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def _literal(host: str, port: int) -> list[Address] | None:
    """Return the address that a literal such as 127.0.0.1 or ::1 names, or None for a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if version == 4:
        return [Address(socket.AF_INET, (host, port))]
    plain, _, scope = host.partition("%")
    try:
        scope_id = int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    except OSError:
        return None
    return [Address(socket.AF_INET6, (plain, port, 0, scope_id))]
