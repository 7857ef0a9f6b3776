"""
Blocks: the unit of analysis.

Requests of one block share their weather, so they are no independent witnesses; whole blocks are
resampled.  Short neighbouring blocks are joined until at most MAX_GROUPS are left: longer stretches
are less alike, and what a resample costs does not grow with the length of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows
from loadtest.analysis.metrics import MetricSample, is_time, sample_of
from loadtest.analysis.percentiles import rank_of
from loadtest.units import US_PER_MS

MAX_GROUPS: Final = 120
MIN_GROUPS: Final = 6
"""Fewer blocks than this say too little of how blocks differ: nothing is decided on them."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """
    Which group a block number belongs to: ``group[block - first]``.

    ``joined`` is how many blocks a group joins, in the mean.
    """

    first: int
    group: NDArray[np.int32]
    groups: int
    joined: float = 1.0


def group_blocks(blocks: NDArray[Any], max_groups: int = MAX_GROUPS) -> Grouping:
    """
    Join neighbouring blocks into at most ``max_groups`` groups of equal numbers of blocks.

    Args:
        blocks: Block numbers that occur, repeats allowed.
        max_groups: Upper bound of the number of groups.
    """
    if not blocks.size:
        return Grouping(0, np.empty(0, np.int32), 0)
    first = int(blocks.min())
    present = np.zeros(int(blocks.max()) - first + 1, bool)
    present[blocks - first] = True
    count = int(present.sum())
    groups = min(count, max_groups)
    # A block that holds nothing (the warm-up's, a lost one) takes the number of its neighbour.
    place = np.maximum(np.cumsum(present) - 1, 0)
    return Grouping(first, (place * groups // count).astype(np.int32), groups, count / groups)


@dataclass(frozen=True, slots=True)
class Blocked:
    """
    A sample cut into groups of blocks: values ascending, beside each the group it fell in.

    Failures stand at the end of ``values`` as infinity.  ``joined`` is how many blocks of the plan
    a group joins, in the mean.
    """

    values: NDArray[np.float64]
    group: NDArray[np.int32]
    groups: int
    joined: float = 1.0

    @classmethod
    def empty(cls) -> Blocked:
        """Return a sample of nothing."""
        return cls(np.empty(0), np.empty(0, np.int32), 0)

    @property
    def n(self) -> int:
        """Number of values."""
        return int(self.values.size)

    @property
    def counts(self) -> NDArray[np.float64]:
        """How many values fell in each group."""
        return np.bincount(self.group, minlength=self.groups).astype(np.float64)

    @property
    def sums(self) -> NDArray[np.float64]:
        """Sum of the values of each group."""
        sums = np.bincount(self.group, weights=self.values, minlength=self.groups)
        return sums.astype(np.float64)

    def shares_beyond(self, limit: float) -> NDArray[np.float64]:
        """Return which share of each group's values is larger; 0 of a group without a value."""
        kept = int(np.searchsorted(self.values, limit, side="right"))
        beyond = np.bincount(self.group[kept:], minlength=self.groups)
        return np.asarray(beyond / np.maximum(self.counts, 1), dtype=np.float64)

    def answered(self) -> Blocked:
        """Return the sample without its failures."""
        kept = int(np.searchsorted(self.values, np.inf))
        return Blocked(self.values[:kept], self.group[:kept], self.groups, self.joined)

    def point(self, percentile: float | None) -> float:
        """Return the percentile (None: the mean) of all values; NaN of none."""
        if not self.n:
            return float("nan")
        if percentile is None:
            return float(self.values.sum() / self.n)
        return float(self.values[rank_of(percentile, self.n) - 1])


def blocked(
    values: NDArray[Any], group: NDArray[np.int32], groups: int, joined: float = 1.0
) -> Blocked:
    """Sort values and carry their groups along."""
    order = np.argsort(values, kind="stable")
    return Blocked(values[order].astype(np.float64), group[order], groups, joined)


def block_sample(
    frame: pd.DataFrame,
    cells: Sequence[CellRows],
    metric: str,
    groupings: dict[str, Grouping],
    *,
    failures: bool,
) -> Blocked:
    """
    Return a metric of one or more cells by groups of blocks.

    Groups of different regions are kept apart: each region has its own weather.  Times become
    milliseconds.

    Args:
        frame: Records.
        cells: Whose rows; several are pooled.
        metric: A metric of the threshold grammar.
        groupings: Region -> grouping, in the order in which groups are numbered.
        failures: Put failed requests in as infinity.
    """
    samples = ((cell.region, sample_of(frame, cell.rows, metric)) for cell in cells)
    return blocks_of(frame, samples, metric, groupings, failures=failures)


def blocks_of(
    frame: pd.DataFrame,
    samples: Iterable[tuple[str, MetricSample]],
    metric: str,
    groupings: dict[str, Grouping],
    *,
    failures: bool,
) -> Blocked:
    """Return samples of a metric, each with its region, as `block_sample` does those of cells."""
    block = frame["block"].to_numpy()
    offset, offsets, blocks = 0, {}, 0.0
    for region, grouping in groupings.items():
        offsets[region] = offset
        offset += grouping.groups
        blocks += grouping.groups * grouping.joined
    values: list[NDArray[Any]] = []
    groups: list[NDArray[np.int32]] = []
    for region, sample in samples:
        grouping = groupings[region]
        rows = np.concatenate([sample.rows, sample.failed]) if failures else sample.rows
        values.append(sample.with_failures() if failures else sample.values)
        groups.append(grouping.group[block[rows] - grouping.first] + offsets[region])
    if not values:
        return Blocked(np.empty(0), np.empty(0, np.int32), offset)
    joined = blocks / max(1, offset)
    pooled = blocked(
        np.concatenate(values), np.concatenate(groups).astype(np.int32), offset, joined
    )
    if is_time(metric):
        np.divide(pooled.values, US_PER_MS, out=pooled.values)
    return pooled


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block of one cell, for a look at how a run went: its number, size and median TTFB."""

    block: int
    n: int
    ttfb_p50_ms: float


def block_table(frame: pd.DataFrame, cell: CellRows) -> tuple[BlockRow, ...]:
    """Return a cell's steady blocks in order; blocks without a TTFB sample are left out."""
    sample = sample_of(frame, cell.rows, "ttfb")
    if not sample.values.size:
        return ()
    block = frame["block"].to_numpy()[sample.rows]
    order = np.lexsort((sample.values, block))
    numbers, starts, counts = np.unique(block[order], return_index=True, return_counts=True)
    values = sample.values[order]
    return tuple(
        BlockRow(int(b), int(n), float(values[s + rank_of(50, int(n)) - 1]) / US_PER_MS)
        for b, s, n in zip(numbers, starts, counts, strict=True)
    )
