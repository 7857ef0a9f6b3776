"""
How the generator itself is doing: a number is only as good as the process that took it.

Measured all the time, stored once a second: how late the event loop is, how much CPU the process
uses and how much the host takes away from the machine, how long garbage collection stops
everything, how late requests leave, and what TCP had to send again.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import psutil

from loadtest.engine.wire.histogram import Histogram
from loadtest.frozen import Signed
from loadtest.records.facts import HealthFacts, MomentFacts
from loadtest.units import NS_PER_S, NS_PER_US

LAG_EVERY_NS = 20_000_000
"""How often the loop is asked to be on time: 50 times a second cost half a thousandth of a core."""

_STEAL: Final = ("steal_share_mean", "steal_share_max")
_NO_STEAL: Final = f"{sys.platform} does not count the time that the host took from the machine"
_TIMELINE_LIMIT = 4 * 3_600
"""Seconds of timeline that are kept; a longer run keeps its totals and these first hours."""


class Totals(Protocol):
    """Counts of TCP over every connection of the process."""

    @property
    def retransmits(self) -> int:
        """Segments sent again."""
        ...

    @property
    def segments_sent(self) -> int:
        """Segments sent."""
        ...


@dataclass(slots=True)
class _Share:
    """A share of time, second by second."""

    seconds: int = 0
    sum: float = 0.0
    highest: float = 0.0

    def add(self, share: float) -> None:
        self.seconds += 1
        self.sum += share
        self.highest = max(self.highest, share)

    @property
    def mean(self) -> float:
        return self.sum / self.seconds if self.seconds else 0.0


class PauseWatch:
    """Times the pauses of the garbage collector through ``gc.callbacks``."""

    def __init__(self) -> None:
        self.longest_ns = 0
        self.total_ns = 0
        self._since_ns = 0
        self._recent_ns = 0

    def start(self) -> None:
        """Begin to listen."""
        gc.callbacks.append(self._on_event)

    def stop(self) -> None:
        """Listen no more; harmless when not listening."""
        if self._on_event in gc.callbacks:
            gc.callbacks.remove(self._on_event)

    def take_recent_ns(self) -> int:
        """Return the longest pause since the last call."""
        recent, self._recent_ns = self._recent_ns, 0
        return recent

    def _on_event(self, phase: str, _info: dict[str, int]) -> None:
        now = time.monotonic_ns()
        if phase == "start":
            self._since_ns = now
            return
        pause = now - self._since_ns
        self.total_ns += pause
        self.longest_ns = max(self.longest_ns, pause)
        self._recent_ns = max(self._recent_ns, pause)


def stolen_of_all(times: tuple[float, ...]) -> tuple[float, float]:
    """
    Return seconds of CPU that the host took, and seconds in all, since boot.

    Args:
        times: What ``psutil.cpu_times`` told: user nice system idle iowait irq softirq steal, and
            guest time, which is inside user; fewer where the platform does not tell (0, 0 then).
    """
    return (times[7], sum(times[:8])) if len(times) > 7 else (0.0, 0.0)


class HealthMonitor:
    """
    Collects one worker's health over one run.

    Args:
        late_after_us: From this lateness on an arrival counts as late.
    """

    def __init__(self, late_after_us: int) -> None:
        self.timeline: list[MomentFacts] = []
        self.late = 0
        self.in_flight_peak = 0
        self._late_after_us = late_after_us
        self._lag, self._lateness = Histogram(), Histogram()
        self._recent_lag: list[int] = []
        self._recent_late: Counter[int] = Counter()
        self._cpu, self._steal = _Share(), _Share()
        self._pauses = PauseWatch()
        self._started_ns = self._last_ns = 0
        self._last_cpu_ns = 0
        self._last_steal = (0.0, 0.0)
        self._tells_steal = False

    def start(self, epoch_ns: int, now_ns: int, polled_ns: int) -> None:
        """
        Begin a segment.

        Args:
            epoch_ns: Monotonic moment that the timeline counts from.
            now_ns: Monotonic time.
            polled_ns: See ``second``.
        """
        self._pauses.start()
        self._started_ns, self._last_ns = epoch_ns, now_ns
        self._last_cpu_ns = time.process_time_ns() - polled_ns
        self._last_steal = stolen_of_all(psutil.cpu_times())
        self._tells_steal = self._last_steal[1] > 0

    def stop(self) -> None:
        """End; the summary stays."""
        self._pauses.stop()

    def on_lag(self, lag_ns: int) -> None:
        """Take in how late the loop woke for a moment it was asked for."""
        self._recent_lag.append(lag_ns // NS_PER_US)

    def on_lateness(self, lateness_us: list[int]) -> None:
        """Take in how late a chunk of arrivals was released."""
        self._recent_late.update(lateness_us)

    def second(
        self,
        now_ns: int,
        *,
        in_flight: int,
        polled_ns: int,
        breathe: Callable[[], None] = lambda: None,
    ) -> MomentFacts | None:
        """
        Close a slice of the timeline.

        Args:
            now_ns: Monotonic time.
            in_flight: Requests under way at this moment.
            polled_ns: What the process has spent so far on looking whether there is anything to do:
                its share of the CPU is counted without it.
            breathe: Called between small steps, to let others run; what they report meanwhile
                belongs to the next slice.

        Returns:
            The moment of the timeline; None when no time has passed.
        """
        elapsed_ns = now_ns - self._last_ns
        if elapsed_ns <= 0:
            return None
        cpu_ns, steal = time.process_time_ns() - polled_ns, stolen_of_all(psutil.cpu_times())
        cpu = max(0.0, (cpu_ns - self._last_cpu_ns) / elapsed_ns)
        in_all = steal[1] - self._last_steal[1]
        stolen = (steal[0] - self._last_steal[0]) / in_all if in_all > 0 else 0.0
        self._last_ns, self._last_cpu_ns, self._last_steal = now_ns, cpu_ns, steal
        lags, self._recent_lag = self._recent_lag, []
        lates, self._recent_late = self._recent_late, Counter()
        lag, late = Histogram(), Histogram()
        lag.add_all(lags)
        breathe()
        late.add_counts(lates, breathe)
        self.late += sum(n for us, n in lates.items() if us > self._late_after_us)
        self._cpu.add(cpu)
        self._steal.add(stolen)
        self._lag.merge(lag)
        breathe()
        self._lateness.merge(late)
        breathe()
        moment = MomentFacts(
            # to the microsecond: the last slice may end right behind the one before
            t_s=Signed(round((now_ns - self._started_ns) / NS_PER_S, 6)),
            loop_lag_p99_us=lag.percentile(99),
            cpu_share=round(cpu, 4),
            steal_share=round(stolen, 4) if self._tells_steal else None,
            gc_pause_us=self._pauses.take_recent_ns() // NS_PER_US,
            lateness_p99_us=late.percentile(99),
            in_flight=in_flight,
        )
        self.in_flight_peak = max(self.in_flight_peak, in_flight)
        if len(self.timeline) < _TIMELINE_LIMIT:
            self.timeline.append(moment)
        return moment

    def summary(self, tcp: Totals, resends: int, dropped: int) -> HealthFacts:
        """Return the run so far in numbers; duplicates are known where they arrive."""
        return HealthFacts(
            loop_lag_p50_us=self._lag.percentile(50),
            loop_lag_p99_us=self._lag.percentile(99),
            loop_lag_max_us=self._lag.highest,
            cpu_share_mean=round(self._cpu.mean, 4),
            cpu_share_max=round(self._cpu.highest, 4),
            steal_share_mean=round(self._steal.mean, 4) if self._tells_steal else None,
            steal_share_max=round(self._steal.highest, 4) if self._tells_steal else None,
            gc_pause_max_us=self._pauses.longest_ns // NS_PER_US,
            gc_pause_total_us=self._pauses.total_ns // NS_PER_US,
            lateness_p50_us=self._lateness.percentile(50),
            lateness_p99_us=self._lateness.percentile(99),
            late=self.late,
            dropped=dropped,
            resends=resends,
            retransmits=tcp.retransmits,
            segments_sent=tcp.segments_sent,
            duplicates=0,
            untold={} if self._tells_steal else dict.fromkeys(_STEAL, _NO_STEAL),
        )
