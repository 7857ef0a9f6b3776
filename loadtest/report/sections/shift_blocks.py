"""The shift between two arms of the run: how many ms one saves at each percentile, per region."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from loadtest.analysis.blocks import MIN_GROUPS, Blocked, block_sample, group_blocks
from loadtest.analysis.bootstrap import draw_weights, resample, weigh
from loadtest.analysis.cells import cell_rows
from loadtest.analysis.percentiles import LEVEL, needed
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM
from loadtest.report.base.scales import log_limits
from loadtest.report.base.view import Block, Figures, Heading, Table
from loadtest.report.base.words import count, signed_interval_ms, signed_ms, signed_share

if TYPE_CHECKING:
    from loadtest.report.base.context import Context
    from loadtest.report.figures.shift import ShiftCurve as Drawn

PERCENTILES: Final = (5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0)
TOLD: Final = (50.0, 95.0)
RESAMPLES: Final = 500
"""Enough for a band that is looked at; decisions are the gate's, with the plan's resamples."""

_PAIRS: Final = ((BASE_ARM, CANDIDATE_ARM), ("baseline", CANDIDATE_ARM), ("multi", "replica"))


@dataclass(frozen=True, slots=True)
class ShiftPoint:
    """
    One percentile of one region: candidate minus baseline in ms with its 95 % interval.

    ``spans`` are the ends of the 95 % intervals of baseline and candidate themselves.
    """

    p: float
    baseline_ms: float
    difference_ms: float
    low_ms: float
    high_ms: float
    spans: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class RegionShift:
    """The shift of one region; ``n`` is the size of the smaller arm."""

    region: str
    n: int
    points: tuple[ShiftPoint, ...]


def shift_blocks(context: Context) -> list[Block]:
    """Return heading, figure and table of the shift; nothing when no two arms invite it."""
    pair = compared_arms(context)
    found = region_shifts(context, *pair) if pair else []
    if not pair or not found:
        return []
    baseline, candidate = pair
    caption = (
        f"TTFB of {candidate} minus {baseline} at each percentile: below zero {candidate} is "
        "faster. The band is a 95 % interval from resampled blocks that both arms share."
    )
    both = (
        f"TTFB of {baseline} and {candidate} at each percentile; the bands are 95 % intervals of "
        "each arm for itself. The time axis is logarithmic and the same in every panel."
    )
    return [
        Figures(both, lambda: _draw_both(context, found, pair), context.legend(list(pair))),
        Heading(f"What {candidate} saves over {baseline}, percentile by percentile"),
        Figures(caption, lambda: _draw(context, found, pair), context.legend([candidate])),
        _table(found, pair),
    ]


def compared_arms(context: Context) -> tuple[str, str] | None:
    """Return baseline and candidate: arms of these names, else multi and replica, else any two."""
    plain = [name for name, original in context.arms.items() if not original]
    for pair in _PAIRS:
        if set(pair) <= set(plain):
            return pair
    return (plain[0], plain[1]) if len(plain) == 2 else None


def region_shifts(context: Context, baseline: str, candidate: str) -> list[RegionShift]:
    """
    Return the shift between two arms in every region that measured both.

    The arms of a region draw the same blocks, so weather that both met cancels.

    Source: Rousselet et al., 2017 (shift function); Efron and Tibshirani, 1993 (bootstrap).
    """
    run = context.run
    cells = {cell.key: cell for cell in cell_rows(run)}
    scenario = context.scenarios[0]
    block = run.frame["block"].to_numpy()
    found = []
    for region in context.regions:
        arms = [cells.get((region, name, scenario)) for name in (baseline, candidate)]
        kept = [arm for arm in arms if arm is not None and arm.rows.size]
        if len(kept) < 2:
            continue
        grouping = group_blocks(block[np.concatenate([arm.rows for arm in kept])])
        samples = [
            block_sample(run.frame, [arm], "ttfb", {region: grouping}, failures=True)
            for arm in kept
        ]
        points = _points(samples[0], samples[1], run.plan.seed, region)
        if points:
            found.append(RegionShift(region, min(sample.n for sample in samples), points))
    return found


def _points(
    baseline: Blocked, candidate: Blocked, seed: int, region: str
) -> tuple[ShiftPoint, ...]:
    if baseline.groups < MIN_GROUPS or not baseline.n or not candidate.n:
        return ()
    weights = draw_weights(baseline.groups, RESAMPLES, seed, f"shift {region}")
    points = []
    for p in PERCENTILES:
        if min(baseline.n, candidate.n) < needed(p):
            continue
        before, after = baseline.point(p), candidate.point(p)
        if not math.isfinite(before) or not math.isfinite(after):
            continue
        with np.errstate(invalid="ignore"):
            draws = resample(baseline, weights, p), resample(candidate, weights, p)
            moved = draws[1] - draws[0]
        found = weigh(moved, after - before, baseline.groups, LEVEL)
        arms = [
            weigh(draw, point, baseline.groups, LEVEL)
            for draw, point in zip(draws, (before, after), strict=True)
        ]
        ends = [end for one in (found, *arms) for end in (one.low, one.high)]
        if all(map(math.isfinite, ends)):
            spans = (arms[0].low, arms[0].high), (arms[1].low, arms[1].high)
            points.append(ShiftPoint(p, before, after - before, found.low, found.high, spans))
    return tuple(points)


def _draw(context: Context, found: list[RegionShift], pair: tuple[str, str]) -> list[str]:
    from loadtest.report.figures.shift import draw_shift

    low = min(0.0, *(point.low_ms for one in found for point in one.points))
    high = max(0.0, *(point.high_ms for one in found for point in one.points))
    room = max(high - low, 1.0) * 0.06
    return [
        draw_shift(
            one.region,
            context.place(one.region),
            _drawn(one),
            names=pair,
            style=context.styles[pair[1]],
            limits_ms=(low - room, high + room),
        )
        for one in found
    ]


def _draw_both(context: Context, found: list[RegionShift], pair: tuple[str, str]) -> list[str]:
    from loadtest.report.figures.percentiles import ArmPercentiles, draw_percentiles

    ends = [end for one in found for q in one.points for span in q.spans for end in span]
    return [
        draw_percentiles(
            one.region,
            context.place(one.region),
            [
                ArmPercentiles(
                    name,
                    context.styles[name],
                    [q.p for q in one.points],
                    [q.baseline_ms + at * q.difference_ms for q in one.points],
                    [q.spans[at] for q in one.points],
                )
                for at, name in enumerate(pair)
            ],
            one.n,
            log_limits(ends),
        )
        for one in found
    ]


def _drawn(one: RegionShift) -> Drawn:
    from loadtest.report.figures.shift import ShiftCurve

    return ShiftCurve(
        [point.p for point in one.points],
        [point.difference_ms for point in one.points],
        [point.low_ms for point in one.points],
        [point.high_ms for point in one.points],
        one.n,
    )


def _table(found: list[RegionShift], pair: tuple[str, str]) -> Table:
    return Table(
        key="shift",
        title=f"{pair[1]} minus {pair[0]}",
        headers=("region", "n per arm", *(f"p{p:g}" for p in TOLD)),
        rows=tuple(
            (one.region, count(one.n), *(_quantile_text(one, p) for p in TOLD)) for one in found
        ),
        align="lr" + "r" * len(TOLD),
        note="Difference with 95 % interval; in brackets the change as a share of the first arm.",
        csv_headers=("region", "percentile", "baseline_ms", "difference_ms", "low_ms", "high_ms"),
        csv_rows=tuple(
            (one.region, q.p, q.baseline_ms, q.difference_ms, q.low_ms, q.high_ms)
            for one in found
            for q in one.points
        ),
    )


def _quantile_text(one: RegionShift, p: float) -> str:
    point = next((point for point in one.points if point.p == p), None)
    if point is None:
        return "too few"
    change = point.difference_ms / point.baseline_ms if point.baseline_ms else None
    span = signed_interval_ms(point.low_ms, point.high_ms)
    return f"{signed_ms(point.difference_ms)} {span} ({signed_share(change, 0)})"
