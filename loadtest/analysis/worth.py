"""
What a sample is worth whose requests share the weather of their blocks, and its intervals.

Requests of one block share their weather, so a thousand of them may tell no more than a hundred
independent ones would.  The design effect says how many they are worth.  What is printed with a
table and what a limit is judged by are the same interval, at the error rate of each.

Source: Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of
Positive Counts Estimated from Survey Data", 1998.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked, blocks_of, group_blocks
from loadtest.analysis.cells import CellRows
from loadtest.analysis.drift import arm_drifts, mean_ranks
from loadtest.analysis.metrics import sample_of
from loadtest.analysis.percentiles import LEVEL, Distribution, Quantile, describe, rank_of
from loadtest.analysis.scores import WIDE_BELOW, cosine_terms, low_frequency
from loadtest.analysis.special import (
    binomial_at_least,
    binomial_at_most,
    normal_quantile,
    student_quantile,
    student_tail,
)
from loadtest.units import US_PER_MS

DRIFT_PENALTY: Final = 5.0
"""Error rates are divided by it where a sample drifts."""
UNLIKELY: Final = 0.001
"""Levels of blocks decide only where counting says the same, were requests independent."""
_LEVELS: Final = (50.0, 75.0, 90.0)
_LEAST_SPREAD: Final = 0.01  # blocks that agree better than this are a few steps of a clock
_LARGEST_LOG: Final = 700.0


@dataclass(frozen=True, slots=True)
class Worth:
    """
    How many independent requests a sample is worth, before the look's level is applied.

    Args:
        effective: Number of requests over the design effect and what drift adds.
        freedom: Degrees of freedom that the design effect was estimated with.
    """

    effective: float
    freedom: int

    def at(self, side: float) -> float:
        """Return the number that counts at an error rate: Student's t in place of the normal."""
        return self.effective * (normal_quantile(side) / student_quantile(side, self.freedom)) ** 2


@dataclass(frozen=True, slots=True)
class BlockLevel:
    """
    The level of blocks' own percentiles, on a logarithmic scale.

    Counting requests cannot tell a limit that is far from one that is near.  Blocks' levels can: a
    normal tolerance bound on the logarithm of each block's percentile, for large samples.  Where
    times have two modes a block's median may lie in either, and the mean of their logarithms
    nowhere near the run's: levels decide only where counting, which knows no shape, says the same
    as if requests were independent.

    Args:
        low: Mean of the logarithms, by an estimate that is rather too low.
        high: The same, by one that is rather too high.
        error: Standard error of the mean, drift allowed for.
        stretch: By how much the error of the upper bound is larger.
        freedom: Degrees of freedom.

    Sources: Hahn and Meeker, "Statistical Intervals", 1991, chapter 4; Hyndman and Fan, "Sample
    Quantiles in Statistical Packages", 1996 (definitions 6 and 7, between which the truth lies).
    """

    low: float
    high: float
    error: float
    stretch: float
    freedom: int

    def chances(self, limit: float) -> tuple[float, float]:
        """Return how likely chance is that blocks lie beyond, and within, a limit."""
        distance = math.log(limit)
        beyond = student_tail((self.low - distance) / self.error, self.freedom)
        within = student_tail((distance - self.high) / (self.error * self.stretch), self.freedom)
        # twice, because it is asked beside the count: either may decide
        return min(1.0, 2 * beyond), min(1.0, 2 * within)

    def interval(self, side: float) -> tuple[float, float]:
        """Return the limits that lie neither beyond nor within at an error rate."""
        t = student_quantile(side / 2, self.freedom)
        low = self.low - t * self.error
        high = self.high + t * self.error * self.stretch
        return math.exp(min(low, _LARGEST_LOG)), math.exp(min(high, _LARGEST_LOG))


class Weather:
    """
    What the blocks of one sample say of each other.

    Args:
        sample: Its values ascending; not empty.

    Attributes:
        drifts: The sample moved by itself while it was measured.
        freedom: Degrees of freedom of what its blocks tell.
    """

    def __init__(self, sample: Blocked) -> None:
        self._sample = sample
        ranks = mean_ranks(sample)
        self.drifts = arm_drifts(ranks)
        wide = self.drifts or sample.groups < WIDE_BELOW
        terms = cosine_terms(sample.groups)
        self.freedom = terms if wide else max(1, sample.groups - 1)
        self._more = 1.0
        if wide and sample.groups > 1:
            spread = max(float(ranks.var(ddof=1)), 1e-300)
            self._more = max(1.0, low_frequency(ranks - ranks.mean(), terms) / spread)

    @cached_property
    def _usual_effect(self) -> float:
        return max(self._design_effect(self._sample.point(level)) for level in _LEVELS)

    @cached_property
    def _by_group(self) -> NDArray[np.float64]:
        """
        The values of each group ascending, one group after the other.

        A server beside the client may answer within a tick of the clock: that is no time of zero,
        and has a logarithm.
        """
        order = np.argsort(self._sample.group.astype(np.uint16), kind="stable")
        values = self._sample.values
        least = values[int(np.searchsorted(values, 0.0, side="right"))]
        return np.asarray(np.maximum(values, least)[order], dtype=np.float64)

    def worth_at(self, *points: float) -> Worth:
        """Return what the sample is worth at some values; the largest design effect counts."""
        effect = max(1.0, self._usual_effect, *map(self._design_effect, points))
        return Worth(self._sample.n / (effect * self._more), self.freedom)

    def side_of(self, side: float) -> float:
        """Return the error rate to judge by where this one is wanted: drift divides it."""
        return side / (DRIFT_PENALTY if self.drifts else 1.0)

    def _design_effect(self, point: float) -> float:
        """Return how much more blocks differ in their share up to a point than chance explains."""
        sample = self._sample
        counts = sample.counts
        some = counts > 0
        inside = int(np.searchsorted(sample.values, point, side="right"))
        if some.sum() < 2 or not 0 < inside < sample.n:
            return 1.0
        below = np.bincount(sample.group[:inside], minlength=sample.groups)
        shares = below[some] / counts[some]
        share = inside / sample.n
        chance = share * (1 - share) * float((1 / counts[some]).mean())
        return float(shares.var(ddof=1)) / chance

    def level(self, percentile: float) -> BlockLevel | None:
        """Return the level of the blocks' percentiles; None where a block is empty or failed."""
        counts = self._sample.counts.astype(np.int64)
        if counts.size < 2 or not counts.all() or not math.isfinite(self._sample.values[-1]):
            return None
        if self._sample.values[-1] <= 0:
            return None
        share = percentile / 100
        inner, outer = (counts - 1) * share, (counts + 1) * share - 1
        low = self._logs_at(np.minimum(inner, outer))
        high = self._logs_at(np.maximum(inner, np.ceil(share * counts - 1e-9) - 1))
        spread = max(float(low.std(ddof=1)), float(high.std(ddof=1)), _LEAST_SPREAD)
        terms = cosine_terms(low.size)
        slow = max(low_frequency(logs - logs.mean(), terms) for logs in (low, high))
        z = max(0.0, -normal_quantile(share))
        return BlockLevel(
            low=float(low.mean()),
            high=float(high.mean()) + z * spread,
            error=math.sqrt(max(spread**2, slow) / low.size),
            stretch=math.sqrt(1 + z * z / 2),
            freedom=self.freedom,
        )

    def _logs_at(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of each block's value at a place, 0 for its first, or between."""
        counts = self._sample.counts.astype(np.int64)
        starts = np.cumsum(counts) - counts
        place = np.clip(place, 0, counts - 1)
        first = np.floor(place).astype(np.int64)
        last = np.minimum(first + 1, counts - 1)
        low, high = self._by_group[starts + first], self._by_group[starts + last]
        return np.asarray(np.log(low + (place - first) * (high - low)), dtype=np.float64)

    def interval(self, percentile: float, worth: Worth, side: float) -> tuple[float, float]:
        """
        Return the values that are not rejected as the true percentile, ``side`` in each tail.

        Args:
            percentile: 0 to 100.
            worth: What the sample is worth where it matters.
            side: Error rate, as ``side_of`` gives it.
        """
        low, high = _count_interval(self._sample, percentile, worth.at(side), side)
        if (level := self.level(percentile)) is not None:
            least, most = level.interval(side)
            # what counting alone would not rule out, levels could not either
            inner = _count_interval(self._sample, percentile, self._sample.n, UNLIKELY)
            low, high = max(low, min(least, inner[0])), min(high, max(most, inner[1]))
        return low, high


def _count_interval(
    sample: Blocked, percentile: float, effective: float, side: float
) -> tuple[float, float]:
    """Return the values that the exact binomial would not reject as the true percentile."""
    share = percentile / 100

    def farthest(inside: int, outside: int, *, upper: bool) -> int:
        """Return the count farthest from the percentile that is not rejected, by bisection."""
        while abs(outside - inside) > 1:
            middle = (inside + outside) // 2
            count = middle / sample.n * effective
            if upper:  # so many below: is the percentile truly lower?
                kept = binomial_at_least(count, effective, share) > side
            else:
                kept = binomial_at_most(count, effective, share) > side
            inside, outside = (middle, outside) if kept else (inside, middle)
        return inside

    first = max(1, farthest(math.ceil(share * sample.n), 0, upper=False) - 1)
    last = farthest(math.floor(share * sample.n), sample.n, upper=True) + 2
    low = float(sample.values[first - 1])
    if last <= sample.n:
        high = float(sample.values[last - 1])
    else:  # beyond the largest lies nothing, which may be improbable enough
        bounded = binomial_at_least(effective, effective, share) <= side
        high = float(sample.values[-1]) if bounded else math.inf
    low = min(low, float(sample.values[rank_of(percentile, sample.n) - 1]))
    return low, high


def with_weather(told: Distribution, sample: Blocked) -> Distribution:
    """
    Return a distribution with intervals that allow for what blocks share and for drift.

    Args:
        told: What is told of the sample.
        sample: The same values by block, in the same unit.
    """
    if not told.quantiles:
        return told
    weather = Weather(sample)
    side = weather.side_of((1 - LEVEL) / 2)

    def widened(quantile: Quantile) -> Quantile:
        worth = weather.worth_at(quantile.value)
        low, high = weather.interval(quantile.p, worth, side)
        return replace(quantile, low=min(low, quantile.value), high=max(high, quantile.value))

    return replace(told, quantiles=tuple(map(widened, told.quantiles)))


def describe_cell(
    frame: pd.DataFrame, cell: CellRows, metric: str
) -> tuple[Distribution, Distribution]:
    """
    Return a time of a cell as tables show it, milliseconds: of its successes, and with failures.

    Args:
        frame: Records.
        cell: Whose rows.
        metric: A time of the threshold grammar.

    Returns:
        Twice the same where nothing failed; else the second counts failures as infinity.
    """
    sample = sample_of(frame, cell.rows, metric)
    groupings = {cell.region: group_blocks(frame["block"].to_numpy()[cell.rows])}

    def told(*, failures: bool) -> Distribution:
        values = sample.with_failures() if failures else sample.values
        plain = describe(values, per_unit=US_PER_MS)
        if not plain.quantiles:
            return plain
        own = [(cell.region, sample)]
        return with_weather(plain, blocks_of(frame, own, metric, groupings, failures=failures))

    successes = told(failures=False)
    return successes, told(failures=True) if sample.failed.size else successes
