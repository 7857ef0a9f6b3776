"""Two arms of one run: a ratio against a factor, a difference against a margin, paired by block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.bootstrap import (
    Draws,
    Weights,
    allow_for_drift,
    leave_one_out,
    pseudo_values,
    resample,
    weigh,
)
from loadtest.gate.decide import Levels
from loadtest.gate.evidence import Measurement, sign_of, strict
from loadtest.plan.model import Gate
from loadtest.plan.thresholds import Measure, Threshold


@dataclass(frozen=True, slots=True)
class Arm:
    """
    One arm's value, in every resample and without each block.

    Both arms' resamples draw alike.  ``without`` is asked for where drift has to be allowed for.
    """

    point: float
    draws: Draws
    without: Draws | None = None

    @staticmethod
    def of(sample: Blocked, weights: Weights, measure: Measure, *, wide: bool = False) -> Arm:
        """Return the arm of a sample; ``wide`` where drift has to be allowed for."""
        p = measure.percentile
        without = resample(sample, leave_one_out(sample.groups), p) if wide else None
        return Arm(sample.point(p), resample(sample, weights, p), without)


def relative(
    rule: Threshold,
    arm: Arm,
    other: Arm,
    blocks: int,
    levels: Levels,
) -> Measurement:
    """Return the evidence on ``arm <= factor * other``."""
    sign, factor = sign_of(rule), rule.limit
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = sign * (arm.draws - factor * other.draws)
        ratios = np.divide(arm.draws, other.draws)
    point = sign * (arm.point - factor * other.point)
    ratio = arm.point / other.point if other.point else math.nan
    evidence = weigh(excess, point, blocks, levels.coverage)
    interval = weigh(ratios, ratio, blocks, levels.coverage)
    if arm.without is not None and other.without is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            left = sign * (arm.without - factor * other.without)
            ratios_left = np.divide(arm.without, other.without)
        evidence = allow_for_drift(evidence, pseudo_values(point, left), point, levels.coverage)
        interval = allow_for_drift(
            interval, pseudo_values(ratio, ratios_left), ratio, levels.coverage
        )
    evidence = strict(rule, evidence, point)
    return Measurement(
        observed=ratio,
        low=interval.low,
        high=interval.high,
        limit=factor,
        base=other.point,
        n=0,
        blocks=blocks,
        excess=point,
        error=evidence.error,
        reach=1 / other.point if other.point else math.nan,
        p_fail=evidence.p_above_is_chance,
        p_pass=evidence.p_below_is_chance,
    )


def baseline(
    rule: Threshold,
    arm: Arm,
    base: Arm,
    blocks: int,
    *,
    gate: Gate,
    levels: Levels,
) -> Measurement:
    """Return the evidence on ``arm within margin of base``: no worse by more than that."""
    margin = rule.margin
    share = gate.margin_share if margin.from_plan else margin.share
    absolute = margin.absolute
    if margin.from_plan and rule.measure.unit == "ms":
        absolute = gate.margin_ms
    with np.errstate(invalid="ignore"):
        moved = arm.draws - base.draws
        excess = moved - np.maximum(share * base.draws, absolute)
    allowed = max(share * base.point, absolute)
    point = arm.point - base.point
    beyond = point - allowed
    evidence = weigh(excess, beyond, blocks, levels.coverage)
    interval = weigh(moved, point, blocks, levels.coverage)
    if arm.without is not None and base.without is not None:
        with np.errstate(invalid="ignore"):
            left = arm.without - base.without
            left_beyond = left - np.maximum(share * base.without, absolute)
        evidence = allow_for_drift(
            evidence, pseudo_values(beyond, left_beyond), beyond, levels.coverage
        )
        interval = allow_for_drift(interval, pseudo_values(point, left), point, levels.coverage)
    evidence = strict(rule, evidence, beyond)
    return Measurement(
        observed=point,
        low=interval.low,
        high=interval.high,
        limit=allowed,
        base=base.point,
        n=0,
        blocks=blocks,
        excess=beyond,
        error=evidence.error,
        reach=1.0,
        p_fail=evidence.p_above_is_chance,
        p_pass=evidence.p_below_is_chance,
    )
