"""
What an edge does to HTTP and TLS on a port, beside passing it on.

Source: superfly/fly-go, machine_types.go (HTTPOptions, TLSOptions, ReplayCache).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.fly.values import Json

HeaderValue = str | bool | tuple[str, ...]
"""False takes a response header away; text, or several texts, set it."""


@dataclass(frozen=True, slots=True)
class ReplayCache:
    """
    Edges remember where the app replayed a request, by a cookie or a header of it.

    Args:
        path_prefix: Requests it holds for.
        ttl_s: Seconds that an edge remembers.
        type: ``cookie`` or ``header``.
        name: Name of that cookie or header.
        allow_bypass: A request may ask not to be served from memory.
    """

    path_prefix: str
    ttl_s: int
    type: str
    name: str
    allow_bypass: bool = False

    def to_json(self) -> Json:
        """Return the API's form."""
        data: Json = {
            "path_prefix": self.path_prefix,
            "ttl_seconds": self.ttl_s,
            "type": self.type,
            "name": self.name,
        }
        return data | ({"allow_bypass": True} if self.allow_bypass else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReplayCache:
        """Read the API's form."""
        return cls(
            str(data.get("path_prefix") or ""),
            int(data.get("ttl_seconds") or 0),
            str(data.get("type") or "cookie"),
            str(data.get("name") or ""),
            bool(data.get("allow_bypass")),
        )


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """
    What an edge does to the requests and answers of a port; None leaves the edge's own way.

    Args:
        compress: Answers are compressed by the edge.
        pristine: The edge adds no header of its own to an answer.
        response_headers: Headers of every answer, set or taken away.
        h2_backend: The edge speaks HTTP/2 to the machine.
        idle_timeout_s: Seconds without a byte until a connection is closed.
        headers_read_timeout_s: Seconds that a client has to send its request's head.
        replay_cache: What edges remember of replays.
    """

    compress: bool | None = None
    pristine: bool | None = None
    response_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    h2_backend: bool | None = None
    idle_timeout_s: int | None = None
    headers_read_timeout_s: int | None = None
    replay_cache: tuple[ReplayCache, ...] = ()

    def to_json(self) -> Json:
        """Return the API's form."""
        response: Json = {"pristine": self.pristine}
        if self.response_headers:
            response["headers"] = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.response_headers.items()
            }
        response = _present(response)
        return _present(
            {
                "compress": self.compress,
                "h2_backend": self.h2_backend,
                "idle_timeout": self.idle_timeout_s,
                "headers_read_timeout": self.headers_read_timeout_s,
                "response": response or None,
                "replay_cache": [cache.to_json() for cache in self.replay_cache] or None,
            }
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> HttpOptions:
        """Read the API's form; TypeError or ValueError when it makes no sense."""
        data = data or {}
        response = data.get("response") or {}
        return cls(
            compress=data.get("compress"),
            pristine=response.get("pristine"),
            response_headers={
                str(name): tuple(map(str, value)) if isinstance(value, list) else value
                for name, value in (response.get("headers") or {}).items()
            },
            h2_backend=data.get("h2_backend"),
            idle_timeout_s=data.get("idle_timeout"),
            headers_read_timeout_s=data.get("headers_read_timeout"),
            replay_cache=tuple(ReplayCache.from_json(c) for c in data.get("replay_cache") or ()),
        )


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How an edge ends TLS on a port: protocols it offers, versions, a self-signed certificate."""

    alpn: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    default_self_signed: bool | None = None

    def to_json(self) -> Json:
        """Return the API's form."""
        return _present(
            {
                "alpn": list(self.alpn) or None,
                "versions": list(self.versions) or None,
                "default_self_signed": self.default_self_signed,
            }
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> TlsOptions:
        """Read the API's form."""
        data = data or {}
        return cls(
            tuple(data.get("alpn") or ()),
            tuple(data.get("versions") or ()),
            data.get("default_self_signed"),
        )


def _present(data: Json) -> Json:
    return {key: value for key, value in data.items() if value is not None}
