"""
Comparing a percentile of two arms block by block: one score test, no resampling.

The question "is the candidate's percentile within what the base allows" is asked as: are as many of
the candidate's requests below the pooled percentile as of the base's, had the base been as slow as
is allowed?  Each block answers with a difference of shares, and blocks are the witnesses.

Sources: Mood, "On the Asymptotic Efficiency of Certain Nonparametric Two-Sample Tests", 1954, and
Woodruff, "Confidence Intervals for Medians and Other Position Measures", 1952 (a percentile tested
by shares); Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of Online Controlled Experiments
by Utilizing Pre-Experiment Data", WSDM 2013 (taking out what both arms share); Mueller, "A Theory
of Robust Long-Run Variance Estimation", Journal of Econometrics 141, 2007, and Lazarus, Lewis,
Stock and Watson, "HAR Inference: Recommendations for Practice", Journal of Business and Economic
Statistics 36, 2018 (a variance from the lowest cosines, with Student's t of as many degrees);
Cochran, "Sampling Techniques", 1977, chapter 6 (blocks of unequal size: deviations from the share,
not sums).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.percentiles import rank_of
from loadtest.analysis.special import student_quantile, student_tail

Series = NDArray[np.float64]

WIDE_BELOW: Final = 24
"""Fewer blocks say too little of drift: the variance that allows for it is taken always."""
_SHARED_FROM: Final = 5  # requests of an arm and block that make its median worth using
_STEPS: Final = 34
_EXPOSED_FROM: Final = 3
_EXPOSED_TAIL: Final = 0.05
_FLAT: Final = 1e-12
_FOUND_TAIL: Final = 0.12  # 80 of 100 runs find it, as simulated with drift checks in force


@dataclass(frozen=True, slots=True)
class Score:
    """
    What blocks say of ``candidate percentile <= allowed``.

    Args:
        series: One difference of shares a block; positive where the candidate is slower.
        mean: Their mean.
        error: Its standard error, never zero.
        freedom: Degrees of freedom of Student's t.
        floor: Least variance of the mean: what it would be without weather.
        plain: The same of the blocks as they are, where weather was taken out that one of the arms
            is more exposed to than the other: both have to agree then.
    """

    series: Series
    mean: float
    error: float
    freedom: float
    floor: float
    plain: Score | None = None

    @property
    def p_fail(self) -> float:
        """Probability of such blocks were the candidate within what is allowed."""
        own = student_tail(self.mean / self.error, self.freedom)
        return own if self.plain is None else max(own, self.plain.p_fail)

    @property
    def p_pass(self) -> float:
        """Probability of such blocks were the candidate slower than is allowed."""
        own = student_tail(-self.mean / self.error, self.freedom)
        return own if self.plain is None else max(own, self.plain.p_pass)


def score(arm: Blocked, allowed: Blocked, percentile: float, *, wide: bool) -> Score:
    """
    Test a percentile of an arm against that of what is allowed.

    Args:
        arm: The judged arm by block; failures are infinite.
        allowed: The other arm, each value as slow as is allowed; the same blocks.
        percentile: 0 to 100.
        wide: Allow for drift within an arm.
    """
    floor = least_variance(arm, allowed, percentile)
    levels = shared_levels(arm, allowed)
    if levels is None:
        return of_series(block_scores(arm, allowed, percentile), floor, wide=wide)
    calm, calm_allowed = _divided(arm, allowed, levels)
    found = of_series(block_scores(calm, calm_allowed, percentile), floor, wide=wide)
    if exposed_alike(levels):
        return found
    plain = of_series(block_scores(arm, allowed, percentile), floor, wide=wide)
    return replace(found, plain=plain)


def least_variance(arm: Blocked, other: Blocked, percentile: float) -> float:
    """Return the variance of a mean score were there no weather: it ends the luck of constants."""
    p = percentile / 100
    return p * (1 - p) * (1 / max(arm.n, 1) + 1 / max(other.n, 1))


def of_series(series: Series, floor: float, *, wide: bool) -> Score:
    """Return the test of a series of differences; ``floor`` is the least variance of its mean."""
    blocks = series.size
    spread = float(series.var(ddof=1)) if blocks > 1 else math.inf
    terms = cosine_terms(blocks)
    variance = max(spread / blocks, low_frequency(series, terms) / blocks, floor)
    return Score(
        series,
        float(series.mean()),
        math.sqrt(max(variance, 1e-300)),
        float(terms if wide else max(blocks - 1, 1)),
        floor,
    )


def block_scores(arm: Blocked, allowed: Blocked, percentile: float) -> Series:
    """
    Return what each block says of the difference of shares at or below the pooled percentile.

    The share of ``allowed`` minus that of the arm; their mean is the difference over all requests.
    A block counts by how far its requests deviate from their arm's share, so that one that merely
    holds more requests than others says no more than they do.
    """
    pooled = np.concatenate([arm.values, allowed.values])
    rank = rank_of(percentile, pooled.size) - 1
    q = float(np.partition(pooled, rank)[rank])
    blocks = arm.groups

    def below(sample: Blocked) -> Series:
        half = ((sample.values < q).astype(np.float64) + (sample.values <= q)) / 2
        return block_means(half, sample.group, blocks)

    return below(allowed) - below(arm)


def block_means(values: Series, group: NDArray[np.int32], blocks: int) -> Series:
    """
    Return a series whose mean is that of all values, and whose spread is the error of that mean.

    Args:
        values: One number a request.
        group: The block of each, 0 to ``blocks`` - 1.
        blocks: Number of blocks.
    """
    mean = float(values.mean())
    moved = np.bincount(group, weights=values - mean, minlength=blocks)
    return np.asarray(mean + moved * (blocks / values.size), dtype=np.float64)


def without_shared_weather(arm: Blocked, other: Blocked) -> tuple[Blocked, Blocked]:
    """Divide both arms of a block by the level that they share, as far as they do share one."""
    levels = shared_levels(arm, other)
    return (arm, other) if levels is None else _divided(arm, other, levels)


def shared_levels(arm: Blocked, other: Blocked) -> tuple[Series, Series] | None:
    """Return each block's level in both arms, as logarithms about 0; None where there is none."""
    if not arm.groups or arm.groups != other.groups:
        return None
    if min(arm.counts.min(), other.counts.min()) < _SHARED_FROM:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = np.log(group_medians(arm)), np.log(group_medians(other))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    return a - a.mean(), b - b.mean()


def _divided(
    arm: Blocked, other: Blocked, levels: tuple[Series, Series]
) -> tuple[Blocked, Blocked]:
    a, b = levels
    level = (a + b) / 2
    shared = float((a * b).mean() / max(float((level**2).mean()), 1e-12))
    factor = np.exp(-min(max(shared, 0.0), 1.0) * level)
    return (
        replace(arm, values=arm.values * factor[arm.group]),
        replace(other, values=other.values * factor[other.group]),
    )


def exposed_alike(levels: tuple[Series, Series]) -> bool:
    """
    Tell whether two arms move alike with the weather that they share.

    Where one is slower in bad weather by more than the other, that is a difference of the arms.
    Without it their levels' sum and difference do not go together.

    Source: Pitman, "A note on normal correlation", 1939.
    """
    a, b = levels
    both, apart = a + b, a - b
    scale = math.sqrt(float((both**2).sum() * (apart**2).sum()))
    if a.size < _EXPOSED_FROM or scale < _FLAT:
        return True
    r = min(abs(float((both * apart).sum())) / scale, 1 - _FLAT)
    t = r * math.sqrt((a.size - 2) / (1 - r * r))
    return 2 * student_tail(t, a.size - 2) > _EXPOSED_TAIL


def group_medians(sample: Blocked) -> Series:
    """Return the median of every group; NaN of an empty one."""
    order = np.lexsort((sample.values, sample.group))
    counts = sample.counts.astype(np.int64)
    starts = np.cumsum(counts) - counts
    values = sample.values[order]
    middle = np.full((2, sample.groups), np.nan)
    some = counts > 0
    middle[0, some] = values[(starts + (counts - 1) // 2)[some]]
    middle[1, some] = values[(starts + counts // 2)[some]]
    return np.asarray(middle.mean(axis=0), dtype=np.float64)


def cosine_terms(blocks: int) -> int:
    """Return how many of the lowest cosines make up the variance that allows for drift."""
    return max(3, int(0.4 * blocks ** (2 / 3)))


def low_frequency(series: Series, terms: int) -> float:
    """Return the mean square of a series' lowest cosine coefficients: its long-run variance."""
    blocks = series.size
    at = (np.arange(blocks) + 0.5) / blocks
    waves = np.sqrt(2 / blocks) * np.cos(np.pi * np.outer(np.arange(1, terms + 1), at))
    return float(((waves @ series) ** 2).mean())


def ratio_interval(
    arm: Blocked, base: Blocked, percentile: float, side: float, *, wide: bool
) -> tuple[float, float]:
    """Return the ratios of percentiles that the score test does not reject at ``side``."""
    point = arm.point(percentile) / base.point(percentile)
    return _invert(
        lambda r: score(arm, _scaled(base, r, 0.0), percentile, wide=wide),
        point,
        (point / 3, point * 3),
        side,
    )


def shift_interval(
    arm: Blocked, base: Blocked, percentile: float, side: float, *, wide: bool
) -> tuple[float, float]:
    """Return the differences of percentiles that the score test does not reject at ``side``."""
    high, low = arm.point(percentile), base.point(percentile)
    span = 2 * max(abs(high), abs(low))
    return _invert(
        lambda d: score(arm, _scaled(base, 1.0, d), percentile, wide=wide),
        high - low,
        (high - low - span, high - low + span),
        side,
    )


def _invert(
    test: Callable[[float], Score], point: float, outer: tuple[float, float], side: float
) -> tuple[float, float]:
    if not math.isfinite(point):
        return -math.inf, math.inf

    def edge(outside: float, p_of: Callable[[Score], float]) -> float:
        inside = point
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            if p_of(test(middle)) > side:
                inside = middle
            else:
                outside = middle
        return inside

    return edge(outer[0], lambda s: s.p_fail), edge(outer[1], lambda s: s.p_pass)


def _scaled(sample: Blocked, factor: float, shift: float) -> Blocked:
    return Blocked(sample.values * factor + shift, sample.group, sample.groups)


def slowed(base: Blocked, share: float, absolute: float) -> Blocked:
    """Return an arm with every value as slow as a margin allows: the larger of share and ms."""
    values = np.maximum(base.values * (1 + share), base.values + absolute)
    return Blocked(values, base.group, base.groups)


def detectable_factor(
    arm: Blocked, allowed: Blocked, percentile: float, side: float, *, wide: bool
) -> float:
    """
    Return how many times slower than allowed an arm must be for 80 of 100 such runs to say so.

    The run itself is moved onto the limit, and its noise asked.  Infinity where nothing would do.

    Args:
        arm: The judged arm.
        allowed: The other, as slow as is allowed.
        percentile: 0 to 100.
        side: Error rate of the failing side, corrections included.
        wide: Allow for drift.
    """
    points = arm.point(percentile), allowed.point(percentile)
    if not all(0 < point < math.inf for point in points):
        return math.inf
    moved = points[1] / points[0]
    on_limit, calm = without_shared_weather(_scaled(arm, moved, 0.0), allowed)
    here = of_series(
        block_scores(on_limit, calm, percentile),
        least_variance(arm, allowed, percentile),
        wide=wide,
    )
    reach = student_quantile(side, here.freedom) + student_quantile(_FOUND_TAIL, here.freedom)
    wanted = reach * here.error
    low, high = 1.0, 16.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        faster = block_scores(_scaled(calm, middle, 0.0), calm, percentile)
        low, high = (low, middle) if float(faster.mean()) >= wanted else (middle, high)
    return high if high < 15.99 else math.inf
