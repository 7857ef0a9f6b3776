"""A histogram of non-negative whole numbers, exact below 256 and within 1 % above."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

_EXACT_BITS = 8


class Histogram:
    """
    Counts values in buckets that double their width with every power of two, 128 to a power.

    Source: G. Tene, HdrHistogram; the bucket rule is the same, the memory is a dictionary.
    """

    def __init__(self) -> None:
        self.total = 0
        self.highest = 0
        self.sum = 0
        self._counts: Counter[int] = Counter()

    def add_all(self, values: Iterable[int]) -> None:
        """Count values; equal ones cost one step together."""
        self.add_counts(Counter(values))

    def add_counts(self, counts: Mapping[int, int]) -> None:
        """Count values that were counted already: value -> how often."""
        for value, count in counts.items():
            known = max(0, value)
            self._counts[_bucket(known)] += count
            self.total += count
            self.sum += known * count
            self.highest = max(self.highest, known)

    def percentile(self, p: float) -> int:
        """
        Return the nearest-rank percentile, as the upper end of its bucket; 0 when empty.

        Args:
            p: Percentile, 0 < p <= 100.
        """
        rank = math.ceil(self.total * p / 100)
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return min(_upper(bucket), self.highest)
        return 0


def _bucket(value: int) -> int:
    shift = max(0, value.bit_length() - _EXACT_BITS)
    return (shift << _EXACT_BITS) + (value >> shift)


def _upper(bucket: int) -> int:
    shift = bucket >> _EXACT_BITS
    mantissa = bucket & ((1 << _EXACT_BITS) - 1)
    return ((mantissa + 1) << shift) - 1
