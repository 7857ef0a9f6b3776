"""
Patterns of apps in several regions: N+1 queries, caches, writes, staleness, jobs, uploads, visits.

A run has a pattern where it has the scenario of that name (``scenarios/atlas.py``); what an answer
was stands in brackets behind the name of its request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, cell_rows, codes_of, count_words
from loadtest.analysis.findings import (
    Expected,
    Finding,
    Measured,
    base_and_trips,
    median_of,
    natural_order,
    share_of,
    slope_of,
)
from loadtest.analysis.hops import rtt_ms
from loadtest.analysis.load import Run
from loadtest.analysis.metrics import sample_of
from loadtest.analysis.pages import rows_by_name
from loadtest.analysis.peers import peer_lags, peer_outcomes
from loadtest.analysis.summary import Summary
from loadtest.units import US_PER_MS

Rows = NDArray[np.int32]

SLOPE_SHARE: Final = 0.02
REPLAY_SHARE: Final = 0.05
STALE_MS: Final = 2.0
APPLY_MS: Final = 1.0
"""What a replica takes from the arrival of a change until it shows it (measured 0.2 to 1.1 ms)."""
_LOCAL_MS: Final = 1.0
_REMOTE: Final = 0.8
_STALE, _SHOWN = re.compile(r"\[stale\]$"), re.compile(r"\[(shown|stale)\]$")
_CAPTURED = re.compile(r"\[written\]$")
_COUNTED = re.compile(r"\[(before|after): counted (\d+)\]$")
_HIT, _LOOKED = re.compile(r"\[hit\]$"), re.compile(r"\[(hit|miss)\]$")
_AGAIN = re.compile(r"\[(hit|evicted)\]$")
_KEPT, _MOVED = re.compile(r"\[moved: kept\]$"), re.compile(r"\[moved: (kept|lost)\]$")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a run found out about one pattern."""

    key: str
    findings: tuple[Finding, ...]


def find_patterns(run: Run, summary: Summary) -> tuple[Pattern, ...]:
    """
    Return the patterns that a run has scenarios of, in the order in which a report tells them.

    Args:
        run: The stored run.
        summary: Its summary: cells that are not valid are marked.
    """
    valid = {cell.key: cell.valid for cell in summary.cells}
    cells = cell_rows(run)
    found = []
    for key, (scenarios, look) in _PATTERNS.items():
        findings = tuple(
            replace(finding, valid=valid.get(cell.key, False))
            for cell in cells
            if cell.scenario in scenarios and cell.rows.size
            for finding in look(run, cell)
        )
        if findings:
            found.append(Pattern(key, findings))
    return tuple(found)


def _times(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield the median of every page, and the whole round trips that it comes nearest to."""
    for name, rows in _pages(run, cell):
        values = sample_of(run.frame, rows, "ttfb").values
        found = median_of(values)
        expected = None if found is None else base_and_trips(run, cell.region, found.value)
        yield _finding(cell, name, found, expected, n=int(values.size))


def _slope(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield milliseconds a query: the round trip to the database, wherever that is."""
    sample = sample_of(run.frame, cell.rows, "ttfb")
    trips = run.frame["db_round_trips"].to_numpy()[sample.rows].astype(np.int64)
    known = trips > 0
    trips, values, rows = trips[known], sample.values[known], sample.rows[known]
    if not trips.size:
        return
    found = slope_of(trips, values, crc32("/".join(cell.key).encode()) ^ run.plan.seed)
    served = _most_served(run, cell)
    rtt = rtt_ms(run.plan, served, run.plan.primary_region) or 0.0
    each_ms = float(np.median(run.frame["db_us"].to_numpy()[rows] / trips)) / US_PER_MS
    if served != run.plan.primary_region and rtt and each_ms >= _REMOTE * rtt:
        expected = Expected(rtt, f"round trip {served} to the primary", SLOPE_SHARE * rtt)
    else:
        expected = Expected(0.0, "the data is in the region", _LOCAL_MS)
    yield Finding(
        *(cell.deployment, cell.region, "one more query", "ms a query", int(trips.size), found),
        expected=expected,
    )


def _caches(run: Run, cell: CellRows) -> Iterator[Finding]:
    if cell.scenario != "session-moves":  # whose pages are from everywhere
        yield from _times(run, cell)
    match cell.scenario:
        case "cache-hit":
            yield from _share(run, cell, "share of hits", _HIT, _LOOKED)
        case "cache-eviction":
            yield from _share(run, cell, "pages seen before that are still there", _HIT, _AGAIN)
        case "session-moves":
            yield from _share(run, cell, "sessions kept after a change of region", _KEPT, _MOVED)


def _staleness(run: Run, cell: CellRows) -> Iterator[Finding]:
    """
    Yield how long after its commit a write is seen in a region.

    The app's database time is how long it read until it saw the write, from the primary's answer
    on; that answer left with the commit, half a round trip before it came.
    """
    region, primary = cell.region, run.plan.primary_region
    rtt = rtt_ms(run.plan, region, primary)
    if region == primary or rtt is None:
        return
    sample = sample_of(run.frame, cell.rows, "db")
    served, words = codes_of(run.frame, "served_by")
    here = served[sample.rows] == (words.index(region) if region in words else -1)
    values = sample.values[here].astype(np.int64) + round(rtt / 2 * US_PER_MS)
    expected = Expected(rtt / 2 + APPLY_MS, f"one way {rtt / 2:g} ms + {APPLY_MS:g} ms", STALE_MS)
    yield _finding(cell, "from commit to sight", median_of(values), expected, n=int(values.size))


def _stale_shows(run: Run, cell: CellRows) -> Iterator[Finding]:
    what = f"stale pages after a write, {cell.scenario}"
    yield from _share(run, cell, what, _STALE, _SHOWN)


def _writes(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield the median of every page; a replayed one is held against the sum of its hops."""
    plain = []
    for name, rows in _pages(run, cell):
        replayed = run.frame["replayed"].to_numpy()[rows]
        if replayed.size and replayed.mean() > 0.5 and cell.region != run.plan.primary_region:
            yield from _replayed(run, cell, name, rows[replayed])
        else:
            plain.append(rows)
    if plain:
        rest = CellRows(*cell.key, rows=np.concatenate(plain))
        yield from _times(run, rest)


def _replayed(run: Run, cell: CellRows, name: str, rows: Rows) -> Iterator[Finding]:
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
        yield _finding(cell, f"{name}, replayed", found, expected, n=n)
        return
    yield _finding(cell, f"{name}, replayed", found, None, n=n)
    if found is not None and expected is not None:
        value, low, high = (v - expected.value for v in (found.value, found.low, found.high))
        yield _finding(
            cell, f"{name}, wasted before the refusal", Measured(value, low, high, n), None, n=n
        )


def _double(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield how often an effect happened more than once, by its place before or after the write."""
    counts: dict[str, list[int]] = {}
    for name, rows in _pages(run, cell):
        if match := _COUNTED.search(name):
            total = counts.setdefault(match[1], [0, 0])
            total[0] += rows.size if int(match[2]) > 1 else 0
            total[1] += rows.size
    for order, (twice, n) in sorted(counts.items(), reverse=True):
        yield Finding(
            *(cell.deployment, cell.region, f"counted twice, {order} the write"),
            *("share", n, share_of(twice, n)),
        )


def _uploads(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield the median from the first byte sent to the first byte of the answer."""
    for name, rows in _pages(run, cell):
        good = sample_of(run.frame, rows, "wait").rows
        values = sum(
            run.frame[f"{part}_us"].to_numpy()[good].astype(np.int64) for part in ("send", "wait")
        )
        found = median_of(np.asarray(values)) if good.size else None
        yield _finding(cell, name, found, None, n=int(good.size))


def _visits(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield which share of a visit's page views was answered far away, in the primary region."""
    yield from _times(run, cell)
    primary = run.plan.primary_region
    for name, rows in _pages(run, cell):
        if not name.startswith("GET") or cell.region == primary:
            continue
        far = count_words(run.frame, "served_by", rows).get(primary, 0)
        yield Finding(
            *(cell.deployment, cell.region, "page views answered by the primary region"),
            *("share", int(rows.size), share_of(far, int(rows.size))),
        )


def _peers(run: Run, cell: CellRows) -> Iterator[Finding]:
    pages = _pages(run, cell)
    yield from peer_lags(run, cell, pages)
    yield from peer_outcomes(cell, pages)


def _share(
    run: Run, cell: CellRows, what: str, hit: re.Pattern[str], tried: re.Pattern[str]
) -> Iterator[Finding]:
    counted = [(name, rows.size) for name, rows in _pages(run, cell) if tried.search(name)]
    n = sum(size for _, size in counted)
    if n:
        hits = sum(size for name, size in counted if hit.search(name))
        yield Finding(cell.deployment, cell.region, what, "share", n, share_of(hits, n))


def _pages(run: Run, cell: CellRows) -> list[tuple[str, Rows]]:
    """Return the rows of every request name of a cell, names in natural order."""
    names = [name for name in count_words(run.frame, "name", cell.rows) if name]
    return list(rows_by_name(run, cell.rows, tuple(sorted(names, key=natural_order))).items())


def _most_served(run: Run, cell: CellRows) -> str:
    served = {n: c for n, c in count_words(run.frame, "served_by", cell.rows).items() if n}
    return max(served, key=lambda name: (served[name], name)) if served else cell.region


def _finding(
    cell: CellRows, what: str, found: Measured | None, expected: Expected | None, *, n: int
) -> Finding:
    return Finding(cell.deployment, cell.region, what, "ms", n, found, expected)


Look = Callable[[Run, CellRows], Iterator[Finding]]

_PATTERNS: Final[dict[str, tuple[tuple[str, ...], Look]]] = {
    "n-plus-one": (("n-plus-one",), _slope),
    "caches": (
        ("cache-hit", "cache-miss", "session", "cache-eviction", "session-moves"),
        _caches,
    ),
    "staleness": (("staleness",), _staleness),
    "stale-shows": (("create-and-show", "create-and-show-no-cookie"), _stale_shows),
    "writes": (("create-and-show", "on-primary", "write-on-get"), _writes),
    "double": (("double-effect",), _double),
    "jobs": (("jobs",), _times),
    "uploads": (("uploads",), _uploads),
    "visits": (("visit",), _visits),
    "peers": (("peer-lag", "peer-conflicts", "peer-tally"), _peers),
}
