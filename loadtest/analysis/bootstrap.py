"""
The paired block bootstrap, seeded and without a loop over resamples.

A resample draws as many blocks as there are, with replacement, and takes the percentile of the
pooled requests of the drawn blocks.  Two arms of one region draw the same blocks, so weather that
both saw cancels.  The draws are a matrix of weights (resample x block); how many values of a
resample lie below a candidate is one matrix product with the blocks' counts, so a percentile is
found for all resamples at once, exactly, whatever the number of requests.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13;
Hesterberg, "What Teachers Should Know About the Bootstrap", 2015 (the expanded percentile
interval, which widens the interval of a few blocks as Student's t does).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.scores import cosine_terms, low_frequency
from loadtest.analysis.special import (
    normal_quantile,
    normal_tail,
    student_quantile,
    student_tail,
)

_COARSE: Final = 64
_FINE: Final = 2_048

Weights = NDArray[np.float32]
Draws = NDArray[np.float64]


def draw_weights(groups: int, resamples: int, seed: int, purpose: str) -> Weights:
    """
    Return how often each group is drawn in each resample, shape (resamples, groups).

    Args:
        groups: Number of groups, >= 1.
        resamples: Number of resamples.
        seed: The plan's seed.
        purpose: What is drawn for, such as a region's code: equal purposes draw alike (paired),
            others independently.
    """
    generator = np.random.Generator(np.random.PCG64([seed, crc32(purpose.encode())]))
    picks = generator.integers(0, groups, size=(resamples, groups), dtype=np.int32)
    picks += (np.arange(resamples, dtype=np.int32) * groups)[:, None]
    counts = np.bincount(picks.ravel(), minlength=resamples * groups)
    return counts.reshape(resamples, groups).astype(np.float32)


def join_weights(parts: Sequence[Weights]) -> Weights:
    """Put the weights of several regions side by side: a stratified bootstrap."""
    return np.concatenate(parts, axis=1)


def leave_one_out(groups: int) -> Weights:
    """Return weights that draw every group but one, shape (groups, groups)."""
    return (np.ones((groups, groups)) - np.eye(groups)).astype(np.float32)


def pseudo_values(point: float, without: Draws) -> Draws:
    """
    Return what each block says of a statistic: their mean is nearly it, their spread its error.

    Args:
        point: The statistic of the sample.
        without: The statistic of the sample without each of its blocks.

    Source: Tukey, "Bias and Confidence in Not Quite Large Samples", 1958.
    """
    return np.asarray(without.size * point - (without.size - 1) * without)


def resample(sample: Blocked, weights: Weights, percentile: float | None) -> Draws:
    """
    Return the percentile (None: the mean) of every resample.

    A resample that drew no value at all gives NaN.

    Args:
        sample: Values by group.
        weights: Shape (resamples, groups) with the sample's number of groups.
        percentile: 0 to 100, nearest rank.
    """
    totals = weights.astype(np.float64) @ sample.counts
    empty = totals == 0
    if percentile is None:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ sample.sums) / totals)
    ranks = _ranks(percentile, totals)
    low, high = 0, sample.n
    if sample.n > _FINE:
        low, high = _bracket(sample, weights, ranks)
    # Evenly spaced candidates between the brackets: every value where they are few enough.
    edges = np.unique(np.linspace(low, high - 1, min(high - low, _FINE)).astype(np.int64))
    found = _first_reaching(sample, weights, ranks, edges)
    values = sample.values[edges[np.minimum(found, edges.size - 1)]]
    return np.where(empty, np.nan, values)


def _ranks(percentile: float, totals: Draws) -> Draws:
    """Nearest ranks in whole numbers; floating point would miss one at p99.9 of 10 000."""
    share = Fraction(str(percentile)) / 100
    scaled = totals.astype(np.int64) * share.numerator
    return np.asarray(-(-scaled // share.denominator), dtype=np.float64)


def _bracket(sample: Blocked, weights: Weights, ranks: Draws) -> tuple[int, int]:
    """Return the range of positions that holds the percentile of every resample."""
    edges = np.unique(np.linspace(0, sample.n - 1, _COARSE).astype(np.int64))
    found = _first_reaching(sample, weights, ranks, edges)
    lowest = max(0, int(found.min()) - 1)
    highest = min(edges.size - 1, int(found.max()))
    return int(edges[lowest]), int(edges[highest]) + 1


def _first_reaching(
    sample: Blocked, weights: Weights, ranks: Draws, edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each resample the first edge at or below which its rank is reached."""
    # The edge that each value counts for: the first one at or after its position.
    owner = np.searchsorted(edges, np.arange(sample.n), side="left")
    inside = owner < edges.size
    flat = sample.group[inside].astype(np.int64) * edges.size + owner[inside]
    counts = np.bincount(flat, minlength=sample.groups * edges.size)
    below = np.cumsum(counts.reshape(sample.groups, edges.size), axis=1).astype(np.float32)
    # Whole numbers below 2**24 are exact in float32, sums of products included.
    exact = weights if sample.n * 4 < 2**24 else weights.astype(np.float64)
    reached = (exact @ below.astype(exact.dtype)) >= ranks[:, None].astype(exact.dtype)
    return np.asarray(reached.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What resamples of an excess say: is it above 0 or below?

    ``p_above_is_chance`` is the probability of such a sample were the true excess 0 or less; small
    means "above".  ``p_below_is_chance`` likewise.  ``error`` is the standard error.
    """

    low: float
    high: float
    error: float
    p_above_is_chance: float
    p_below_is_chance: float


def weigh(excess: Draws, point: float, blocks: int, level: float) -> Evidence:
    """
    Return interval and tail probabilities of an excess from its resamples.

    Args:
        excess: One number a resample; infinite where failures reach the percentile.
        point: The excess of the sample itself.
        blocks: Number of blocks drawn from: the degrees of freedom are one less.
        level: Coverage of the interval.
    """
    draws = excess[~np.isnan(excess)]
    if not draws.size or blocks < 2:
        return Evidence(-math.inf, math.inf, math.inf, 1.0, 1.0)
    low, high = _expanded(draws, blocks, level)
    finite = draws[np.isfinite(draws)]
    # Infinite resamples have no spread; what is left of them understates it, so none is claimed.
    error = float(finite.std()) if finite.size == draws.size else math.inf
    return Evidence(
        low=low,
        high=high,
        error=error,
        p_above_is_chance=_tail(draws <= 0, point, error, blocks),
        p_below_is_chance=_tail(draws >= 0, -point, error, blocks),
    )


def allow_for_drift(found: Evidence, series: Draws, point: float, level: float) -> Evidence:
    """
    Return evidence that holds where blocks next to each other are alike, as percentiles' does.

    The error grows by what the lowest cosines of the blocks' series have more than chance, and
    Student's t has as few degrees.

    Args:
        found: Evidence of a resampled statistic.
        series: Its `pseudo_values`, in the order of the blocks.
        point: The statistic.
        level: Coverage of the interval.
    """
    blocks = series.size
    if blocks < 2 or not np.isfinite(series).all() or not 0 < found.error < math.inf:
        return found
    spread = float(series.var(ddof=1))
    terms = cosine_terms(blocks)
    more = low_frequency(series - series.mean(), terms) / spread if spread > 0 else 1.0
    stretch = math.sqrt(max(1.0, more))
    freedom, side = float(blocks - 1), (1 - level) / 2

    def tail(p: float) -> float:
        if not 0 < p < 0.5:
            return p
        return student_tail(student_quantile(p, freedom) / stretch, terms)

    scale = stretch * student_quantile(side, terms) / student_quantile(side, freedom)
    return Evidence(
        low=point - (point - found.low) * scale,
        high=point + (found.high - point) * scale,
        error=found.error * stretch,
        p_above_is_chance=tail(found.p_above_is_chance),
        p_below_is_chance=tail(found.p_below_is_chance),
    )


def _expanded(draws: Draws, blocks: int, level: float) -> tuple[float, float]:
    """Return the expanded percentile interval."""
    t = student_quantile((1 - level) / 2, blocks - 1)
    tail = normal_tail(t * math.sqrt(blocks / (blocks - 1)))
    ordered = np.sort(draws)
    below = max(0, math.floor(tail * ordered.size) - 1)
    return float(ordered[below]), float(ordered[ordered.size - 1 - below])


def _tail(against: NDArray[np.bool_], point: float, error: float, blocks: int) -> float:
    """
    Turn the share of resamples on the wrong side into a probability.

    Where no resample is on the wrong side the tail goes on as Student's t does, but never further
    than the spread of the resamples warrants.
    """
    wrong = int(against.sum())
    share = (wrong + 1) / (against.size + 1)
    if share >= 0.5:
        return share
    z = normal_quantile(share)
    if wrong == 0 and error < math.inf:
        z = max(z, point / error) if error > 0 else math.inf
    elif wrong == 0 and math.isinf(point):
        z = math.inf
    return student_tail(z * math.sqrt((blocks - 1) / blocks), blocks - 1)
