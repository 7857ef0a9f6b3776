"""Running figures of every cell, for whoever watches: provisional, the analysis does its own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtest.engine.wire.histogram import Histogram
from loadtest.records.load_status import CellStatus, LiveFigures
from loadtest.units import NS_PER_S, US_PER_MS

CellCounts = tuple[str, str, int, int, dict[int, int]]
"""Region, deployment, rows, errors, TTFB samples: microseconds -> how often."""

_PAUSE_NS = NS_PER_S
"""No rows for so long is a pause, such as a look of the gate, and no slow second."""


@dataclass(slots=True)
class CellFigures:
    """What came of one cell, over the run or over a slice of it."""

    n: int = 0
    errors: int = 0
    waits: Histogram = field(default_factory=Histogram)

    def add(self, n: int, errors: int, waits: dict[int, int]) -> None:
        """Count rows."""
        self.n += n
        self.errors += errors
        self.waits.add_counts(waits)

    def percentile_ms(self, p: float) -> float | None:
        """
        Return a percentile of TTFB in milliseconds.

        A failure counts as one that never came, as in the analysis: None where the rank falls among
        failures, or where there is nothing yet.
        """
        rank = math.ceil((self.waits.total + self.errors) * p / 100)
        if not 0 < rank <= self.waits.total:
            return None
        return round(self.waits.at_rank(rank) / US_PER_MS, 3)

    def figures(self) -> LiveFigures:
        """Return what is shown of it."""
        return LiveFigures(self.n, self.errors, self.percentile_ms(50), self.percentile_ms(95))


class LiveCells:
    """The cells of one run: all that came so far, and the latest slice of it."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, str], CellFigures] = {}
        """By region and deployment, steady stage only."""
        self.slices = 0
        self.slice_s = 0.0
        """How long the latest slice took, seconds."""
        self._table: tuple[CellStatus, ...] = ()
        self._closed_ns = 0
        self._opened_ns = 0

    def open_slice(self, now_ns: int) -> None:
        """Note that rows come in; a slice begins where the last ended, but for a pause."""
        if not self._opened_ns:
            paused = now_ns - self._closed_ns > _PAUSE_NS
            self._opened_ns = now_ns if paused else self._closed_ns

    def close_slice(self, now_ns: int, cells: Iterable[CellCounts]) -> None:
        """Take in what came since the slice was opened; the table is made here, once."""
        recent: dict[tuple[str, str], CellFigures] = {}
        for region, deployment, n, errors, waits in cells:
            for figures in (self.totals, recent):
                figures.setdefault((region, deployment), CellFigures()).add(n, errors, waits)
        self.slice_s = (now_ns - (self._opened_ns or now_ns)) / NS_PER_S
        self._opened_ns, self._closed_ns = 0, now_ns
        self.slices += 1
        self._table = tuple(
            CellStatus(*key, total.figures(), recent.get(key, CellFigures()).figures())
            for key, total in sorted(self.totals.items())
        )

    def table(self) -> tuple[CellStatus, ...]:
        """Return every cell's figures so far, and those of the latest slice."""
        return self._table
