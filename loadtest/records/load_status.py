"""What the coordinator says of a load under way, as frozen types; provisional, judged nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.records.facts import MomentFacts


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """Requests, errors and percentiles of TTFB; None where the rank falls among failures."""

    n: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class CellStatus:
    """One region and deployment: all so far, and the latest slice; the steady stage only."""

    region: str
    deployment: str
    total: LiveFigures
    recent: LiveFigures


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: its state, the rows it has sent, and the latest second of its life, if any."""

    name: str
    region: str
    state: str
    sent: int
    health: MomentFacts | None = None


@dataclass(frozen=True, slots=True)
class FailureStatus:
    """A sentence about failures in one cell, and how often it was heard, warm-up included."""

    region: str
    deployment: str
    name: str
    kind: str
    sentence: str
    count: int


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """
    A segment under way.

    ``slice_number`` counts the slices that ``recent`` figures are of, ``slice_s`` is how long the
    latest took; times in seconds.  ``error`` says why it failed.
    """

    run_id: str
    segment: int
    state: str
    elapsed_s: float
    total_s: float
    rows: int
    slice_number: int
    slice_s: float
    cells: tuple[CellStatus, ...]
    workers: tuple[WorkerStatus, ...]
    failures: tuple[FailureStatus, ...]
    error: str

    @property
    def left_s(self) -> float:
        """Seconds of load that are left in this segment."""
        return max(0.0, self.total_s - self.elapsed_s)

    def rate_of(self, cell: CellStatus) -> float:
        """Return a cell's requests a second in the latest slice."""
        return cell.recent.n / self.slice_s if self.slice_s else 0.0


@dataclass(frozen=True, slots=True)
class PresentWorker:
    """A worker that the coordinator hears."""

    id: str
    region: str
    state: str


@dataclass(frozen=True, slots=True)
class CoordinatorStatus:
    """
    Who is there, and how far the latest run is; null before the first.

    ``version`` is the coordinator's own of loadtest, ``refused`` has workers that cannot take part,
    by name, and why.
    """

    version: str
    workers: tuple[PresentWorker, ...]
    refused: Mapping[str, str]
    run: LoadStatus | None


@dataclass(frozen=True, slots=True)
class RecordPart:
    """A finished part of the records."""

    name: str


@dataclass(frozen=True, slots=True)
class RecordParts:
    """The parts so far; there will be no more of a segment whose load has ended."""

    parts: tuple[RecordPart, ...]
