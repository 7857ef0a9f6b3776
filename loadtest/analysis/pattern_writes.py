"""Patterns of writes: stale pages, replays, effects that happen twice, jobs, uploads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from zlib import crc32

import numpy as np

from loadtest.analysis.cells import CellRows, codes_of
from loadtest.analysis.findings import (
    Expected,
    Finding,
    Measured,
    median_of,
    share_of,
    slope_of,
)
from loadtest.analysis.hops import rtt_ms
from loadtest.analysis.load import Run
from loadtest.analysis.metrics import sample_of
from loadtest.analysis.pattern_rows import (
    Rows,
    above,
    by_the_apps_clock,
    far_share,
    finding_of,
    pages_of,
    share_named,
    spent_us,
    times_of,
)
from loadtest.units import US_PER_MS

SLOPE_SHARE: Final = 0.02
REPLAY_SHARE: Final = 0.05
LOCAL_MS: Final = 1.0
"""What is done in the region may take, and be called nothing."""
_STALE, _SHOWN = re.compile(r"\[stale\]$"), re.compile(r"\[(shown|stale)\]$")
_CAPTURED, _LEFT_TO_JOB = re.compile(r"\[written\]$"), re.compile(r"\[job, local\]$")
_COUNTED = re.compile(r"\[(before|after): counted (\d+)\]$")
_JOBS = re.compile(r"\[(\d+) jobs?, (far|local)\]$")
_KEPT_JOBS = re.compile(r"\[full queue: kept\]$")
_ALL_JOBS = re.compile(r"\[full queue: (kept|lost)\]$")
_SENT = re.compile(r"\[(\S+ MB), (replayed|direct)\]$")


def stale_shows(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield which pages after a write were stale, which came from afar, and what was waited for."""
    yield from share_named(run, cell, f"stale pages after a write, {cell.scenario}", _STALE, _SHOWN)
    primary = run.plan.primary_region
    shown = [rows for name, rows in pages_of(run, cell) if _SHOWN.search(name)]
    if cell.region == primary or not shown:
        return
    rows = np.concatenate(shown)
    yield far_share(run, cell, rows, f"pages after a write from the primary, {cell.scenario}")
    sample = sample_of(run.frame, rows, "db")
    served, words = codes_of(run.frame, "served_by")
    here = served[sample.rows] == (words.index(cell.region) if cell.region in words else -1)
    told = f"in the database, page after a write served here, {cell.scenario}"
    if here.any():
        taken = median_of(sample.values[here].astype(np.int64))
        yield by_the_apps_clock(cell, told, taken, int(here.sum()))


def writes(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield the median of every page; a replayed one is held against the sum of its hops."""
    plain, suffix = [], ", no cookie" if cell.scenario.endswith("-no-cookie") else ""
    for name, rows in pages_of(run, cell):
        replayed = run.frame["replayed"].to_numpy()[rows]
        if replayed.size and replayed.mean() > 0.5 and cell.region != run.plan.primary_region:
            yield from _replayed(run, cell, name, rows[replayed], suffix)
        else:
            plain.append(rows)
    if plain:
        rest = CellRows(*cell.key, rows=np.concatenate(plain))
        yield from times_of(run, rest, suffix)
    yield from _saved(run, cell)


def _saved(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield what a page saves that leaves its write to a job of the process."""
    if cell.region != run.plan.primary_region:
        what = "saved by leaving the write to a job"
        yield from above(run, cell, what, _CAPTURED, _LEFT_TO_JOB)


def _replayed(run: Run, cell: CellRows, name: str, rows: Rows, suffix: str) -> Iterator[Finding]:
    """
    Yield the median of a replayed page beside the sum of its hops.

    A page that is replayed because its write was refused has worked in the region until then:
    what it takes beyond its hops is told as wasted.
    """
    sample = sample_of(run.frame, rows, "ttfb")
    found = median_of(sample.values)
    app, db = (run.frame[f"{part}_us"].to_numpy()[sample.rows] for part in ("app", "db"))
    rtt = rtt_ms(run.plan, cell.region, run.plan.primary_region)
    hop = run.plan.network.same_region_ms
    expected = None
    if rtt is not None and sample.rows.size and min(app.min(), db.min()) >= 0:
        work_ms = float(np.median(app + db)) / US_PER_MS
        value = hop + rtt + work_ms
        why = f"{hop:g} + {rtt:g} + app {work_ms:.1f} ms"
        expected = Expected(value, why, REPLAY_SHARE * value)
    n = int(sample.values.size)
    if _CAPTURED.search(name) is None:
        yield finding_of(cell, f"{name}, replayed{suffix}", found, expected, n=n)
        return
    yield finding_of(cell, f"{name}, replayed", found, None, n=n)
    if found is not None and expected is not None:
        value, low, high = (v - expected.value for v in (found.value, found.low, found.high))
        yield finding_of(
            cell, f"{name}, wasted before the refusal", Measured(value, low, high, n), None, n=n
        )


def double_effects(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield how often an effect happened more than once, by its place before or after the write."""
    counts: dict[str, list[int]] = {}
    for name, rows in pages_of(run, cell):
        if match := _COUNTED.search(name):
            total = counts.setdefault(match[1], [0, 0])
            total[0] += rows.size if int(match[2]) > 1 else 0
            total[1] += rows.size
    for order, (twice, n) in sorted(counts.items(), reverse=True):
        yield Finding(
            *(cell.deployment, cell.region, f"counted twice, {order} the write"),
            *("share", n, share_of(twice, n)),
        )


def uploads(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield the median from the first byte sent to the first byte of the answer."""
    pages = pages_of(run, cell)
    for name, rows in pages:
        values = spent_us(run, rows)
        yield finding_of(cell, name, median_of(values), None, n=int(values.size))
    if cell.region != run.plan.primary_region:
        for size in dict.fromkeys(m[1] for name, _ in pages if (m := _SENT.search(name))):
            kinds = (
                re.compile(rf"\[{re.escape(size)}, {way}\]$") for way in ("replayed", "direct")
            )
            yield from above(run, cell, f"{size}, replayed, above direct", *kinds)


def jobs(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield every page, what one more job adds to it, and whether a full queue kept what it had."""
    yield from times_of(run, cell)
    for where in ("far", "local"):
        numbers, values = [], []
        for name, rows in pages_of(run, cell):
            if (match := _JOBS.search(name)) and match[2] == where:
                values.append(sample_of(run.frame, rows, "ttfb").values.astype(np.int64))
                numbers.append(np.full(values[-1].size, int(match[1])))
        rtt = rtt_ms(run.plan, cell.region, run.plan.primary_region)
        if not values or rtt is None or cell.region == run.plan.primary_region:
            continue
        jobs, times = np.concatenate(numbers), np.concatenate(values)
        found = slope_of(jobs, times, crc32("/".join(cell.key).encode()) ^ run.plan.seed)
        expected = Expected(0.0, "no round trip", LOCAL_MS)
        if where == "far":
            expected = Expected(rtt, f"round trip {cell.region} to the queue", SLOPE_SHARE * rtt)
        yield finding_of(cell, f"one more job, {where}", found, expected, n=int(jobs.size))
    yield from share_named(run, cell, "jobs of a full queue: all kept", _KEPT_JOBS, _ALL_JOBS)
