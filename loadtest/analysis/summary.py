"""A run in numbers: the summary of every cell, and summary.json, the same bytes every time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from loadtest.analysis.cells import CellRows, CellSummary, cell_rows, count_words
from loadtest.analysis.checks import Validity
from loadtest.analysis.connections import count_connections
from loadtest.analysis.load import Run
from loadtest.analysis.metrics import PHASES, MetricSample, sample_of
from loadtest.analysis.page_names import page_names
from loadtest.analysis.pages import summarise_pages
from loadtest.analysis.percentiles import Distribution, describe, number
from loadtest.analysis.validity import check_cells
from loadtest.analysis.world_events import WorldEvent, world_events
from loadtest.analysis.worth import describe_cell
from loadtest.records.kinds import ERROR_DROPPED
from loadtest.units import US_PER_MS, US_PER_S

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class RunFacts:
    """
    What run a summary is of.

    ``started_wall_ns`` is the run's epoch (UTC), ``measured_s`` the length of its steady stage in
    all segments, ``rows`` every row of its records with warm-up, ``blocks`` its steady blocks.
    """

    run_id: str
    plan: str
    title: str
    world: str
    regions: tuple[str, ...]
    primary_region: str
    deployments: tuple[str, ...]
    seed: int
    started_wall_ns: int
    measured_s: float
    segments: int
    blocks: int
    rows: int
    partial: bool
    reason: str

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "id": self.run_id,
            "plan": self.plan,
            "title": self.title,
            "world": self.world,
            "regions": list(self.regions),
            "primary_region": self.primary_region,
            "deployments": list(self.deployments),
            "seed": self.seed,
            "started_wall_ns": self.started_wall_ns,
            "measured_s": number(self.measured_s),
            "segments": self.segments,
            "blocks": self.blocks,
            "rows": self.rows,
            "partial": self.partial,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """
    The summary of a run; ``verdict`` is ``none`` until a gate has judged it.

    ``events`` are those of its world.
    """

    run: RunFacts
    cells: tuple[CellSummary, ...]
    validity: Validity
    events: tuple[WorldEvent, ...] = ()
    verdict: str = "none"

    def cell(self, region: str, deployment: str, scenario: str | None = None) -> CellSummary | None:
        """Return a cell, the first scenario's where none is named; None if there is none."""
        for cell in self.cells:
            if (cell.region, cell.deployment) == (region, deployment) and scenario in (
                None,
                cell.scenario,
            ):
                return cell
        return None

    def judged(self, verdict: str) -> Summary:
        """Return the same summary with the gate's decision in it."""
        return replace(self, verdict=verdict)

    def to_json(self) -> dict[str, object]:
        """Return the content of summary.json."""
        return {
            "schema": SCHEMA_VERSION,
            "run": self.run.to_json(),
            "verdict": self.verdict,
            "cells": [cell.to_json() for cell in self.cells],
            "validity": self.validity.to_json(),
            "events": [event.to_json() for event in self.events],
        }


def summarise(run: Run) -> Summary:
    """Return the summary of a run's steady stage, validity checks and all."""
    cells = cell_rows(run)
    validity = check_cells(run, cells)
    facts = _facts(run, cells)
    names = page_names(run)
    return Summary(
        run=facts,
        cells=tuple(_summarise_cell(run, cell, facts, validity, names) for cell in cells),
        validity=validity,
        events=world_events(run),
    )


def _facts(run: Run, cells: tuple[CellRows, ...]) -> RunFacts:
    plan = run.plan
    blocks = run.frame["block"].to_numpy()
    intended = run.frame["intended_us"].to_numpy()
    steady = np.zeros(int(blocks.max()) + 1 if blocks.size else 0, bool)
    first_us, last_us = None, None
    for cell in cells:
        if cell.rows.size:
            steady[blocks[cell.rows]] = True
            times = intended[cell.rows]
            low, high = int(times.min()), int(times.max())
            first_us = low if first_us is None else min(first_us, low)
            last_us = high if last_us is None else max(last_us, high)
    span_s = 0.0 if first_us is None or last_us is None else (last_us - first_us) / US_PER_S
    planned_s = _planned_s(run)
    return RunFacts(
        run_id=run.run_id,
        plan=plan.name,
        title=plan.title,
        world=run.world.kind,
        regions=plan.regions,
        primary_region=plan.primary_region,
        deployments=tuple(d.name for d in plan.deployments),
        seed=plan.seed,
        started_wall_ns=run.engine.epoch_wall_ns if run.engine else 0,
        measured_s=span_s if run.partial else planned_s,
        segments=run.segments,
        blocks=int(steady.sum()),
        rows=len(run.frame),
        partial=run.partial,
        reason=run.engine.reason if run.engine else "the engine left no account",
    )


def _planned_s(run: Run) -> float:
    load = run.plan.load
    once = sum(stage.duration_s for stage in load.stages) if load.stages else load.duration_s
    return once * run.segments


def _summarise_cell(
    run: Run, cell: CellRows, facts: RunFacts, validity: Validity, names: tuple[str, ...]
) -> CellSummary:
    kinds = count_words(run.frame, "error", cell.rows)
    kinds.pop("", None)
    dropped = kinds.pop(ERROR_DROPPED, 0)
    n = int(cell.rows.size) - dropped
    against = validity.against(*cell.key)
    ttfb, ttfb_with_failures = describe_cell(run.frame, cell, "ttfb")
    return CellSummary(
        region=cell.region,
        deployment=cell.deployment,
        scenario=cell.scenario,
        n=n,
        errors=sum(kinds.values()),
        error_kinds=kinds,
        dropped=dropped,
        rate_per_s=n / facts.measured_s if facts.measured_s else 0.0,
        ttfb=ttfb,
        ttfb_with_failures=ttfb_with_failures,
        ttfb_cold=describe_cell(run.frame, cell, "ttfb_cold")[0],
        response_from_schedule=describe_cell(run.frame, cell, "response_from_schedule")[1],
        phases={name: _describe(sample_of(run.frame, cell.rows, name)) for name in PHASES},
        db=_reported(run, cell, "db"),
        app=_reported(run, cell, "app"),
        db_round_trips=_mean(sample_of(run.frame, cell.rows, "db_round_trips")),
        replayed=_mean(sample_of(run.frame, cell.rows, "replayed")) or 0.0,
        served_by=_named(count_words(run.frame, "served_by", cell.rows)),
        clocks=count_words(run.frame, "clock", cell.rows),
        connections=count_connections(run.frame, cell.rows),
        protocols=_named(count_words(run.frame, "protocol", cell.rows)),
        valid=not against,
        why_invalid=against,
        pages=summarise_pages(run, cell, names, facts.measured_s),
    )


def _describe(sample: MetricSample) -> Distribution:
    return describe(sample.values, per_unit=US_PER_MS)


def _reported(run: Run, cell: CellRows, metric: str) -> Distribution | None:
    sample = sample_of(run.frame, cell.rows, metric)
    return _describe(sample) if sample.values.size else None


def _mean(sample: MetricSample) -> float | None:
    if not sample.values.size:
        return None
    # Whole numbers are added as such, exactly; round trips that the links counted are fractions.
    whole = np.issubdtype(sample.values.dtype, np.integer)
    return float(sample.values.sum(dtype=np.int64 if whole else np.float64)) / sample.values.size


def _named(counts: dict[str, int]) -> dict[str, int]:
    """Leave out answers that named no region."""
    return {name: n for name, n in counts.items() if name}
