"""The clock as an object, so that a test can hold time in its hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What the program needs of time."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never step back."""
        ...

    def wall_ns(self) -> int:
        """Return nanoseconds since the UNIX epoch, UTC."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds of CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """Return nanoseconds of CLOCK_REALTIME."""
        return time.time_ns()


@dataclass(slots=True)
class FakeClock:
    """A clock that stands still until it is told to move."""

    now_ns: int = 0
    epoch_ns: int = 1_700_000_000_000_000_000

    def monotonic_ns(self) -> int:
        """Return the nanoseconds set so far."""
        return self.now_ns

    def wall_ns(self) -> int:
        """Return the epoch plus the nanoseconds set so far."""
        return self.epoch_ns + self.now_ns

    def advance(self, delta_ns: int) -> None:
        """Move time on by ``delta_ns``."""
        self.now_ns += delta_ns
