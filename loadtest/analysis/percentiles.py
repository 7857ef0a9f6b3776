"""
Percentiles as times that some request really took, with intervals that assume no distribution.

A percentile that the sample cannot carry is not given: five values must lie beyond its rank, ten
beyond p95 and thirty before a gate may rest on it (p99 is shown from 1 000 samples, gated from
3 000), because a tail of a handful of values is decided by a handful of accidents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.special import binomial_at_least, binomial_at_most

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)
"""What a summary gives of every distribution."""
LEVEL = 0.95
"""Coverage of every printed interval."""

_BEYOND = 5
_BEYOND_FAR = 10
_BEYOND_FAR_GATE = 30
_FAR = 95.0

Values = NDArray[Any]

LEAST_BLOCKS: Final = 12
"""Fewer blocks of a run decide nothing about times."""


def label(p: float) -> str:
    """Return the name of a percentile: ``p50``, ``p99.9``."""
    return f"p{p:g}"


def rank_of(p: float, n: int) -> int:
    """
    Return the nearest rank, 1 to n, of a percentile among ``n`` sorted values.

    Exact arithmetic: floating point answers rank 9991, not 9990, for p=99.9 and n=10 000.

    Args:
        p: Percentile, 0 < p < 100.
        n: Number of values, >= 1.

    Raises:
        ValueError: An argument is out of range.

    Source: Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996, definition 1.
    """
    if not 0 < p < 100 or n < 1:
        raise ValueError(f"need 0 < p < 100 and n >= 1; got p={p}, n={n}")
    return math.ceil(Fraction(str(p)) * n / 100)


def needed(p: float, *, gate: bool = False) -> int:
    """Return the smallest sample that carries a percentile (or lets a gate rest on it)."""
    beyond = _BEYOND if p <= _FAR else (_BEYOND_FAR_GATE if gate else _BEYOND_FAR)
    tail = 1 - Fraction(str(p)) / 100
    head = 1 - tail
    # Both sides of the rank count: p1 is as hard to see as p99.
    return math.ceil(beyond / min(tail, head))


@dataclass(frozen=True, slots=True)
class Quantile:
    """A percentile with the limits of its interval, in the unit of the values."""

    p: float
    value: float
    low: float
    high: float


@lru_cache(maxsize=4096)
def interval_ranks(p: float, n: int, level: float = LEVEL) -> tuple[int, int]:
    """
    Return the ranks of the order statistics that hold the true percentile with ``level``.

    Each tail gets at most half of ``1 - level``; rank 0 or n + 1 means that the sample is too
    small for a limit on that side.

    Source: David and Nagaraja, "Order Statistics", 3rd edition, 7.1.
    """
    share = p / 100
    half = (1 - level) / 2
    # P(X_(l) > q) = P(B <= l - 1) for B binomial(n, share): the largest l that keeps it small.
    low = _search(lambda k: binomial_at_most(k - 1, n, share) <= half, n)
    # P(X_(u) < q) = P(B >= u): the smallest u that keeps it small.
    high = _search(lambda k: binomial_at_least(k, n, share) > half, n) + 1
    return low, high


def _search(holds: Any, n: int) -> int:
    """Return the largest k of 0..n with ``holds(k)``, which is true up to it and false beyond."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def quantile(ordered: Values, p: float, *, level: float = LEVEL) -> Quantile | None:
    """
    Return a percentile with its interval, or None where the sample cannot carry it.

    Args:
        ordered: Sorted ascending; failures may stand at its end as infinity.
        p: Percentile, 0 < p < 100.
        level: Coverage of the interval.
    """
    n = int(ordered.size)
    if n < needed(p):
        return None
    low, high = interval_ranks(p, n, level)
    if low < 1 or high > n:
        return None
    return Quantile(
        p,
        float(ordered[rank_of(p, n) - 1]),
        float(ordered[low - 1]),
        float(ordered[high - 1]),
    )


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    What is told of a sample: its size, mean and the percentiles it can carry.

    ``mean`` is over finite values and None where there is none; a percentile that is missing from
    ``quantiles`` is one that the sample cannot carry.
    """

    n: int
    mean: float | None
    quantiles: tuple[Quantile, ...]

    def get(self, p: float) -> Quantile | None:
        """Return the quantile of percentile ``p``, or None where it is not given."""
        return next((q for q in self.quantiles if q.p == p), None)

    def value(self, p: float) -> float | None:
        """Return the value of percentile ``p``, or None where it is not given."""
        found = self.get(p)
        return None if found is None else found.value

    def to_json(self) -> dict[str, object]:
        """Return flat keys (p50, p50_low, p50_high, ...); null is a percentile not carried."""
        flat: dict[str, object] = {"n": self.n, "mean": number(self.mean)}
        for p in PERCENTILES:
            q = self.get(p)
            flat[label(p)] = None if q is None else number(q.value)
            flat[f"{label(p)}_low"] = None if q is None else number(q.low)
            flat[f"{label(p)}_high"] = None if q is None else number(q.high)
        return flat


def number(value: float | None, digits: int = 4) -> float | str | None:
    """Return a JSON-ready number: rounded; infinity, which JSON lacks, as the text ``inf``."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return round(value, digits) + 0.0


def describe(
    values: Values, *, per_unit: float = 1.0, percentiles: Sequence[float] = PERCENTILES
) -> Distribution:
    """
    Return the distribution of a sample.

    Args:
        values: Any order, whole or floating numbers; failures as infinity.
        per_unit: What values are divided by, 1 000 for microseconds into milliseconds.
        percentiles: Which percentiles to try.
    """
    ordered = np.sort(values)
    finite = ordered if ordered.dtype.kind in "iu" else ordered[np.isfinite(ordered)]
    # Whole numbers are added as such: the sum, hence the summary, is the same on every machine.
    mean = float(finite.sum(dtype=np.int64 if finite.dtype.kind in "iu" else np.float64))
    found = (quantile(ordered, p) for p in percentiles)
    return Distribution(
        n=int(ordered.size),
        mean=mean / finite.size / per_unit if finite.size else None,
        quantiles=tuple(
            Quantile(q.p, q.value / per_unit, q.low / per_unit, q.high / per_unit)
            for q in found
            if q is not None
        ),
    )
