"""Numbers for the figures, drawn from the records: few points, whatever the size of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, cell_rows, codes_of
from loadtest.analysis.metrics import sample_of
from loadtest.analysis.pages import cell_pages
from loadtest.units import US_PER_MS, US_PER_S

if TYPE_CHECKING:
    from loadtest.analysis.load import Run

CURVE_POINTS: Final = 160
STRIP_BINS: Final = 90

Floats = NDArray[np.float64]


def thin_curve(values: NDArray[Any], failed: int) -> tuple[Floats, Floats]:
    """
    Return a cumulative distribution thinned to at most ``CURVE_POINTS`` points.

    The points are real values at even ranks, the smallest and largest among them, so that a thinned
    curve never leaves the true one by more than one step.

    Args:
        values: Any order, microseconds.
        failed: Requests that never got there; they keep the curve below 1.

    Returns:
        Milliseconds, ascending, and the share of all requests done by then.
    """
    ordered = np.sort(values)
    n = ordered.size
    if not n:
        return np.empty(0), np.empty(0)
    ranks = np.unique(np.linspace(1, n, min(n, CURVE_POINTS)).round().astype(np.int64))
    return ordered[ranks - 1] / US_PER_MS, ranks / (n + failed)


def curves(run: Run) -> dict[tuple[str, str, str], tuple[list[float], list[float], int]]:
    """Return each cell's thinned TTFB distribution (ms, share) and its number of requests."""
    return {cell.key: _curve(run, cell) for cell in cell_rows(run)}


def page_curves(
    run: Run, pages: tuple[str, ...]
) -> dict[tuple[str, str, str, str], tuple[list[float], list[float], int]]:
    """Return the same of each page of each cell: region, deployment, scenario, page."""
    return {
        (*cell.key, page.name): _curve(run, page)
        for cell in cell_rows(run)
        for page in cell_pages(run, cell, pages)
    }


def _curve(run: Run, cell: CellRows) -> tuple[list[float], list[float], int]:
    sample = sample_of(run.frame, cell.rows, "ttfb")
    latency, share = thin_curve(sample.values, sample.failed.size)
    return latency.tolist(), share.tolist(), int(sample.values.size + sample.failed.size)


@dataclass(frozen=True, slots=True)
class Strip:
    """A cell over time: middle of each bin in seconds, and the TTFB percentiles there in ms."""

    t_s: Floats
    p50_ms: Floats
    p95_ms: Floats
    n: int


def bin_edges(run: Run) -> Floats:
    """
    Return the edges of the time bins in seconds: whole blocks, at most ``STRIP_BINS`` of them.

    A bin holds one block, or as many whole blocks as it takes.
    """
    intended = run.frame["intended_us"].to_numpy()
    end_s = float(intended.max()) / US_PER_S if intended.size else 0.0
    block_s = run.plan.load.block_s
    blocks = max(1, int(np.ceil(end_s / block_s)))
    step = block_s * int(np.ceil(blocks / STRIP_BINS))
    return np.arange(0.0, max(end_s, step) + step, step)


def strips(run: Run) -> dict[tuple[str, str, str], Strip]:
    """Return every cell over time, warm-up with it."""
    edges_us = np.rint(bin_edges(run) * US_PER_S).astype(np.int64)
    middles = (edges_us[:-1] + edges_us[1:]) / 2 / US_PER_S
    intended = run.frame["intended_us"].to_numpy()
    found = {}
    for cell in _with_warm_up(run):
        sample = sample_of(run.frame, cell.rows, "ttfb")
        place = np.searchsorted(edges_us, intended[sample.rows], side="right") - 1
        place = np.maximum(place, 0)  # what an on_start sent before the load stands at its start
        found[cell.key] = _strip(sample.values, place, middles)
    return found


def _strip(values: NDArray[Any], place: NDArray[np.int64], middles: Floats) -> Strip:
    """Sort by bin and value at once, then read each bin's nearest ranks."""
    span = int(values.max()) + 1 if values.size else 1
    packed = np.sort(place * span + values)
    counts = np.bincount(place, minlength=middles.size)[: middles.size]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    full = counts > 0

    def at(share: float) -> Floats:
        ranks = np.ceil(counts[full] * share).astype(np.int64).clip(min=1)
        result: Floats = (packed[starts[full] + ranks - 1] % span) / US_PER_MS
        return result

    return Strip(middles[full], at(0.5), at(0.95), int(values.size))


def _with_warm_up(run: Run) -> list[CellRows]:
    """Return the rows of every cell whatever their stage."""
    frame = run.frame
    region, regions = codes_of(frame, "region")
    deployment, deployments = codes_of(frame, "deployment")
    scenario, scenarios = codes_of(frame, "scenario")
    code = (region.astype(np.int32) * len(deployments) + deployment) * len(scenarios) + scenario
    order = np.argsort(code, kind="stable").astype(np.int32)
    found, counts = np.unique(code, return_counts=True)
    ends = np.cumsum(counts)
    cells = []
    for value, end, size in zip(found.tolist(), ends.tolist(), counts.tolist(), strict=True):
        rest, scenario_at = divmod(value, len(scenarios))
        region_at, deployment_at = divmod(rest, len(deployments))
        cells.append(
            CellRows(
                regions[region_at],
                deployments[deployment_at],
                scenarios[scenario_at],
                rows=order[end - size : end],
            )
        )
    return cells
