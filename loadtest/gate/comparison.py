"""A percentile of an arm against that of another arm of the same run: the score test by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.scores import (
    Score,
    detectable_factor,
    ratio_interval,
    score,
    shift_interval,
    slowed,
)
from loadtest.gate.decide import Levels
from loadtest.gate.evidence import Measurement, sign_of
from loadtest.gate.trouble import beyond_allowed, share_that_breaks, with_rare_trouble
from loadtest.plan.model import Gate
from loadtest.plan.thresholds import Threshold


@dataclass(frozen=True, slots=True)
class ArmPair:
    """
    Two arms of one question.

    Args:
        arm: The judged arm.
        base: The other.
        percentile: 0 to 100.
        wide: Allow for drift within an arm.
    """

    arm: Blocked
    base: Blocked
    percentile: float
    wide: bool


def within_margin(rule: Threshold, pair: ArmPair, *, gate: Gate, levels: Levels) -> Measurement:
    """Return the evidence on ``arm within margin of base``: no slower by more than that."""
    share, absolute = margin_of(rule, gate)
    base, arm = pair.base.point(pair.percentile), pair.arm.point(pair.percentile)
    allowed = slowed(pair.base, share, absolute)
    found = score(pair.arm, allowed, pair.percentile, wide=pair.wide)
    limit = max(share * base, absolute)
    measured = _measurement(
        found,
        observed=arm - base,
        bounds=lambda: _difference(pair, share * base >= absolute, levels.side),
        limit=limit,
        base=base,
        finder=lambda side: (
            detectable_factor(pair.arm, allowed, pair.percentile, side, wide=pair.wide)
            * (base + limit)
            - base
        ),
    )
    met = beyond_allowed(pair.arm, allowed, pair.percentile, pair.arm.joined)
    return with_rare_trouble(measured, met, share_that_breaks(pair.percentile, met), levels)


def within_factor(rule: Threshold, pair: ArmPair, levels: Levels) -> Measurement:
    """Return the evidence on ``arm <= factor * base``, or on its opposite."""
    factor, base = rule.limit, pair.base.point(pair.percentile)
    scaled = Blocked(pair.base.values * factor, pair.base.group, pair.base.groups)
    slow = sign_of(rule) > 0
    first, second = (pair.arm, scaled) if slow else (scaled, pair.arm)
    found = score(first, second, pair.percentile, wide=pair.wide)
    measured = _measurement(
        found,
        observed=pair.arm.point(pair.percentile) / base if base else math.nan,
        bounds=lambda: ratio_interval(
            pair.arm, pair.base, pair.percentile, levels.side, wide=pair.wide
        ),
        limit=factor,
        base=base,
        finder=lambda side: (
            detectable_factor(first, second, pair.percentile, side, wide=pair.wide) * factor
            if slow
            else math.inf
        ),
    )
    met = beyond_allowed(first, second, pair.percentile, pair.arm.joined)
    share = share_that_breaks(pair.percentile, met)
    return with_rare_trouble(measured, met, share, levels)


def margin_of(rule: Threshold, gate: Gate) -> tuple[float, float]:
    """Return a baseline rule's margin: a share of the base, and an amount."""
    if not rule.margin.from_plan:
        return rule.margin.share, rule.margin.absolute
    return gate.margin_share, gate.margin_ms if rule.measure.unit == "ms" else 0.0


def _difference(pair: ArmPair, by_ratio: bool, side: float) -> tuple[float, float]:
    """Return the interval of the arms' difference, found as a ratio or as a shift."""
    if not by_ratio:
        return shift_interval(pair.arm, pair.base, pair.percentile, side, wide=pair.wide)
    base = pair.base.point(pair.percentile)
    low, high = ratio_interval(pair.arm, pair.base, pair.percentile, side, wide=pair.wide)
    return base * (low - 1), base * (high - 1)


def _measurement(
    found: Score,
    *,
    observed: float,
    bounds: Callable[[], tuple[float, float]],
    limit: float,
    base: float,
    finder: Callable[[float], float],
) -> Measurement:
    return Measurement(
        observed=observed,
        low=math.nan,
        high=math.nan,
        limit=limit,
        base=base,
        n=0,
        blocks=found.series.size,
        excess=observed - limit,
        error=math.nan,
        reach=1.0,
        p_fail=found.p_fail,
        p_pass=found.p_pass,
        series=found.series,
        floor=found.floor,
        finder=finder,
        bounds=bounds,
        freedom=found.freedom,
    )
