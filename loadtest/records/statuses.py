"""What a status means for whoever asked: one rule for the client, and for the look before load."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_NOT_MODIFIED: Final = 304


def refuses(expect: Collection[int], method: str, status: int) -> bool:
    """
    Tell whether a status means that the request did not get what it asked for.

    A redirect is not followed, so a page that answers with one was never measured; after a form
    (POST and the like) it is the answer that is wanted.

    Args:
        expect: Statuses that are a success; empty: those below 300, 304, and a redirect after a
            form.
        method: The request's method, in capitals.
        status: The answer's.
    """
    if expect:
        return status not in expect
    if 300 <= status < 400:
        return method in _SAFE and status != _NOT_MODIFIED
    return status >= 400


def status_sentence(status: int) -> str:
    """Return what a status that is no success means for whoever measured it."""
    if 300 <= status < 400:
        return f"HTTP {status}, a redirect, which is not followed: ask for where it leads"
    return f"HTTP {status}"


def proxys_own(status: int, reason: str = "") -> str:
    """Return what it means that a proxy answered itself: the app may have failed in any way."""
    return f"HTTP {status} of the proxy ({reason}" + (")" if reason else "")
