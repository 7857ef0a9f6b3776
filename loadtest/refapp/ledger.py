"""What one request has spent so far, and how far away a server is."""

from __future__ import annotations

import time
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field

_NEAR_NS = 5_000_000  # no two regions are closer; what answers sooner stands beside the app
_REMEMBERED = 32


@dataclass(slots=True)
class Ledger:
    """
    What one request spent: when it began, how long and how often it waited for others.

    ``away_ns`` is the part of the waiting that was spent on the way to other regions.
    """

    start_ns: int = field(default_factory=time.monotonic_ns)
    database_ns: int = 0
    round_trips: int = 0
    cache_ns: int = 0
    cache_round_trips: int = 0
    away_ns: int = 0


LEDGER: ContextVar[Ledger] = ContextVar("ledger")
"""That of the request which is being answered, for what has no hold of the request itself."""


class Distance:
    """
    How far away a server is, told by the quickest of its latest answers.

    The latest ones alone: what an app was connected to while it started may not be what it is
    connected to under load.
    """

    def __init__(self) -> None:
        self._latest_ns: deque[int] = deque(maxlen=_REMEMBERED)

    def note(self, took_ns: int) -> int:
        """
        Take note of how long one round trip took; one that failed is none.

        Returns:
            The part of it that was the way to another region.  A server beside the app costs
            nothing: what its work takes is part of a page's base time.
        """
        self._latest_ns.append(took_ns)
        return self.away_ns

    @property
    def away_ns(self) -> int:
        """Return the time that a round trip spends on the way to another region."""
        quickest_ns = min(self._latest_ns, default=0)
        return quickest_ns if quickest_ns >= _NEAR_NS else 0
