"""How long and how large a request may become before it counts as failed."""

from __future__ import annotations

from dataclasses import dataclass

_SAFE = ("GET", "HEAD", "OPTIONS")
_NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Bounds of one request; each phase has its own time-out.

    A request's own ``timeout`` replaces ``read_s`` and lowers every other time-out that is longer.
    """

    dns_s: float = 5.0
    connect_s: float = 10.0
    """Over all addresses of a name; what is left is shared evenly among the addresses left."""
    tls_s: float = 10.0
    send_s: float = 30.0
    read_s: float = 60.0
    """From the last request byte to the last response byte: a trickle cannot hold a user."""
    head_bytes: int = 64 * 1024
    body_bytes: int = 64 * 1024 * 1024
    keep_bytes: int = 1024 * 1024
    """How much of a response is kept for ``text``, ``json()`` and ``content``."""
    expect: frozenset[int] = frozenset()
    """Statuses that are a success; empty: those below 300, 304, and a redirect after a form."""
    idle_connections: int = 1
    """Connections kept open per user and origin; the one used last is taken first."""

    def refuses(self, method: str, status: int) -> bool:
        """
        Tell whether a status means that the request did not get what it asked for.

        A redirect is not followed, so a page that answers with one was never measured; after a form
        (POST and the like) it is the answer that is wanted.
        """
        if self.expect:
            return status not in self.expect
        if 300 <= status < 400:
            return method in _SAFE and status != _NOT_MODIFIED
        return status >= 400


def status_sentence(status: int) -> str:
    """Return what a status that is no success means for whoever measured it."""
    if 300 <= status < 400:
        return f"HTTP {status}, a redirect, which is not followed: ask for where it leads"
    return f"HTTP {status}"
