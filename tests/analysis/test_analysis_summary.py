"""The summary finds the values that were put in, and gives the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synth

from loadtest.analysis.blocks import block_table
from loadtest.analysis.cells import cell_rows
from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import Summary, summarise
from loadtest.plan.model import Load
from loadtest.records.folder import RunFolder

CORE = {
    "deployment",
    "region",
    "scenario",
    "n",
    "errors",
    "ttfb_ms",
    "phases_ms",
    "db_round_trips",
    "replayed",
    "served_by",
    "valid",
    "why_invalid",
}


def test_medians_are_the_true_ones_within_their_intervals(plain_run: Run) -> None:
    plan, summary = plain_run.plan, summarise(plain_run)
    missed = 0
    for deployment in plan.deployments:
        for region in plan.regions:
            true = synth.truth(plan, region, deployment, synth.Effects()).ttfb_ms
            cell = summary.cell(region, deployment.name)
            assert cell is not None
            p50 = cell.ttfb.get(50)
            assert p50 is not None
            missed += not p50.low <= true <= p50.high
            assert p50.value == pytest.approx(true, rel=0.03)
            assert cell.ttfb.get(99) is None
    assert missed <= 2


def saved(folder: Path, summary: Summary) -> bytes:
    """Save a summary as a run does and return its bytes."""
    return RunFolder(folder).save_json("summary.json", summary.to_json()).read_bytes()


def test_the_core_of_summary_json_is_there(plain_run: Run, tmp_path: Path) -> None:
    content = json.loads(saved(tmp_path, summarise(plain_run)))
    assert set(content) >= {"schema", "run", "verdict", "cells", "validity"}
    cell = content["cells"][0]
    assert set(cell) >= CORE
    assert set(cell["ttfb_ms"]) >= {
        "p50",
        "p50_low",
        "p50_high",
        "p95",
        "p95_low",
        "p95_high",
        "p99",
    }
    assert set(cell["phases_ms"]) == {
        "queue", "dns", "connect", "tls", "send", "wait", "receive",
    }  # fmt: skip


def test_analysing_again_gives_the_same_bytes(plain_run: Run, tmp_path: Path) -> None:
    first = saved(tmp_path, summarise(plain_run))
    again = saved(tmp_path, summarise(load_run(plain_run.folder)))
    assert first == again


def test_failures_count_apart_and_at_infinity(make_run: Callable[..., Run]) -> None:
    run = make_run(error_share={"multi": 0.6}, dropped_share=0.02)
    cell = summarise(run).cell("syd", "multi")
    assert cell is not None
    assert cell.error_kinds.keys() == {"status"}
    assert cell.errors / cell.n == pytest.approx(0.6, abs=0.1)
    assert cell.dropped > 0
    assert cell.ttfb.value(50) == pytest.approx(528.7, rel=0.05)
    assert cell.ttfb_with_failures.value(50) == float("inf")


def test_a_stall_shows_in_the_response_from_schedule(make_run: Callable[..., Run]) -> None:
    run = make_run(freeze=(6.0, 4.0))
    cell = summarise(run).cell("ord", "replica")
    assert cell is not None
    stalled = cell.response_from_schedule.value(95)
    assert stalled is not None
    assert stalled > 2_000
    assert cell.ttfb.value(95) is not None
    assert (cell.ttfb.value(50) or 0) < 60


def test_cold_samples_are_apart(make_run: Callable[..., Run]) -> None:
    plan = synth.make_plan(load=Load(rate=20, duration_s=20, warmup_s=2, new_connections=0.3))
    cell = summarise(make_run(plan=plan)).cell("cdg", "single")
    assert cell is not None
    assert cell.ttfb_cold.n + cell.ttfb.n == cell.n
    assert cell.ttfb_cold.n == cell.phases["connect"].n
    cold, warm = cell.ttfb_cold.value(50), cell.ttfb.value(50)
    assert cold is not None
    assert warm is not None
    assert cold > warm - 3


def test_where_answers_came_from_and_what_they_cost(make_run: Callable[..., Run]) -> None:
    run = make_run(replayed_share=1.0)
    summary = summarise(run)
    replica, multi = summary.cell("syd", "replica"), summary.cell("syd", "multi")
    assert replica is not None
    assert multi is not None
    assert set(replica.served_by) == {"cdg"}
    assert replica.replayed == 1.0
    assert (multi.db_round_trips, multi.replayed) == (2.0, 0.0)
    assert multi.db is not None
    assert multi.db.value(50) == pytest.approx(482, rel=0.05)


def test_two_scenarios_are_two_cells(make_run: Callable[..., Run]) -> None:
    summary = summarise(make_run(scenarios=("browse", "search")))
    assert len(summary.cells) == 24
    assert {cell.scenario for cell in summary.cells} == {"browse", "search"}


def test_round_trips_that_the_links_counted_are_not_cut_to_whole_ones(plain_run: Run) -> None:
    trips = plain_run.frame["db_round_trips"].astype(np.float32) + np.float32(0.375)
    summary = summarise(replace(plain_run, frame=plain_run.frame.assign(db_round_trips=trips)))
    multi = summary.cell("syd", "multi")
    assert multi is not None
    assert multi.db_round_trips == pytest.approx(2.375)


def test_the_verdict_is_put_in_later(plain_run: Run) -> None:
    summary = summarise(plain_run)
    assert summary.verdict == "none"
    assert summary.judged("pass").to_json()["verdict"] == "pass"


def test_blocks_add_up_to_the_cell(plain_run: Run) -> None:
    cell = cell_rows(plain_run)[0]
    table = block_table(plain_run.frame, cell)
    assert len(table) == 30
    assert sum(row.n for row in table) == cell.rows.size
