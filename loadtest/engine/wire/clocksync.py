"""
One time line for machines whose clocks differ: the four-stamp exchange of NTP.

A worker stamps its question (t1), the coordinator stamps receipt and answer (t2, t3), the worker
stamps the answer's arrival (t4).  Offset and delay follow from the four.

Source: RFC 5905 (NTPv4), section 8.
"""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.clock import Clock
from loadtest.frozen import Signed
from loadtest.records.facts import ClockFacts
from loadtest.units import NS_PER_US

_READS = 8
_KEPT = 256


class Timeline:
    """
    Wall-clock time that never steps: the monotonic clock plus an offset read once.

    Args:
        clock: Source of both clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._monotonic_ns = clock.monotonic_ns
        tightest, self._base_ns = min(self._read(clock) for _ in range(_READS))
        self.uncertainty_ns = tightest

    @staticmethod
    def _read(clock: Clock) -> tuple[int, int]:
        before = clock.monotonic_ns()
        wall = clock.wall_ns()
        after = clock.monotonic_ns()
        return after - before, wall - (before + after) // 2

    def now_ns(self) -> int:
        """Return nanoseconds since the UNIX epoch by this time line."""
        return self._monotonic_ns() + self._base_ns

    def to_monotonic_ns(self, wall_ns: int) -> int:
        """Return the monotonic reading that belongs to a moment of this time line."""
        return wall_ns - self._base_ns


@dataclass(frozen=True, slots=True)
class ClockExchange:
    """One exchange: the coordinator's time line minus the worker's, and the round trip it took."""

    offset_ns: int
    delay_ns: int

    @classmethod
    def of(cls, t1: int, t2: int, t3: int, t4: int) -> ClockExchange:
        """Return offset and delay of four stamps in nanoseconds."""
        return cls(((t2 - t1) + (t3 - t4)) // 2, (t4 - t1) - (t3 - t2))


class ClockSync:
    """
    Collects exchanges and says how far the coordinator's time line is ahead, and how surely.

    The quickest exchanges waited least in queues, so they are the truest.  Their spread is the
    uncertainty.  A path that is slower one way than the other shifts the offset by half the
    difference, which no exchange can see; ``bound_us`` (half the delay) is the limit of that.
    """

    def __init__(self) -> None:
        self._exchanges: list[ClockExchange] = []
        self.used_ns = 0
        """The offset that the current segment was started with."""

    def __len__(self) -> int:
        return len(self._exchanges)

    def add(self, t1: int, t2: int, t3: int, t4: int) -> None:
        """Take in one exchange; one that contradicts itself is ignored."""
        exchange = ClockExchange.of(t1, t2, t3, t4)
        if exchange.delay_ns >= 0:
            self._exchanges.append(exchange)
            del self._exchanges[:-_KEPT]

    def settle(self) -> int:
        """Fix the best offset so far as the one in use and return it, in nanoseconds."""
        self.used_ns = self._best().offset_ns
        return self.used_ns

    def report(self) -> ClockFacts:
        """
        Return the worker's clock against the coordinator's, in microseconds.

        ``offset_us`` is positive when the worker's clock is ahead.  ``uncertainty_us`` covers the
        spread of the quickest exchanges and whatever the clocks drifted since ``settle``.
        """
        if not self._exchanges:
            return ClockFacts(Signed(0.0), 0.0, 0.0, 0)
        quick = self._quick()
        furthest = max(abs(exchange.offset_ns - self.used_ns) for exchange in quick)
        return ClockFacts(
            offset_us=Signed(round(-self.used_ns / NS_PER_US, 1)),
            uncertainty_us=round(furthest / NS_PER_US, 1),
            bound_us=round(self._best().delay_ns / 2 / NS_PER_US, 1),
            exchanges=len(self._exchanges),
        )

    def _best(self) -> ClockExchange:
        if not self._exchanges:
            return ClockExchange(0, 0)
        return min(self._exchanges, key=lambda exchange: exchange.delay_ns)

    def _quick(self) -> list[ClockExchange]:
        """Return the quickest quarter, at least one: the others waited somewhere."""
        by_delay = sorted(self._exchanges, key=lambda exchange: exchange.delay_ns)
        return by_delay[: max(1, len(by_delay) // 4)]
