"""
The few probability functions that the decisions need, so that the program does without SciPy.

All are plain floating-point functions of a scalar; the tests compare them with exact sums in
rational arithmetic and with published tables.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_CLOSE = 1e-15
_MAX_TERMS = 10_000
_NORMAL = NormalDist()


def regularised_beta(x: float, a: float, b: float) -> float:
    """
    Return the regularised incomplete beta function I_x(a, b).

    Args:
        x: Upper limit of the integral, 0 <= x <= 1.
        a: First shape, > 0.
        b: Second shape, > 0.

    Source: continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions,
    evaluated by Lentz's method, on the side where it converges fast.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - regularised_beta(1 - x, b, a)
    log_front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
        - math.log(a)
    )
    return min(1.0, math.exp(log_front) * _beta_fraction(x, a, b))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    total = d
    for m in range(1, _MAX_TERMS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + numerator / c
            c = c if abs(c) > _TINY else _TINY
            step = c * d
            total *= step
        if abs(step - 1.0) < _CLOSE:
            break
    return total


def binomial_at_most(k: float, n: float, p: float) -> float:
    """
    Return P(X <= k) of a binomial count of ``n`` trials with probability ``p``.

    Exact for whole numbers; for fractions of requests, the same function between them.
    """
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return regularised_beta(1 - p, n - k, k + 1)


def binomial_at_least(k: float, n: float, p: float) -> float:
    """Return P(X >= k) of a binomial count, as ``binomial_at_most``."""
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    return regularised_beta(p, k, n - k + 1)


def student_tail(t: float, freedom: float) -> float:
    """Return P(T > t) of Student's t with ``freedom`` degrees of freedom, > 0."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    half = 0.5 * regularised_beta(freedom / (freedom + t * t), freedom / 2, 0.5)
    return half if t >= 0 else 1.0 - half


@lru_cache(maxsize=1024)
def student_quantile(tail: float, freedom: float) -> float:
    """
    Return the t that Student's t exceeds with probability ``tail``, by bisection.

    Args:
        tail: Upper tail, 0 < tail < 0.5.
        freedom: Degrees of freedom, > 0.
    """
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > tail and high < 1e8:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if student_tail(middle, freedom) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def normal_tail(z: float) -> float:
    """Return P(Z > z) of the standard normal distribution, exact far out in the tail too."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def normal_quantile(tail: float) -> float:
    """Return the z that a standard normal variable exceeds with probability ``tail``."""
    return -_NORMAL.inv_cdf(tail)
