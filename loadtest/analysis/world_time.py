"""What an embedded world told of itself, cut to the time of the load and to what was not bent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.load import Run
from loadtest.records.watch import (
    FaultFacts,
    NoWatch,
    PairFacts,
    WatchFacts,
    WorldMoment,
)
from loadtest.units import MS_PER_S, NS_PER_MS, US_PER_MS

Floats = NDArray[np.float64]

_QUIET_S: Final = 5
"""Without a request for longer, nothing is loaded: the pause between two segments, say."""

_AFTERMATH_MS: Final = 2_000.0
"""After a fault connections recover, and what was held back arrives."""


@dataclass(frozen=True)
class WorldTime:
    """
    A world's watch beside the run that it watched over.

    Args:
        run: The run.
        watch: What its world told.
    """

    run: Run
    watch: WatchFacts

    @property
    def epoch_ms(self) -> float:
        """The run's epoch on the watch's time line."""
        assert self.run.engine is not None  # see `world_time`
        return (self.run.engine.epoch_wall_ns - self.watch.began_wall_ns) / NS_PER_MS

    @cached_property
    def load_ms(self) -> tuple[float, float]:
        """First and last arrival on the watch's time line."""
        intended = self.run.frame["intended_us"].to_numpy()
        if not intended.size:
            return self.epoch_ms, self.epoch_ms
        first, last = int(intended.min()), int(intended.max())
        return self.epoch_ms + first / US_PER_MS, self.epoch_ms + last / US_PER_MS

    @cached_property
    def loaded_ms(self) -> float:
        """How long there was load, without the pauses between segments."""
        return float(self._loaded_seconds.size * MS_PER_S)

    @cached_property
    def _loaded_seconds(self) -> NDArray[np.int64]:
        seconds = np.unique(self.run.frame["intended_us"].to_numpy() // (US_PER_MS * MS_PER_S))
        around = np.arange(-_QUIET_S, _QUIET_S + 1)
        near = np.unique((seconds[:, None] + around[None, :]).ravel())
        low, high = (seconds[0], seconds[-1]) if seconds.size else (0, -1)
        return near[(near >= low) & (near <= high)].astype(np.int64)

    def loaded(self, at_ms: Floats) -> NDArray[np.bool_]:
        """Tell which moments of the watch's time line lie within the load."""
        seconds = np.floor((at_ms - self.epoch_ms) / MS_PER_S).astype(np.int64)
        return np.isin(seconds, self._loaded_seconds)

    def moments(self) -> list[WorldMoment]:
        """Return the seconds that lie within the load."""
        moments = self.watch.moments
        keep = self.loaded(np.array([m.t_ms for m in moments], np.float64))
        return [moment for moment, kept in zip(moments, keep, strict=True) if kept]

    def pings(self, pair: PairFacts) -> tuple[Floats, Floats]:
        """
        Return when a pair's pings left and their round trips in ms, infinite where none came back.

        Only those within the load, and not bent by a fault that was asked for.
        """
        sent = np.array(pair.sent_ms, np.float64)
        trips = np.array([np.inf if t is None else t / US_PER_MS for t in pair.rtt_us], np.float64)
        keep = self.unbent(pair.from_, pair.to, sent, trips)
        return sent[keep], trips[keep]

    def unbent(self, a: str, b: str, sent: Floats, took: Floats) -> NDArray[np.bool_]:
        """Tell what was under way between two regions within the load, and without a fault."""
        keep = self.loaded(sent)
        for fault in self.faults_on(a, b):
            begin, end = fault.began_ms, self.end_ms(fault) + _AFTERMATH_MS
            keep &= ~((sent + np.minimum(took, end) >= begin) & (sent <= end))
        return keep

    def unbent_ms(self, pair: PairFacts) -> float:
        """Return for how much of the load no fault that was asked for bent a pair's link."""
        seconds_ms: Floats = (
            self.epoch_ms + (self._loaded_seconds + 0.5).astype(np.float64) * MS_PER_S
        )
        nothing = np.zeros(seconds_ms.size)
        return float(self.unbent(pair.from_, pair.to, seconds_ms, nothing).sum() * MS_PER_S)

    def faults_on(self, a: str, b: str) -> Iterator[FaultFacts]:
        """Yield the faults that bent the link of a pair."""
        for fault in self.watch.faults:
            if f"{a}-{b}" in fault.pairs or f"{b}-{a}" in fault.pairs:
                yield fault

    def end_ms(self, fault: FaultFacts) -> float:
        """Return when a fault was over."""
        return float(self.watch.lasted_ms if fault.ended_ms is None else fault.ended_ms)


def world_time(run: Run) -> WorldTime | None:
    """Return what the world of a run told of itself during the load; None where nothing."""
    watch = run.world.watch
    return (
        WorldTime(run, watch) if isinstance(watch, WatchFacts) and run.engine is not None else None
    )


def why_unseen(run: Run) -> str:
    """Return why a world cannot see itself; empty where it can, or should."""
    watch = run.world.watch
    return watch.cannot_tell if isinstance(watch, NoWatch) else ""
