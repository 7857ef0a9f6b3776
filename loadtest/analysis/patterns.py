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

from loadtest.analysis.cells import CellRows, cell_rows, codes_of, count_words
from loadtest.analysis.findings import Expected, Finding, Measured, median_of, slope_of
from loadtest.analysis.hops import rtt_ms
from loadtest.analysis.load import Run
from loadtest.analysis.long_connections import long_connections
from loadtest.analysis.metrics import sample_of
from loadtest.analysis.pattern_rows import (
    by_the_apps_clock,
    far_share,
    finding_of,
    pages_of,
    share_named,
    times_of,
)
from loadtest.analysis.pattern_writes import (
    LOCAL_MS,
    SLOPE_SHARE,
    double_effects,
    jobs,
    stale_shows,
    uploads,
    writes,
)
from loadtest.analysis.peers import peer_lags, peer_outcomes
from loadtest.analysis.replicas import APPLY_MS, STALE_MS
from loadtest.analysis.summary import Summary
from loadtest.units import US_PER_MS

_REMOTE: Final = 0.8
_NEAR_LOOKS: Final = 0.1
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
        expected = Expected(0.0, "the data is in the region", LOCAL_MS)
    yield Finding(
        *(cell.deployment, cell.region, "one more query", "ms a query", int(trips.size), found),
        expected=expected,
    )
    taken = median_of((run.frame["db_us"].to_numpy()[rows] / trips).astype(np.int64))
    yield by_the_apps_clock(cell, "one query, by the app's clock", taken, int(trips.size))


def _caches(run: Run, cell: CellRows) -> Iterator[Finding]:
    if cell.scenario != "session-moves":  # whose pages are from everywhere
        for finding in times_of(run, cell):
            yield finding
            yield from _looks(run, finding)
    match cell.scenario:
        case "cache-hit":
            yield from share_named(run, cell, "share of hits", _HIT, _LOOKED)
        case "cache-eviction":
            yield from share_named(
                run, cell, "pages seen before that are still there", _HIT, _AGAIN
            )
        case "session-moves":
            yield from share_named(
                run, cell, "sessions kept after a change of region", _KEPT, _MOVED
            )


def _looks(run: Run, finding: Finding) -> Iterator[Finding]:
    """Yield how often a page asks a cache that is far away: its time beside its own, in ways."""
    rtt = rtt_ms(run.plan, finding.region, run.plan.primary_region)
    if finding.measured is None or finding.expected is None or not rtt:
        return
    base_ms = run.plan.base_ms[finding.region]
    asked = round((finding.expected.value - base_ms) / rtt)
    if asked:
        found = finding.measured
        value, low, high = ((v - base_ms) / rtt for v in (found.value, found.low, found.high))
        yield Finding(
            *(finding.deployment, finding.region, f"{finding.what}, cache asked", "round trips"),
            *(finding.n, Measured(value, low, high, finding.n)),
            expected=Expected(asked, f"{asked} times", _NEAR_LOOKS),
        )


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
    yield finding_of(cell, "from commit to sight", median_of(values), expected, n=int(values.size))


def _visits(run: Run, cell: CellRows) -> Iterator[Finding]:
    """Yield which share of a visit's page views was answered far away, in the primary region."""
    yield from times_of(run, cell)
    for name, rows in pages_of(run, cell):
        if name.startswith("GET") and cell.region != run.plan.primary_region:
            yield far_share(run, cell, rows, "page views answered by the primary region")


def _peers(run: Run, cell: CellRows) -> Iterator[Finding]:
    pages = pages_of(run, cell)
    yield from peer_lags(run, cell, pages)
    yield from peer_outcomes(cell, pages)


def _long(run: Run, cell: CellRows) -> Iterator[Finding]:
    yield from long_connections(run, cell, pages_of(run, cell))


def _most_served(run: Run, cell: CellRows) -> str:
    served = {n: c for n, c in count_words(run.frame, "served_by", cell.rows).items() if n}
    return max(served, key=lambda name: (served[name], name)) if served else cell.region


Look = Callable[[Run, CellRows], Iterator[Finding]]

_PATTERNS: Final[dict[str, tuple[tuple[str, ...], Look]]] = {
    "n-plus-one": (("n-plus-one",), _slope),
    "caches": (
        ("cache-hit", "cache-miss", "session", "cache-eviction", "session-moves"),
        _caches,
    ),
    "staleness": (("staleness",), _staleness),
    "stale-shows": (("create-and-show", "create-and-show-no-cookie"), stale_shows),
    "writes": (
        ("create-and-show", "create-and-show-no-cookie", "on-primary", "write-on-get"),
        writes,
    ),
    "double": (("double-effect",), double_effects),
    "jobs": (("jobs", "full-queue"), jobs),
    "uploads": (("uploads",), uploads),
    "long": (("kitchen",), _long),
    "visits": (("visit",), _visits),
    "peers": (("peer-lag", "peer-conflicts", "peer-tally"), _peers),
}
