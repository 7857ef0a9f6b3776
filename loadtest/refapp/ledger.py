"""What one request has spent so far, and how far away a server is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_NEAR_NS = 5_000_000  # no two regions are closer; what answers sooner stands beside the app


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


class Distance:
    """How far away a server is, told by its quickest answer."""

    def __init__(self) -> None:
        self._quickest_ns: int | None = None

    def note(self, took_ns: int) -> int:
        """
        Take note of how long one round trip took.

        Returns:
            The part of it that was the way to another region.  A server beside the app costs
            nothing: what its work takes is part of a page's base time.
        """
        if self._quickest_ns is None or took_ns < self._quickest_ns:
            self._quickest_ns = took_ns
        return self.away_ns

    @property
    def away_ns(self) -> int:
        """Return the time that a round trip spends on the way to another region."""
        quickest_ns = self._quickest_ns or 0
        return quickest_ns if quickest_ns >= _NEAR_NS else 0
