"""Cells (region x deployment x scenario): which rows are theirs, what a summary says of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtest.analysis.connection_counts import ConnectionCounts
from loadtest.analysis.load import Run
from loadtest.analysis.page_summary import (
    FailureCount,
    PageSummary,
    total_failures,
    total_statuses,
)
from loadtest.analysis.percentiles import Distribution, number
from loadtest.records.kinds import STAGE_STEADY

Key = tuple[str, str, str]
"""Region, deployment, scenario."""


@dataclass(frozen=True, slots=True)
class CellSummary:
    """
    What one cell's steady stage showed; times in milliseconds.

    ``n`` counts requests that were sent (dropped arrivals apart), ``errors`` those that failed.
    ``ttfb`` is over successful requests on warm connections, ``ttfb_with_failures`` has the failed
    ones at infinity beside them; so has ``response_from_schedule``, with dropped arrivals too.
    ``phases`` has queue, dns, connect, tls, send, wait, receive: dns, connect and tls over new
    connections, the others over all successes.  ``db`` and ``app`` are what the app reports in
    Server-Timing, None where it does not; ``db_round_trips`` is their mean number a request.
    ``pages`` has the same by the name of the request.
    """

    region: str
    deployment: str
    scenario: str
    n: int
    errors: int
    error_kinds: dict[str, int]
    dropped: int
    rate_per_s: float
    ttfb: Distribution
    ttfb_with_failures: Distribution
    ttfb_cold: Distribution
    response_from_schedule: Distribution
    phases: dict[str, Distribution]
    db: Distribution | None
    app: Distribution | None
    db_round_trips: float | None
    replayed: float
    served_by: dict[str, int]
    clocks: dict[str, int]
    protocols: dict[str, int]
    """Requests by version of HTTP; those that got no connection are left out."""
    connections: ConnectionCounts
    valid: bool
    why_invalid: tuple[str, ...]
    pages: tuple[PageSummary, ...] = ()

    @property
    def key(self) -> Key:
        """Region, deployment, scenario."""
        return (self.region, self.deployment, self.scenario)

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers had each HTTP status."""
        return total_statuses(self.pages)

    @property
    def failures(self) -> tuple[FailureCount, ...]:
        """What failed and how often, the most frequent first."""
        return total_failures(self.pages)

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values; the first keys are the fixed core that other programs read."""
        return {
            "deployment": self.deployment,
            "region": self.region,
            "scenario": self.scenario,
            "n": self.n,
            "errors": self.errors,
            "ttfb_ms": self.ttfb.to_json(),
            "phases_ms": {name: phase.to_json() for name, phase in self.phases.items()},
            "db_round_trips": number(self.db_round_trips),
            "replayed": number(self.replayed),
            "served_by": self.served_by,
            "valid": self.valid,
            "why_invalid": list(self.why_invalid),
            "error_kinds": self.error_kinds,
            "dropped": self.dropped,
            "rate_per_s": number(self.rate_per_s),
            "ttfb_with_failures_ms": self.ttfb_with_failures.to_json(),
            "ttfb_cold_ms": self.ttfb_cold.to_json(),
            "response_from_schedule_ms": self.response_from_schedule.to_json(),
            "db_ms": None if self.db is None else self.db.to_json(),
            "app_ms": None if self.app is None else self.app.to_json(),
            "clocks": self.clocks,
            "protocols": self.protocols,
            "connections": self.connections.to_json(),
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "failures": [failure.to_json() for failure in self.failures],
            "pages": [page.to_json() for page in self.pages],
        }


@dataclass(frozen=True, slots=True)
class CellRows:
    """
    The steady rows of one cell: positions in the run's frame, in the order of the records.

    ``name`` is that of the requests where they are those of one page, else empty.
    """

    region: str
    deployment: str
    scenario: str
    rows: NDArray[np.int32]
    name: str = ""

    @property
    def key(self) -> Key:
        """Region, deployment, scenario."""
        return (self.region, self.deployment, self.scenario)


def cell_rows(run: Run) -> tuple[CellRows, ...]:
    """
    Return the cells of a run in plan order, with those that the plan wants and no row has.

    A cell without rows has the run's scenario if there is only one, and the empty text otherwise.
    """
    frame = run.frame
    region, regions = codes_of(frame, "region")
    deployment, deployments = codes_of(frame, "deployment")
    scenario, scenarios = codes_of(frame, "scenario")
    stage, stages = codes_of(frame, "stage")
    code = (region.astype(np.int32) * len(deployments) + deployment) * len(scenarios) + scenario
    if STAGE_STEADY in stages:
        steady = np.flatnonzero(stage == stages.index(STAGE_STEADY)).astype(np.int32)
    else:
        steady = np.empty(0, np.int32)
    code = code[steady]
    order = steady[np.argsort(code, kind="stable")]
    found, counts = np.unique(code, return_counts=True)
    ends = np.cumsum(counts)
    cells: dict[Key, NDArray[np.int32]] = {}
    for value, end, count in zip(found.tolist(), ends.tolist(), counts.tolist(), strict=True):
        rest, scenario_code = divmod(value, len(scenarios))
        region_code, deployment_code = divmod(rest, len(deployments))
        key = (regions[region_code], deployments[deployment_code], scenarios[scenario_code])
        cells[key] = order[end - count : end]
    only = scenarios[0] if len(scenarios) == 1 else ""
    wanted = [(r, d.name) for d in run.plan.deployments for r in run.plan.clients_of(d)]
    have = {key[:2] for key in cells}
    for pair in wanted:
        if pair not in have:
            cells[(*pair, only)] = np.empty(0, np.int32)
    place = {pair: index for index, pair in enumerate(wanted)}
    ordered = sorted(cells, key=lambda key: (place.get(key[:2], len(place)), key))
    return tuple(CellRows(*key, rows=cells[key]) for key in ordered)


def codes_of(frame: pd.DataFrame, column: str) -> tuple[NDArray[Any], list[str]]:
    """Return a word column's codes and its words."""
    values = frame[column].cat
    return values.codes.to_numpy(), [str(name) for name in values.categories]


def count_words(frame: pd.DataFrame, column: str, rows: NDArray[np.int32]) -> dict[str, int]:
    """Return how often each word occurs in a column's rows, the words in alphabetical order."""
    codes, words = codes_of(frame, column)
    counts = np.bincount(codes[rows], minlength=len(words)).tolist()
    return {word: n for word, n in sorted(zip(words, counts, strict=True)) if n}


def by_region(cells: tuple[CellRows, ...]) -> Iterator[tuple[str, NDArray[np.int32]]]:
    """Yield each region with the steady rows of all its cells."""
    for region in dict.fromkeys(cell.region for cell in cells):
        yield region, np.concatenate([c.rows for c in cells if c.region == region])
