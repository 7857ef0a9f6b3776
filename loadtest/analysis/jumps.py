"""
Jumps in a short history: a change of level so far outside the noise that few runs suffice.

Random orders cannot decide a short series: of six values, one order in ten is cut as well as three
low ones before three high ones.  So here the noise is taken to be normal and independent from run
to run, with an unknown spread.  Every way to cut the series into levels is asked how much better
it explains the values than one level does (the F ratio of a one-way analysis of variance), and all
those questions share one small error (Bonferroni).  Heavier tails than the normal's widen the
spread within levels more than between them, which keeps the error below that
(``tests/analysis/test_analysis_jumps.py`` draws both).

Sources: Worsley, "On the Likelihood Ratio Test for a Shift in Location of Normal Populations",
JASA 1979 (the bound for one cut); Bai and Perron, "Estimating and Testing Linear Models with
Multiple Structural Changes", Econometrica 1998 (several cuts at once).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.special import regularised_beta

SIGNIFICANCE: Final = 0.001
"""Probability that a history without a jump shows one; a history has a dozen cells."""
LEAST_NOISE: Final = 0.005
"""Spread from run to run as a share of the level, at least: few runs can look calmer than any."""


def find_jumps(values: NDArray[np.float64], min_part: int) -> tuple[tuple[int, ...], float] | None:
    """
    Return where the levels of a series begin and how improbable that is by chance, or None.

    Of the fewest cuts that suffice, the best.

    Args:
        values: Of the runs, oldest first, none below 0; a dozen or so, since every way to cut
            is tried.
        min_part: Runs of a level at least, >= 2.
    """
    n = values.size
    ways = [tuple(_cuts(n, k, min_part)) for k in range(1, n // min_part)]
    asked = sum(map(len, ways))
    if not asked or not values.max():
        return None
    values = values / values.max()  # squares stay within range
    center = float(values.mean())
    total = float(np.square(values - center).sum())
    for cuts in ways:
        within = [(_within(values, way), way) for way in cuts]
        left, best = min(within)
        k, freedom = len(best), n - len(best) - 1
        noise = max(left, freedom * (LEAST_NOISE * center) ** 2)
        p_value = asked * _tail((total - left) / noise, k, freedom)
        if p_value <= SIGNIFICANCE:
            return best, p_value
    return None


def _cuts(n: int, k: int, min_part: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to cut ``n`` values ``k`` times into parts of ``min_part`` at least."""
    free = n - (k + 1) * min_part
    for bars in combinations(range(free + k), k):
        yield tuple(bar - i + (i + 1) * min_part for i, bar in enumerate(bars))


def _within(values: NDArray[np.float64], cuts: tuple[int, ...]) -> float:
    """Return the sum of squares around the means of the parts."""
    parts = np.split(values, cuts)
    return math.fsum(float(np.square(part - part.mean()).sum()) for part in parts)


def _tail(ratio: float, k: int, freedom: int) -> float:
    """Return P(between / within > ratio) of the F distribution, ``k`` and ``freedom`` degrees."""
    return regularised_beta(1 / (1 + ratio), freedom / 2, k / 2)
