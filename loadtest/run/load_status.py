"""What the coordinator says of a load under way, as frozen types; provisional, judged nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.errors import EngineError


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
    """One worker: its state, the rows it has sent, and the latest second of its health."""

    name: str
    region: str
    state: str
    sent: int
    health: Mapping[str, float] = field(default_factory=dict)


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
    latest took; times in seconds.
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

    @property
    def left_s(self) -> float:
        """Seconds of load that are left in this segment."""
        return max(0.0, self.total_s - self.elapsed_s)

    def rate_of(self, cell: CellStatus) -> float:
        """Return a cell's requests a second in the latest slice."""
        return cell.recent.n / self.slice_s if self.slice_s else 0.0


def read_status(value: Mapping[str, Any]) -> LoadStatus:
    """
    Return what the coordinator's answer says.

    Raises:
        EngineError: It is of another version; names what is missing.
    """
    try:
        return LoadStatus(
            run_id=str(value["run_id"]),
            segment=int(value["segment"]),
            state=str(value["state"]),
            elapsed_s=float(value["elapsed_s"]),
            total_s=float(value["total_s"]),
            rows=int(value["rows_merged"]),
            slice_number=int(value["slice"]["number"]),
            slice_s=float(value["slice"]["s"]),
            cells=tuple(map(_cell, value["cells"])),
            workers=tuple(map(_worker, value["workers"])),
            failures=tuple(map(_failure, value["failures"])),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise EngineError(
            f"the coordinator's status is of another version ({type(error).__name__}: {error}); "
            "use an image of this version"
        ) from error


def _cell(value: Mapping[str, Any]) -> CellStatus:
    return CellStatus(
        str(value["region"]), str(value["deployment"]), _figures(value), _figures(value["recent"])
    )


def _figures(value: Mapping[str, Any]) -> LiveFigures:
    return LiveFigures(
        int(value["n"]),
        int(value["errors"]),
        _optional(value["ttfb_p50_ms"]),
        _optional(value["ttfb_p95_ms"]),
    )


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _worker(value: Mapping[str, Any]) -> WorkerStatus:
    health = {str(k): float(v) for k, v in (value["health"] or {}).items()}
    return WorkerStatus(
        str(value["id"]), str(value["region"]), str(value["state"]), int(value["sent"]), health
    )


def _failure(value: Mapping[str, Any]) -> FailureStatus:
    return FailureStatus(
        region=str(value["region"]),
        deployment=str(value["deployment"]),
        name=str(value["name"]),
        kind=str(value["kind"]),
        sentence=str(value["sentence"]),
        count=int(value["count"]),
    )
