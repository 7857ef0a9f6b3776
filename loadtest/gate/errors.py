"""
Errors: shares judged with requests that fail together counted as one.

A run of a few hundred requests cannot show that fewer than one in a thousand fail, and one hiccup
must not fail a release.  Failures come in clusters, so the exact binomial distribution is asked
with counts divided by how much they cluster: the variance of windows of three seconds over the
variance that chance alone would give.  A run that saw few failures cannot tell how they come: a
pass supposes clusters then, and what was seen counts against that as far as it goes.

Sources: Clopper and Pearson, Biometrika 26, 1934; Newcombe, "Interval Estimation for the Difference
Between Independent Proportions", method 10, 1998; Wilson, 1927 (score interval).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.special import binomial_at_least, binomial_at_most, normal_quantile

WINDOW_S: Final = 3
SUPPOSED_CLUSTER: Final = 10.0
"""A pass supposes that failures may come in tens, where none or few were seen."""
_STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Failures:
    """Requests that failed and requests that were sent, in each second of the measuring."""

    failed: NDArray[np.float64]
    sent: NDArray[np.float64]

    @classmethod
    def by_second(cls, failed: NDArray[Any], seconds: NDArray[Any]) -> Failures:
        """
        Count rows by second.

        Args:
            failed: 1 for each request that failed, else 0.
            seconds: Beside it the whole second it was due in.
        """
        if not seconds.size:
            return cls(np.zeros(1), np.zeros(1))
        place = seconds - seconds.min()
        length = int(place.max()) + 1
        return cls(
            np.bincount(place, weights=failed, minlength=length).astype(np.float64),
            np.bincount(place, minlength=length).astype(np.float64),
        )

    @property
    def count(self) -> float:
        """How many failed."""
        return float(self.failed.sum())

    @property
    def n(self) -> float:
        """How many were sent."""
        return float(self.sent.sum())

    @property
    def cluster(self) -> float:
        """How many failures come together: 1 where they come one by one."""
        largest = 1.0
        for phase in range(WINDOW_S):
            whole = (self.failed.size - phase) // WINDOW_S
            if whole < 2:
                continue
            part = slice(phase, phase + whole * WINDOW_S)
            counts = self.failed[part].reshape(whole, WINDOW_S).sum(axis=1)
            sent = float(self.sent[part].sum()) / whole
            share = float(counts.mean()) / max(sent, 1e-300)
            chance = sent * share * (1 - share)
            if chance > 0:
                largest = max(largest, float(counts.var(ddof=1)) / chance)
        return largest

    @property
    def rare(self) -> float:
        """How many failed or did not, whichever are fewer: what tells how they come together."""
        return min(self.count, self.n - self.count)


def supposed_cluster(*arms: Failures) -> float:
    """
    Return how many failures have to be supposed to come together before a share is passed.

    One cluster of ten that was not seen is put beside those that were: without any failure it is
    ten, and what was seen where there were hundreds.

    Args:
        arms: Those that the question is about.
    """
    seen, rare = max(arm.cluster for arm in arms), sum(arm.rare for arm in arms)
    mixed = (rare * seen + SUPPOSED_CLUSTER**2) / (rare + SUPPOSED_CLUSTER)
    return max(seen, mixed)


def share_interval(count: float, n: float, level: float) -> tuple[float, float]:
    """
    Return the exact two-sided interval of a share.

    Args:
        count: How many, 0 <= count <= n; a fraction where clusters count as one.
        n: Of how many, > 0.
        level: Coverage, such as 0.95.
    """
    tail = (1 - level) / 2
    low = _edge(count / n, 0.0, lambda share: binomial_at_least(count, n, share) > tail)
    high = _edge(count / n, 1.0, lambda share: binomial_at_most(count, n, share) > tail)
    return (low if count > 0 else 0.0), (high if count < n else 1.0)


def _edge(inside: float, outside: float, kept: Any) -> float:
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if kept(middle) else (inside, middle)
    return inside


def difference_interval(
    count: float, n: float, base_count: float, base_n: float, side: float
) -> tuple[float, float]:
    """
    Return the interval of a difference of two shares, ``side`` in each tail.

    Args:
        count: Failures of the judged arm, a fraction where clusters count as one.
        n: Its requests, likewise.
        base_count: Failures of the other arm.
        base_n: Its requests.
        side: Error on either side.
    """
    z = normal_quantile(side)
    here, there = count / n, base_count / base_n
    (low, high), (base_low, base_high) = _wilson(count, n, z), _wilson(base_count, base_n, z)
    difference = here - there
    return (
        difference - math.hypot(here - low, base_high - there),
        difference + math.hypot(high - here, there - base_low),
    )


def chance_of_difference(here: Failures, there: Failures, margin: float) -> tuple[float, float]:
    """
    Return how likely chance is, were the share no more and no less than a margin above the other's.

    The first is small when the judged arm fails more than is allowed, the second when it is within.

    Args:
        here: The judged arm.
        there: The other.
        margin: Allowed difference of shares.
    """
    cluster, supposed = max(here.cluster, there.cluster), supposed_cluster(here, there)
    return (
        _tail(lambda side: arms_interval(here, there, cluster, side)[0] > margin),
        _tail(lambda side: arms_interval(here, there, supposed, side)[1] <= margin),
    )


def arms_interval(
    here: Failures, there: Failures, cluster: float, side: float
) -> tuple[float, float]:
    """Return the interval of two arms' difference of shares were failures to come so together."""
    return difference_interval(
        here.count / cluster, here.n / cluster, there.count / cluster, there.n / cluster, side
    )


def _tail(rejects: Any) -> float:
    """Return the smallest error rate at which a test rejects, by bisection on its logarithm."""
    if not rejects(0.4999):
        return 1.0
    low, high = math.log(1e-12), math.log(0.4999)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if rejects(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _wilson(count: float, n: float, z: float) -> tuple[float, float]:
    share = count / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half
