"""
What an app asks the proxy to remember of a replay, so that the next request goes there at once.

    fly-replay-cache: shop.example/basket/*
    fly-replay-cache-ttl-secs: 60

Source: https://fly.io/docs/networking/dynamic-request-routing/, "Replay caching"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

LEAST_TTL_S: Final = 10
"""What is to be remembered for less is not remembered."""


@dataclass(frozen=True, slots=True)
class Keep:
    """
    What to remember of a replay.

    Args:
        domain: Host that it holds for; empty is that of the request.
        prefix: Paths that it holds for.
        ttl_s: For how long.
        allow_bypass: A request may ask not to be served from memory.
        invalidate: Forget what led here, in place of all that.
    """

    domain: str = ""
    prefix: str = "/"
    ttl_s: int = 0
    allow_bypass: bool = False
    invalidate: bool = False


def keep_in_headers(header: Callable[[bytes], bytes | None]) -> Keep | None:
    """
    Return what an answer's headers ask to be remembered; None where they ask for nothing of use.

    Args:
        header: Returns the value of a header of the answer.
    """
    what = _text(header(b"fly-replay-cache"))
    ttl = _text(header(b"fly-replay-cache-ttl-secs"))
    bypass = _text(header(b"fly-replay-cache-allow-bypass")).lower() == "yes"
    return _keep(what, int(ttl) if ttl.isdecimal() and len(ttl) < 10 else 0, bypass=bypass)


def keep_in_json(value: object) -> Keep | None:
    """Return the same of the ``cache`` of a replay's JSON form."""
    if not isinstance(value, Mapping):
        return None
    if value.get("invalidate") is True:
        return Keep(invalidate=True)
    prefix, ttl = value.get("prefix"), value.get("ttl")
    if not isinstance(prefix, str) or not isinstance(ttl, int):
        return None
    return _keep(prefix, ttl, bypass=value.get("allow_bypass") is True)


def _keep(what: str, ttl_s: int, *, bypass: bool) -> Keep | None:
    if what.lower() == "invalidate":
        return Keep(invalidate=True)
    domain, slash, path = what.partition("/")
    if not slash or ttl_s < LEAST_TTL_S:
        return None
    return Keep(domain.lower(), "/" + path.removesuffix("*"), ttl_s, bypass)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1").strip()
