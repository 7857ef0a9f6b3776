"""What a pattern of apps in several regions was found to cost, beside what theory says it would."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.hops import rtt_ms
from loadtest.analysis.load import Run
from loadtest.analysis.percentiles import quantile
from loadtest.units import US_PER_MS

Unit = Literal["ms", "ms a query", "us", "round trips", "share"]

_Z: Final = 1.959964  # of the 95 % interval
_NEAR_TRIPS: Final = 0.1
"""Part of a round trip by which whole ones may be missed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with the limits of its 95 % interval and the size of its sample."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Expected:
    """
    What theory says a number is.

    Args:
        value: In the unit of what was measured.
        why: Its sum, such as ``20 ms + 2 x 241 ms``.
        tolerance: By how much a measurement may differ.
    """

    value: float
    why: str
    tolerance: float


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One number of one deployment in one region.

    ``measured`` is None where the sample is too small (``n`` tells it), ``expected`` where nothing
    is predicted.
    """

    deployment: str
    region: str
    what: str
    unit: Unit
    n: int
    measured: Measured | None
    expected: Expected | None = None
    valid: bool = True

    @property
    def holds(self) -> bool | None:
        """Tell whether it is as theory says; None where nothing is said, or nothing is trusted."""
        if self.measured is None or self.expected is None or not self.valid:
            return None
        return abs(self.measured.value - self.expected.value) <= self.expected.tolerance


def median_of(values_us: NDArray[np.int64]) -> Measured | None:
    """Return the median in milliseconds; None where the sample cannot carry it."""
    found = quantile(np.sort(values_us), 50)
    if found is None:
        return None
    return Measured(
        found.value / US_PER_MS, found.low / US_PER_MS, found.high / US_PER_MS, int(values_us.size)
    )


def share_of(hits: int, n: int) -> Measured | None:
    """
    Return a share with its interval; None of nothing.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if n == 0:
        return None
    p, z2 = hits / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Measured(p, max(0.0, middle - half), min(1.0, middle + half), n)


def base_and_trips(run: Run, region: str, found_ms: float) -> Expected | None:
    """
    Return the base time of a region and the whole round trips to the primary that come nearest.

    None where the app's own time is not known, or the region is the primary one.
    """
    primary = run.plan.primary_region
    base_ms, rtt = run.plan.base_ms.get(region, 0.0), rtt_ms(run.plan, region, primary)
    if not base_ms or not rtt or region == primary:
        return None
    trips = max(0, round((found_ms - base_ms) / rtt))
    way = f" + {trips} × {rtt:g} ms" if trips else ", no round trip"
    return Expected(base_ms + trips * rtt, f"{base_ms:g} ms{way}", _NEAR_TRIPS * rtt)


def slope_of(
    queries: NDArray[np.int64], values_us: NDArray[np.int64], seed: int
) -> Measured | None:
    """
    Return milliseconds a query: the line through the medians of each number of queries.

    The medians are weighted by their samples; the interval is a bootstrap within each number.

    Args:
        queries: Number of queries of each request.
        values_us: Time of each request, microseconds.
        seed: Of the bootstrap.
    """
    numbers = np.unique(queries)
    groups = [values_us[queries == number] for number in numbers]
    if len(groups) < 2 or min(group.size for group in groups) < _LEAST:
        return None
    weights = np.array([group.size for group in groups], float)
    x = numbers.astype(float)
    found = _slopes(x, weights, np.array([[np.median(group) for group in groups]]))[0]
    generator = np.random.default_rng(seed)
    draws = np.stack(
        [
            np.median(group[generator.integers(0, group.size, (_RESAMPLES, group.size))], axis=1)
            for group in groups
        ],
        axis=1,
    )
    low, high = np.percentile(_slopes(x, weights, draws), [2.5, 97.5])
    return Measured(found / US_PER_MS, low / US_PER_MS, high / US_PER_MS, int(queries.size))


def difference_of(
    more_us: NDArray[np.int64], less_us: NDArray[np.int64], seed: int
) -> Measured | None:
    """
    Return by how many milliseconds one median is above another, with a bootstrap's interval.

    None where either sample cannot carry a median; n is the smaller one's size.
    """
    if median_of(more_us) is None or median_of(less_us) is None:
        return None
    generator = np.random.default_rng(seed)
    more, less = (
        np.median(values[generator.integers(0, values.size, (_RESAMPLES, values.size))], axis=1)
        for values in (more_us, less_us)
    )
    low, high = np.percentile(more - less, [2.5, 97.5])
    found = float(np.median(more_us) - np.median(less_us))
    n = min(int(more_us.size), int(less_us.size))
    return Measured(found / US_PER_MS, low / US_PER_MS, high / US_PER_MS, n)


_LEAST: Final = 3
_RESAMPLES: Final = 1_000


def _slopes(
    x: NDArray[np.float64], weights: NDArray[np.float64], medians: NDArray[np.float64]
) -> NDArray[np.float64]:
    off = x - np.average(x, weights=weights)
    return np.asarray((medians * weights) @ off / (weights @ off**2))


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts names as people do: ``[2 queries]`` before ``[10 queries]``."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)
