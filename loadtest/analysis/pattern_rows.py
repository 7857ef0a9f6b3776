"""What the patterns' findings are made of: a cell's pages, their times, and shares of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, count_words
from loadtest.analysis.findings import (
    Expected,
    Finding,
    Measured,
    base_and_trips,
    difference_of,
    median_of,
    natural_order,
    share_of,
)
from loadtest.analysis.load import Run
from loadtest.analysis.metrics import sample_of
from loadtest.analysis.pages import rows_by_name
from loadtest.units import US_PER_MS

Rows = NDArray[np.int32]


def times_of(run: Run, cell: CellRows, suffix: str = "") -> Iterator[Finding]:
    """Yield the median of every page, and the whole round trips that it comes nearest to."""
    for name, rows in pages_of(run, cell):
        values = sample_of(run.frame, rows, "ttfb").values
        found = median_of(values)
        expected = None if found is None else base_and_trips(run, cell.region, found.value)
        yield finding_of(cell, f"{name}{suffix}", found, expected, n=int(values.size))


def pages_of(run: Run, cell: CellRows) -> list[tuple[str, Rows]]:
    """Return the rows of every request name of a cell, names in natural order."""
    names = [name for name in count_words(run.frame, "name", cell.rows) if name]
    return list(rows_by_name(run, cell.rows, tuple(sorted(names, key=natural_order))).items())


def finding_of(
    cell: CellRows, what: str, found: Measured | None, expected: Expected | None, *, n: int
) -> Finding:
    """Return a time of a cell as a finding."""
    return Finding(cell.deployment, cell.region, what, "ms", n, found, expected)


def by_the_apps_clock(cell: CellRows, what: str, found: Measured | None, n: int) -> Finding:
    """Return a time that the app told: below a millisecond in microseconds."""
    if found is None or found.value >= 1.0:
        return finding_of(cell, what, found, None, n=n)
    value, low, high = (v * US_PER_MS for v in (found.value, found.low, found.high))
    small = Measured(value, low, high, n)
    return Finding(cell.deployment, cell.region, what, "us", n, small)


def share_named(
    run: Run, cell: CellRows, what: str, hit: re.Pattern[str], tried: re.Pattern[str]
) -> Iterator[Finding]:
    """Yield which share of the requests of one kind had one outcome; nothing of none."""
    counted = [(name, rows.size) for name, rows in pages_of(run, cell) if tried.search(name)]
    n = sum(size for _, size in counted)
    if n:
        hits = sum(size for name, size in counted if hit.search(name))
        yield Finding(cell.deployment, cell.region, what, "share", n, share_of(hits, n))


def far_share(run: Run, cell: CellRows, rows: Rows, what: str) -> Finding:
    """Return which share of some requests the primary region has answered."""
    far = count_words(run.frame, "served_by", rows).get(run.plan.primary_region, 0)
    n = int(rows.size)
    return Finding(cell.deployment, cell.region, what, "share", n, share_of(far, n))


def above(
    run: Run, cell: CellRows, what: str, more: re.Pattern[str], less: re.Pattern[str]
) -> Iterator[Finding]:
    """Yield by how much the pages of one kind take longer than those of another."""
    pages = pages_of(run, cell)
    dear, cheap = (
        [spent_us(run, rows) for name, rows in pages if kind.search(name)] for kind in (more, less)
    )
    if dear and cheap:
        seed = crc32("/".join((*cell.key, what)).encode()) ^ run.plan.seed
        found = difference_of(np.concatenate(dear), np.concatenate(cheap), seed)
        n = min(sum(values.size for values in kind) for kind in (dear, cheap))
        yield finding_of(cell, what, found, None, n=n)


def spent_us(run: Run, rows: Rows) -> NDArray[np.int64]:
    """Return what each good request took from its first byte to the first one of its answer."""
    good = sample_of(run.frame, rows, "wait").rows
    parts = (run.frame[f"{part}_us"].to_numpy()[good].astype(np.int64) for part in ("send", "wait"))
    return np.asarray(sum(parts, np.zeros(good.size, np.int64)))
