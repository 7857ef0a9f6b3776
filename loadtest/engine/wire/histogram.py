"""A histogram of non-negative whole numbers, exact below 256 and within 1 % above."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

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

    def add_counts(
        self, counts: Mapping[int, int], breathe: Callable[[], None] = lambda: None
    ) -> None:
        """
        Count values that were counted already.

        Args:
            counts: Value -> how often.
            breathe: Called between values, a microsecond of work each, to let others run.
        """
        for value, count in counts.items():
            known = max(0, value)
            self._counts[_bucket(known)] += count
            self.total += count
            self.sum += known * count
            self.highest = max(self.highest, known)
            breathe()

    def merge(self, other: Histogram) -> None:
        """Count what another histogram counted, bucket by bucket."""
        self._counts.update(other._counts)
        self.total += other.total
        self.sum += other.sum
        self.highest = max(self.highest, other.highest)

    def percentile(self, p: float) -> int:
        """
        Return the nearest-rank percentile, as the upper end of its bucket; 0 when empty.

        Args:
            p: Percentile, 0 < p <= 100.
        """
        return self.at_rank(math.ceil(self.total * p / 100))

    def at_rank(self, rank: int) -> int:
        """
        Return the value at a rank, as the upper end of its bucket; 0 beyond the last.

        Args:
            rank: 1 for the lowest value, ``total`` for the highest.
        """
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return min(_upper(bucket), self.highest)
        return 0

    def counts_within(self, bounds: Sequence[int]) -> list[int]:
        """
        Return how many values lie within each bound, as far as their buckets tell.

        Args:
            bounds: Increasing.
        """
        ordered = sorted(self._counts)
        found, seen, place = [], 0, 0
        for bound in bounds:
            while place < len(ordered) and _upper(ordered[place]) <= bound:
                seen += self._counts[ordered[place]]
                place += 1
            found.append(seen)
        return found


def _bucket(value: int) -> int:
    shift = max(0, value.bit_length() - _EXACT_BITS)
    return (shift << _EXACT_BITS) + (value >> shift)


def _upper(bucket: int) -> int:
    shift = bucket >> _EXACT_BITS
    mantissa = bucket & ((1 << _EXACT_BITS) - 1)
    return ((mantissa + 1) << shift) - 1
