"""
Two or more stored runs side by side: how far each percentile moved, in which cells, how surely.

Runs made at different times had different weather, which no statistic takes out: a comparison of
stored runs informs and never fails a gate.  It refuses runs that differ in more than weather.

Source: Doksum, "Empirical Probability Plots", 1974; Rousselet et al., 2017 (the shift function:
differences at many percentiles instead of one at the mean).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from loadtest.analysis.blocks import MIN_GROUPS, Blocked, block_sample, group_blocks
from loadtest.analysis.bootstrap import draw_weights, resample, weigh
from loadtest.analysis.cells import CellRows, Key, cell_rows
from loadtest.analysis.fingerprint import Difference, differences
from loadtest.analysis.load import Run
from loadtest.analysis.page_names import page_names
from loadtest.analysis.pages import cell_pages
from loadtest.analysis.percentiles import needed, number
from loadtest.analysis.validity import check
from loadtest.errors import RecordsError
from loadtest.units import format_ms

SHIFT_PERCENTILES: Final = (10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0)
DECIDING: Final = 50.0
_NAMED: Final = 12

Movement = Literal["slower", "faster", "same", "unclear"]


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one percentile moved from the base run: milliseconds, interval, share of the base."""

    p: float
    base_ms: float
    other_ms: float
    difference_ms: float
    low_ms: float
    high_ms: float
    share: float

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {name: number(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class CellComparison:
    """
    One cell of two runs.

    ``movement`` is decided at p50 against the plan's margins: slower or faster when the interval
    lies wholly beyond, same when wholly within, unclear otherwise.  ``name`` is that of the
    requests where it is about one page of the cell.
    """

    region: str
    deployment: str
    scenario: str
    base_n: int
    other_n: int
    margin_ms: float
    shifts: tuple[Shift, ...]
    movement: Movement
    why: str
    name: str = ""

    @property
    def key(self) -> Key:
        """Region, deployment, scenario."""
        return (self.region, self.deployment, self.scenario)

    @property
    def label(self) -> str:
        """The cell's name for people."""
        return " / ".join(part for part in (self.region, self.deployment, self.name) if part)

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "region": self.region,
            "deployment": self.deployment,
            "scenario": self.scenario,
            "name": self.name,
            "base_n": self.base_n,
            "other_n": self.other_n,
            "margin_ms": number(self.margin_ms),
            "movement": self.movement,
            "why": self.why,
            "shifts": [shift.to_json() for shift in self.shifts],
        }


@dataclass(frozen=True, slots=True)
class RunComparison:
    """One run against the base run; ``pages`` are of cells that have several, by request name."""

    run_id: str
    cells: tuple[CellComparison, ...]
    pages: tuple[CellComparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    All runs against the first.

    ``differences`` is what the runs do not have in common, ``doubts`` says of each invalid run why
    it is so: both empty, unless the comparison was forced.
    """

    base_run_id: str
    runs: tuple[RunComparison, ...]
    differences: tuple[Difference, ...]
    seed: int
    doubts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "schema": 1,
            "base": self.base_run_id,
            "seed": self.seed,
            "differences": [
                {"key": item.key, "values": list(item.values)} for item in self.differences
            ],
            "doubts": list(self.doubts),
            "runs": [
                {
                    "run_id": run.run_id,
                    "cells": [cell.to_json() for cell in run.cells],
                    "pages": [page.to_json() for page in run.pages],
                }
                for run in self.runs
            ],
        }


def compare(runs: Sequence[Run], force: bool = False) -> Comparison:
    """
    Compare runs with the first of them.

    Args:
        runs: Two or more; the first is the base.
        force: Compare unlike and invalid runs too, and say what differs and what is invalid.

    Raises:
        RecordsError: Fewer than two runs, runs that are invalid or unlike, or no cell in common.
    """
    if len(runs) < 2:
        raise RecordsError("compare: needs at least two runs; name two run folders")
    doubts = tuple(doubt for run in runs if (doubt := _doubt(run)))
    if doubts and not force:
        listed = "\n".join(f"  {doubt}" for doubt in doubts)
        raise RecordsError(
            f"compare: what is invalid is not compared:\n{listed}\n"
            "Measure again, or force the comparison."
        )
    unlike = differences(runs)
    if unlike and not force:
        listed = "\n".join(f"  {item}" for item in unlike[:_NAMED])
        more = f"\n  and {len(unlike) - _NAMED} more" if len(unlike) > _NAMED else ""
        raise RecordsError(
            f"compare: these runs did not measure the same thing:\n{listed}{more}\n"
            "Measure again under the same conditions, or force the comparison."
        )
    base = runs[0]
    base_cells = {cell.key: cell for cell in cell_rows(base)}
    compared = []
    for other in runs[1:]:
        cells = [cell for cell in cell_rows(other) if cell.key in base_cells and cell.rows.size]
        cells = [cell for cell in cells if base_cells[cell.key].rows.size]
        if not cells:
            raise RecordsError(f"compare: {other.run_id} and {base.run_id} have no cell in common")
        pairs = [(base_cells[cell.key], cell) for cell in cells]
        pages = [pair for both in pairs for pair in _pages_of(base, other, both)]
        compared.append(
            RunComparison(
                other.run_id,
                _compare_all(base, other, pairs),
                _compare_all(base, other, pages),
            )
        )
    return Comparison(base.run_id, tuple(compared), unlike, base.plan.seed, doubts)


def _doubt(run: Run) -> str:
    """Return in a sentence why a run is invalid; empty when it is not."""
    failed = check(run).failed
    more = f" And {len(failed) - 1} more checks failed." if len(failed) > 1 else ""
    return f"{run.run_id} is invalid. {failed[0].why}{more}" if failed else ""


def _compare_all(
    base: Run, other: Run, pairs: Sequence[tuple[CellRows, CellRows]]
) -> tuple[CellComparison, ...]:
    """Compare pairs of cells, or of pages: one family, whose intervals hold together."""
    side = base.plan.gate.alpha / 2 / max(1, len(pairs))
    return tuple(_compare_cell((base, before), (other, now), side) for before, now in pairs)


def _pages_of(
    base: Run, other: Run, cells: tuple[CellRows, CellRows]
) -> list[tuple[CellRows, CellRows]]:
    """Return the pages that a cell has in both runs; none where it has only one."""
    names = tuple(sorted({*page_names(base), *page_names(other)}))
    before = {page.name: page for page in cell_pages(base, cells[0], names)}
    now = {page.name: page for page in cell_pages(other, cells[1], names)}
    shared = [name for name in before if name in now]
    return [(before[name], now[name]) for name in shared] if len(shared) > 1 else []


def _sample(run: Run, cell: CellRows) -> Blocked:
    block = run.frame["block"].to_numpy()
    grouping = group_blocks(block[cell.rows])
    return block_sample(run.frame, [cell], "ttfb", {cell.region: grouping}, failures=True)


def _compare_cell(
    base: tuple[Run, CellRows], other: tuple[Run, CellRows], side: float
) -> CellComparison:
    gate, seed = base[0].plan.gate, base[0].plan.seed
    samples = tuple(_sample(*one) for one in (base, other))
    key: Key = base[1].key
    named = (base[1].name,) if base[1].name else ()
    shifts: list[Shift] = []
    movement: Movement = "unclear"
    margin, why = 0.0, "too few samples or blocks"
    if min(sample.groups for sample in samples) >= MIN_GROUPS:
        weights = tuple(
            draw_weights(sample.groups, gate.resamples, seed, f"{place} {'/'.join((*key, *named))}")
            for place, sample in zip(("base", "other"), samples, strict=True)
        )
        freedom = min(sample.groups for sample in samples)
        for p in SHIFT_PERCENTILES:
            if min(sample.n for sample in samples) < needed(p):
                continue
            draws = tuple(
                resample(sample, weight, p) for sample, weight in zip(samples, weights, strict=True)
            )
            points = tuple(sample.point(p) for sample in samples)
            if not np.isfinite(points).all():
                continue
            with np.errstate(invalid="ignore"):
                moved = draws[1] - draws[0]
            found = weigh(moved, points[1] - points[0], freedom, 1 - 2 * side)
            shifts.append(_shift(p, points, found.low, found.high))
            if p == DECIDING:
                margin = max(gate.margin_share * points[0], gate.margin_ms)
                movement, why = _movement(shifts[-1], margin)
    return CellComparison(
        *key,
        base_n=samples[0].n,
        other_n=samples[1].n,
        margin_ms=margin,
        shifts=tuple(shifts),
        movement=movement,
        why=why,
        name=base[1].name,
    )


def _shift(p: float, points: tuple[float, ...], low: float, high: float) -> Shift:
    base, other = points
    share = other / base - 1 if base else 0.0
    return Shift(p, base, other, other - base, low, high, share)


def _movement(shift: Shift, margin: float) -> tuple[Movement, str]:
    """Decide by the interval: wholly beyond the margin, wholly within it, or neither."""
    span = f"p50 moved by {format_ms(shift.low_ms)} to {format_ms(shift.high_ms)}"
    allowed = f"the margin of {format_ms(margin)}"
    if shift.low_ms > margin:
        return "slower", f"{span}, wholly beyond {allowed}"
    if shift.high_ms < -margin:
        return "faster", f"{span}, wholly beyond {allowed}"
    if -margin <= shift.low_ms and shift.high_ms <= margin:
        return "same", f"{span}, wholly within {allowed}"
    return "unclear", f"{span}, on neither side of {allowed}"
