"""How late things were, as a histogram that costs next to nothing to fill."""

from __future__ import annotations

import math
from collections.abc import Mapping

_STEPS = 8
"""Buckets per doubling: a percentile is told to within 9 %."""

_NS_PER_US = 1_000


class Lateness:
    """
    Counts how late something was, in buckets that grow by the eighth root of two.

    Attributes:
        max_ns: The worst.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.max_ns = 0

    def add(self, late_ns: int) -> None:
        """Count one; what was early was on time."""
        bucket = int(math.log2(late_ns) * _STEPS) if late_ns > _NS_PER_US else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.max_ns = max(self.max_ns, late_ns)

    def drain(self) -> Mapping[str, int]:
        """Return buckets with their counts, and ``max`` in nanoseconds; begin anew."""
        told = {str(bucket): count for bucket, count in self._counts.items()}
        told["max"] = self.max_ns
        self._counts, self.max_ns = {}, 0
        return told

    def merge(self, told: Mapping[str, int]) -> None:
        """Count what another one drained."""
        for bucket, count in told.items():
            if bucket == "max":
                self.max_ns = max(self.max_ns, count)
            else:
                self._counts[int(bucket)] = self._counts.get(int(bucket), 0) + count

    @property
    def n(self) -> int:
        """Return how many were counted."""
        return sum(self._counts.values())

    def percentile_us(self, p: int) -> float:
        """Return a nearest-rank percentile's bucket, its upper end, in microseconds; 0 of none."""
        rank, seen = math.ceil(p * self.n / 100), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                end_ns = 2 ** ((bucket + 1) / _STEPS) if bucket else float(_NS_PER_US)
                return min(end_ns, max(self.max_ns, 0)) / _NS_PER_US
        return 0.0
