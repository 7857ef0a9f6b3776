"""
A percentile against a fixed limit: exact binomial, with as many requests as the blocks are worth.

Requests of one block share their weather, so a thousand of them may tell no more than a hundred
independent ones would.  The design effect says how many they are worth.

Source: Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of
Positive Counts Estimated from Survey Data", 1998.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.percentiles import rank_of
from loadtest.analysis.scores import WIDE_BELOW, arm_drifts, cosine_terms, low_frequency, mean_ranks
from loadtest.analysis.special import normal_quantile, student_quantile, student_tail
from loadtest.gate.decide import Levels
from loadtest.gate.errors import chance_of_so_few, chance_of_so_many
from loadtest.gate.evidence import Measurement, sign_of
from loadtest.plan.thresholds import Threshold

DRIFT_PENALTY: Final = 5.0
_LEVELS: Final = (50.0, 75.0, 90.0)
_LEAST_SPREAD: Final = 0.01  # blocks that agree better than this are a few steps of a clock
_LARGEST_LOG: Final = 700.0
_STEPS: Final = 50


@dataclass(frozen=True, slots=True)
class Worth:
    """
    How many independent requests a sample is worth, before the look's level is applied.

    Args:
        effective: Number of requests over the design effect and what drift adds.
        freedom: Degrees of freedom that the design effect was estimated with.
        drifts: The arm moved by itself while it was measured.
    """

    effective: float
    freedom: int
    drifts: bool

    def at(self, side: float) -> float:
        """Return the number that counts at an error rate: Student's t in place of the normal."""
        return self.effective * (normal_quantile(side) / student_quantile(side, self.freedom)) ** 2


def worth_of(sample: Blocked, limit: float, percentile: float) -> Worth:
    """Return what a sample is worth at a limit; the largest design effect near it counts."""
    ranks = mean_ranks(sample)
    drifting = arm_drifts(ranks)
    wide = drifting or sample.groups < WIDE_BELOW
    points = [limit, sample.point(percentile), *(sample.point(level) for level in _LEVELS)]
    effect = max(1.0, *(_design_effect(sample, point) for point in points))
    terms = cosine_terms(sample.groups)
    more = 1.0
    if wide and sample.groups > 1:
        spread = max(float(ranks.var(ddof=1)), 1e-300)
        more = max(1.0, low_frequency(ranks - ranks.mean(), terms) / spread)
    freedom = terms if wide else max(1, sample.groups - 1)
    return Worth(sample.n / (effect * more), freedom, drifting)


def _design_effect(sample: Blocked, point: float) -> float:
    """Return how much more blocks differ in their share up to a point than chance explains."""
    counts = sample.counts
    some = counts > 0
    if some.sum() < 2:
        return 1.0
    inside = (sample.values <= point).astype(np.float64)
    shares = np.bincount(sample.group, weights=inside, minlength=sample.groups)[some] / counts[some]
    share = float(inside.mean())
    if not 0 < share < 1:
        return 1.0
    chance = share * (1 - share) * float((1 / counts[some]).mean())
    return float(shares.var(ddof=1)) / chance


def against_limit(rule: Threshold, sample: Blocked, levels: Levels) -> Measurement:
    """Return the evidence on a percentile against a limit; the sample is not empty."""
    percentile = rule.measure.percentile
    assert percentile is not None
    worth = worth_of(sample, rule.limit, percentile)
    side = levels.side / (DRIFT_PENALTY if worth.drifts else 1.0)
    effective = worth.at(side)
    share = percentile / 100
    at_most = float((sample.values <= rule.limit).mean()) * effective
    below = float((sample.values < rule.limit).mean()) * effective
    # True percentile within the limit: at least `share` of all requests are.
    slower = chance_of_so_few(at_most, effective, share)
    faster = chance_of_so_many(below, effective, share)
    level = block_level(sample, percentile, worth)
    by_block = level.chances(rule.limit) if level is not None and rule.limit > 0 else (1.0, 1.0)
    penalty = levels.side / side
    p_fail = min(1.0, min(slower, by_block[0]) * penalty)
    p_pass = min(1.0, min(faster, by_block[1]) * penalty)
    if sign_of(rule) < 0:
        p_fail, p_pass = p_pass, p_fail
    low, high = _interval(sample, percentile, effective, side)
    observed = sample.point(percentile)
    if level is not None:
        least, most = level.interval(side)
        low, high = min(observed, max(low, least)), max(observed, min(high, most))
    return Measurement(
        observed=observed,
        low=low,
        high=high,
        limit=rule.limit,
        base=None,
        n=sample.n,
        blocks=sample.groups,
        excess=sign_of(rule) * (observed - rule.limit),
        error=(high - low) / 2 / student_quantile(levels.side, worth.freedom),
        reach=1.0,
        p_fail=p_fail,
        p_pass=p_pass,
        drifts=worth.drifts,
    )


@dataclass(frozen=True, slots=True)
class BlockLevel:
    """
    The level of blocks' own percentiles, on a logarithmic scale.

    Counting requests cannot tell a limit that is far from one that is near.  Blocks' levels can: a
    normal tolerance bound on the logarithm of each block's percentile, for large samples.

    Args:
        mean: Mean of the logarithms.
        above: What has to be added to reach the percentile of all requests.
        error: Standard error of the mean, drift allowed for.
        stretch: By how much the error of the upper bound is larger.
        freedom: Degrees of freedom.

    Source: Hahn and Meeker, "Statistical Intervals", 1991, chapter 4.
    """

    mean: float
    above: float
    error: float
    stretch: float
    freedom: int

    def chances(self, limit: float) -> tuple[float, float]:
        """Return how likely chance is that blocks lie beyond, and within, a limit."""
        distance = math.log(limit) - self.mean
        beyond = student_tail(-distance / self.error, self.freedom)
        within = student_tail((distance - self.above) / (self.error * self.stretch), self.freedom)
        # twice, because it is asked beside the count: either may decide
        return min(1.0, 2 * beyond), min(1.0, 2 * within)

    def interval(self, side: float) -> tuple[float, float]:
        """Return the limits that lie neither beyond nor within at an error rate."""
        t = student_quantile(side / 2, self.freedom)
        low = self.mean - t * self.error
        high = self.mean + self.above + t * self.error * self.stretch
        return math.exp(min(low, _LARGEST_LOG)), math.exp(min(high, _LARGEST_LOG))


def block_level(sample: Blocked, percentile: float, worth: Worth) -> BlockLevel | None:
    """Return the level of a sample's blocks; None where a block is empty or failed."""
    counts = sample.counts.astype(np.int64)
    if counts.size < 2 or not counts.all():
        return None
    ranks = np.maximum(1, np.ceil(percentile / 100 * counts - 1e-9)).astype(np.int64)
    order = np.lexsort((sample.values, sample.group))
    values = sample.values[order][np.cumsum(counts) - counts + ranks - 1]
    if not (np.isfinite(values).all() and values.min() > 0):
        return None
    level = np.log(values)
    spread = max(float(level.std(ddof=1)), _LEAST_SPREAD)
    slow = low_frequency(level - level.mean(), cosine_terms(level.size))
    z = max(0.0, -normal_quantile(percentile / 100))
    return BlockLevel(
        mean=float(level.mean()),
        above=z * spread,
        error=math.sqrt(max(spread**2, slow) / level.size),
        stretch=math.sqrt(1 + z * z / 2),
        freedom=worth.freedom,
    )


def _interval(
    sample: Blocked, percentile: float, effective: float, side: float
) -> tuple[float, float]:
    """Return the values that the same test would not reject as the true percentile."""
    share = percentile / 100

    def edge(inside: float, outside: float, *, upper: bool) -> float:
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            count = middle * effective
            if upper:  # so many below: is the percentile truly lower?
                kept = chance_of_so_many(count, effective, share) > side
            else:
                kept = chance_of_so_few(count, effective, share) > side
            inside, outside = (middle, outside) if kept else (inside, middle)
        return inside

    low_share = edge(share, 0.0, upper=False)
    high_share = edge(share, 1.0, upper=True)
    first = max(1, math.floor(low_share * sample.n))
    last = math.ceil(high_share * sample.n) + 1
    low = float(sample.values[first - 1])
    high = float(sample.values[last - 1]) if last <= sample.n else math.inf
    low = min(low, float(sample.values[rank_of(percentile, sample.n) - 1]))
    return low, high
