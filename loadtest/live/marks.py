"""What happened while there was load, as marks on the time line of a live page's curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadtest.records.load_status import LoadStatus
from loadtest.records.watch import FaultFacts, MachineEnd, WorldGlance
from loadtest.run.world_glance import event_words
from loadtest.text import one_line
from loadtest.units import MS_PER_S

MOST_MARKS: Final = 60
"""Marks that are kept; a page with more is read by nobody."""


@dataclass(frozen=True, slots=True)
class LiveMark:
    """
    One thing that happened.

    ``n`` counts them from 1, ``t_s`` is when, in seconds of load as the curves have them,
    ``regions`` whose visitors it may have touched, empty for all.
    """

    n: int
    t_s: float
    regions: tuple[str, ...]
    text: str


class LoadTimeLine:
    """
    The seconds of a run's load, all its segments in a row, and the marks on them.

    Args:
        primary_region: Region whose machines serve everybody.
    """

    def __init__(self, primary_region: str = "") -> None:
        self.now_s = 0.0
        """Seconds of load so far, the pauses between segments left out."""
        self.marks: tuple[LiveMark, ...] = ()
        self._primary_region = primary_region
        self._segment, self._begun_s, self._total_s = 0, 0.0, 0.0
        self._seen: set[tuple[object, ...]] = set()
        self._glanced = False
        self._count = 0

    def load(self, status: LoadStatus) -> None:
        """Take how far the load is; a further segment is a look that left the gate undecided."""
        if status.segment > self._segment:
            self._begun_s += self._total_s
            text = f"look {status.segment} left the gate undecided, and more load was sent"
            self._segment = status.segment
            self._add(self._begun_s, (), text)
        self._total_s = status.total_s
        self.now_s = self._begun_s + status.elapsed_s

    def world(self, glance: WorldGlance) -> None:
        """Take what the world saw; what happened between two segments is where the later begins."""
        for at_ms, key, regions, text in self._told(glance):
            if key not in self._seen:
                self._seen.add(key)
                at_s = self.now_s - (glance.now_ms - at_ms) / MS_PER_S
                self._add(max(at_s, self._begun_s if self._glanced else 0.0), regions, text)
        self._glanced = True

    def _told(
        self, glance: WorldGlance
    ) -> Iterator[tuple[int, tuple[object, ...], tuple[str, ...], str]]:
        for event in glance.events:
            if _counts(event):
                touched = () if event.region == self._primary_region else (event.region,)
                yield event.t_ms, (event.machine, event.t_ms), touched, event_words(event)
        for fault in glance.faults:
            regions, key = _ends(fault), (fault.what, fault.began_ms)
            yield fault.began_ms, key, regions, f"fault: {fault.what}"
            if fault.ended_ms is not None and fault.ended_ms > fault.began_ms:
                yield fault.ended_ms, (*key, "over"), regions, f"over: {fault.what}"

    def _add(self, t_s: float, regions: tuple[str, ...], text: str) -> None:
        self._count += 1
        mark = LiveMark(self._count, round(t_s, 1), regions, one_line(text))
        self.marks = (*self.marks, mark)[-MOST_MARKS:]


def _counts(event: MachineEnd) -> bool:
    """Tell what is news from what follows from it: a machine that is stopped exits, too."""
    return event.asked == (event.event in ("stop", "destroy")) and event.event != "start"


def _ends(fault: FaultFacts) -> tuple[str, ...]:
    """Return the regions at the ends of the links that a fault bent; empty for all."""
    if fault.machines:
        return ()
    return tuple(sorted({region for pair in fault.pairs for region in pair.split("-")}))
