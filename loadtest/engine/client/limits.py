"""How long and how large a request may become before it counts as failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Bounds of one request; each phase has its own time-out.

    A request's own ``timeout`` replaces ``read_s`` and lowers every other time-out that is longer.
    """

    dns_s: float = 5.0
    connect_s: float = 10.0
    """Over all addresses of a name, each of which is tried 250 ms after the one before."""
    tls_s: float = 10.0
    send_s: float = 30.0
    read_s: float = 60.0
    """From the last request byte to the last response byte: a trickle cannot hold a user."""
    head_bytes: int = 64 * 1024
    body_bytes: int = 64 * 1024 * 1024
    keep_bytes: int = 1024 * 1024
    """How much of a response is kept for ``text``, ``json()`` and ``content``; of the plan's
    ``client.keep_bytes``."""
    expect: frozenset[int] = frozenset()
    """Statuses that are a success, as for `refuses`."""
    idle_connections: int = 1
    """Connections kept open per user and origin; the one used last is taken first."""
