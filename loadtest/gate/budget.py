"""
Errors: shares judged by the exact binomial distribution.

A run of a few hundred requests cannot show that fewer than one in a thousand fail, and one
transient error must not fail a release.  So the plan's error budget is exceeded only on evidence:
when that many errors were improbable with a target that keeps its budget.  A threshold such as
``errors < 1%`` is judged like every other: it passes when the upper limit is below 1 %.
"""

from __future__ import annotations

from functools import lru_cache

from loadtest.analysis.special import binomial_at_least, binomial_at_most

_STEPS = 60


@lru_cache(maxsize=1024)
def share_interval(count: int, n: int, level: float) -> tuple[float, float]:
    """
    Return the exact two-sided interval of a share.

    Args:
        count: How many of the requests, 0 <= count <= n.
        n: Number of requests, >= 1.
        level: Coverage, such as 0.95.

    Source: Clopper and Pearson, Biometrika 26, 1934.
    """
    tail = (1 - level) / 2
    return lower_limit(count, n, tail), upper_limit(count, n, tail)


def upper_limit(count: int, n: int, alpha: float) -> float:
    """Return the largest share with which so few had a probability of at least ``alpha``."""
    if count >= n:
        return 1.0
    low, high = count / n, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if binomial_at_most(count, n, middle) > alpha:
            low = middle
        else:
            high = middle
    return high


def lower_limit(count: int, n: int, alpha: float) -> float:
    """Return the smallest share with which so many had a probability of at least ``alpha``."""
    if count <= 0:
        return 0.0
    low, high = 0.0, count / n
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if binomial_at_least(count, n, middle) > alpha:
            high = middle
        else:
            low = middle
    return low


def chance_of_so_many(count: int, n: int, share: float) -> float:
    """Return the probability of at least ``count`` of ``n`` when the true share is ``share``."""
    return binomial_at_least(count, n, share)


def chance_of_so_few(count: int, n: int, share: float) -> float:
    """Return the probability of at most ``count`` of ``n`` when the true share is ``share``."""
    return binomial_at_most(count, n, share)
