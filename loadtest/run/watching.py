"""The watch of a world over the load of a run, written into what the run keeps of its world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from loadtest.records.watch import PathFacts, WatchFacts
from loadtest.records.world_facts import CountersFacts, SegmentCounts, WorldCounts, WorldFacts

NOT_OURS: Final = "the network and the machines are not ours to look into"


class Watched(Protocol):
    """What a world can tell that watches over a load."""

    def counters(self) -> WorldCounts:
        """Return what passed links and edges so far."""
        ...

    def watch(self) -> PathFacts:
        """Begin to watch; return where machines' connections lead."""
        ...

    def watched(self, *, over: bool) -> WatchFacts:
        """Return what was seen; end the watch if the load is ``over``."""
        ...


class LoadWatch:
    """
    The watch of a place over the load of one run.

    Args:
        extras: The embedded world; None where there is none, and nothing is seen.
    """

    def __init__(self, extras: Watched | None) -> None:
        self._extras = extras
        self._before = WorldCounts((), ())
        self._segments: list[SegmentCounts] = []
        if extras is not None:
            self._before = extras.counters()
            extras.watch()

    @contextmanager
    def segment(self) -> Iterator[None]:
        """
        Count around a segment, while nothing is under way: what a pilot did to pools is left out.

        Raises:
            WorldError: The world does not answer.
        """
        if self._extras is None:
            yield
            return
        start = self._extras.counters()
        yield
        self._segments.append(SegmentCounts(start, self._extras.counters()))

    def tell(self, world: WorldFacts, *, over: bool) -> WorldFacts:
        """
        Return what is known of a world with what was seen and counted until now.

        Args:
            world: What was known before the load.
            over: The load is over, and the watch with it.

        Raises:
            WorldError: The world does not answer, or is of another version.
        """
        if self._extras is None:
            return world
        counters = CountersFacts(self._before, self._extras.counters(), tuple(self._segments))
        return replace(world, counters=counters, watch=self._extras.watched(over=over))
