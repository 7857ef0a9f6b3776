"""
What visitors saw of each fault that was asked for: what failed, what stood still, and how long.

A request counts with the latest fault that had begun when it ended; it met that fault if it failed,
or took ``STALLED_MS`` longer than its page's median in the whole run.  Service was back by the end
of the first good answer after the last request that met the fault was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, cell_rows, codes_of
from loadtest.analysis.findings import Measured, share_of
from loadtest.analysis.load import Run, read_starts
from loadtest.analysis.pages import rows_by_name
from loadtest.analysis.summary import Summary
from loadtest.analysis.world_events import WorldEvent
from loadtest.records.kinds import ERROR_CANCELLED, ERROR_DROPPED, ERROR_GENERATOR
from loadtest.units import US_PER_MS, US_PER_S

STALLED_MS: Final = 1_000.0
"""A visitor notices a page that takes a second longer than usual."""

_OURS: Final = (ERROR_DROPPED, ERROR_CANCELLED, ERROR_GENERATOR)
_PHASES: Final = ("dns", "connect", "tls", "send", "wait", "receive")


@dataclass(frozen=True, slots=True)
class Outage:
    """
    What one page of one cell showed of one fault.

    Args:
        fault: What happened, in words.
        began_s: When, in seconds of the run.
        lasted_s: How long it was asked for; None where it was over at once, or never.
        page: Name of the request.
        kinds: How many requests failed in which way.
        stalled: Requests that were answered well, and took a second longer than usual.
        met: Share of the requests that met the fault, of those that ended before the next began.
        back_s: Seconds from the begin of the fault until service was back: from the last request
            that met it was sent, to the end of the first good answer after that.  None where
            nothing met the fault, or no good answer followed.
        valid: The cell can be trusted.
    """

    fault: str
    began_s: float
    lasted_s: float | None
    region: str
    deployment: str
    scenario: str
    page: str
    kinds: dict[str, int]
    stalled: int
    met: Measured
    back_s: Measured | None
    valid: bool

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return sum(self.kinds.values())

    @property
    def touched(self) -> bool:
        """Tell whether any visitor saw it."""
        return bool(self.failed or self.stalled)


@dataclass(frozen=True)
class _Page:
    """The requests of one page: when each was sent and done, which failed and how, microseconds."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    kind: NDArray[np.int64]
    kinds: list[str]

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Which requests failed."""
        return np.array([bool(kind) for kind in self.kinds], bool)[self.kind]

    @property
    def stalled(self) -> NDArray[np.bool_]:
        """Which good answers took much longer than usual."""
        good = ~self.failed
        took = self.end - self.start
        usual = float(np.median(took[good])) if good.any() else 0.0
        return np.asarray(good & (took > usual + STALLED_MS * US_PER_MS))


def find_outages(run: Run, summary: Summary) -> tuple[Outage, ...]:
    """
    Return what was seen of every fault that began within the steady stage, by fault and cell.

    Args:
        run: The stored run.
        summary: Its summary: its events, and which cells are valid.
    """
    cells = [cell for cell in cell_rows(run) if cell.rows.size]
    if not cells:
        return ()
    intended = run.frame["intended_us"].to_numpy()
    first_s = min(int(intended[cell.rows].min()) for cell in cells) / US_PER_S
    faults = [e for e in summary.events if e.kind == "fault" and e.t_s >= first_s]
    if not faults:
        return ()
    valid = {cell.key: cell.valid for cell in summary.cells}
    starts = read_starts(run)
    pages = [(cell, name, page) for cell in cells for name, page in _pages(run, cell, starts)]
    ends = [*(fault.t_s for fault in faults[1:]), float("inf")]
    return tuple(
        found
        for fault, until_s in zip(faults, ends, strict=True)
        for cell, name, page in pages
        for found in _outage(fault, until_s, cell, name, page, valid=valid.get(cell.key, False))
    )


def _pages(run: Run, cell: CellRows, starts: NDArray[np.int64]) -> Iterator[tuple[str, _Page]]:
    kind, kinds = codes_of(run.frame, "error")
    ours = [kinds.index(word) for word in _OURS if word in kinds]
    names = tuple(codes_of(run.frame, "name")[1])
    for name, rows in rows_by_name(run, cell.rows, names).items():
        sent = rows[~np.isin(kind[rows], ours)]
        start = starts[sent]
        took = sum(run.frame[f"{p}_us"].to_numpy()[sent].astype(np.int64) for p in _PHASES)
        yield name, _Page(start, start + took, kind[sent].astype(np.int64), kinds)


def _outage(
    fault: WorldEvent, until_s: float, cell: CellRows, name: str, page: _Page, *, valid: bool
) -> Iterator[Outage]:
    """Yield what a page showed of a fault; nothing where nobody asked for it meanwhile."""
    began_us = fault.t_s * US_PER_S
    bad = page.failed | page.stalled
    theirs = (page.end >= began_us) & (page.end < until_s * US_PER_S)
    n = int(theirs.sum())
    met = share_of(int((bad & theirs).sum()), n)
    if met is None:
        return
    failed = page.failed & theirs
    codes, counts = np.unique(page.kind[failed], return_counts=True)
    yield Outage(
        fault=fault.text.removeprefix("fault: "),
        began_s=fault.t_s,
        lasted_s=None if fault.until_s is None else fault.until_s - fault.t_s,
        region=cell.region,
        deployment=cell.deployment,
        scenario=cell.scenario,
        page=name,
        kinds={page.kinds[c]: k for c, k in zip(codes.tolist(), counts.tolist(), strict=True)},
        stalled=int((page.stalled & theirs).sum()),
        met=met,
        back_s=_back(page, bad & theirs, theirs, began_us),
        valid=valid,
    )


def _back(
    page: _Page, bad: NDArray[np.bool_], theirs: NDArray[np.bool_], began_us: float
) -> Measured | None:
    if not bad.any():
        return None
    # What was lost to the fault may have been sent before it.
    last_us = max(float(page.start[bad].max()), began_us)
    answers = page.end[~page.failed & theirs & (page.end >= last_us)]
    if not answers.size:
        return None
    low, back = ((at_us - began_us) / US_PER_S for at_us in (last_us, int(answers.min())))
    return Measured(back, low, back, int(bad.sum()))
