"""The numbers behind the figures: thinned curves, time strips, events."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synth import Effects, make_plan, write_run

from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import summarise
from loadtest.frozen import Signed
from loadtest.gate.results import Verdict
from loadtest.records.facts import MomentFacts
from loadtest.report.base.context import Context
from loadtest.report.base.events import MOST_EVENTS, events_in
from loadtest.report.base.numbers import (
    CURVE_POINTS,
    STRIP_BINS,
    bin_edges,
    curves,
    strips,
    thin_curve,
)

NO_GATE = Verdict("r", "none", "", (), (), 0, 0.05, 1, 1, 1, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "r"
    effects = Effects(error_share={"multi": 0.1})
    return load_run(write_run(folder, make_plan(), seconds=20, seed=4, effects=effects))


@given(values=st.lists(st.integers(1, 10**7), min_size=1, max_size=800), failed=st.integers(0, 50))
@settings(max_examples=60)
def test_a_thinned_curve_lies_on_the_true_one(values: list[int], failed: int) -> None:
    """Every point is a value that was measured, at its own rank; the ends are kept."""
    latency, share = thin_curve(np.array(values), failed)
    ordered = sorted(values)
    total = len(values) + failed

    assert latency.size <= CURVE_POINTS
    assert latency[0] == ordered[0] / 1000
    assert latency[-1] == ordered[-1] / 1000
    for ms, height in zip(latency, share, strict=True):
        assert ordered[round(height * total) - 1] == pytest.approx(ms * 1000)


def test_an_empty_sample_has_an_empty_curve() -> None:
    latency, share = thin_curve(np.empty(0, np.int32), 3)

    assert latency.size == share.size == 0


def test_failures_keep_a_curve_below_the_top(run: Run) -> None:
    found = curves(run)

    assert found["ord", "multi", "browse"][1][-1] == pytest.approx(0.9, abs=0.06)
    assert found["ord", "single", "browse"][1][-1] == 1.0


def test_a_strip_reads_each_blocks_nearest_ranks(run: Run) -> None:
    """Against plain arithmetic on one cell, bin by bin."""
    frame, edges = run.frame, bin_edges(run)
    mine = frame[
        (frame.region == "syd")
        & (frame.deployment == "replica")
        & (frame.error == "")
        & frame.reused
        & (frame.attempts == 1)
    ]
    strip = strips(run)["syd", "replica", "browse"]
    place = np.searchsorted(edges, mine.intended_us / 1e6, side="right") - 1
    expected = []
    for number in sorted(set(place)):
        values = np.sort(mine.wait_us.to_numpy()[place == number])
        expected.append(values[int(np.ceil(values.size * 0.95)) - 1] / 1000)

    assert strip.n == len(mine)
    assert strip.p95_ms.tolist() == pytest.approx(expected)
    assert (strip.p50_ms <= strip.p95_ms).all()


def test_warm_up_is_in_the_strip(run: Run) -> None:
    assert strips(run)["cdg", "single", "browse"].t_s[0] < run.plan.load.warmup_s


def test_a_long_run_has_few_bins(run: Run) -> None:
    long = dataclasses.replace(run, frame=run.frame.assign(intended_us=run.frame.intended_us * 400))
    edges = bin_edges(long)

    assert len(edges) - 1 <= STRIP_BINS + 1
    assert np.allclose(np.diff(edges) % run.plan.load.block_s, 0)


def moment(t_s: float, **worse: Any) -> MomentFacts:
    """Return a quiet moment with some numbers that are worse."""
    return dataclasses.replace(MomentFacts(Signed(t_s), 90, 0.1, 0.0, 100, 90, 3), **worse)


def events(run: Run, *timeline: MomentFacts, state: str = "finished") -> list[tuple[float, str]]:
    assert run.engine is not None
    (worker,) = (worker for worker in run.workers if worker.id == "syd-0")
    worker = dataclasses.replace(worker, state=state, timeline=timeline)
    changed = dataclasses.replace(run, engine=dataclasses.replace(run.engine, workers=(worker,)))
    context = Context(changed, summarise(run), NO_GATE, "")
    return [(event.t_s, event.label) for event in events_in(context, "syd")]


def test_a_healthy_worker_has_no_events(run: Run) -> None:
    assert events(run, moment(2.0)) == []


def test_moments_beyond_a_limit_are_events(run: Run) -> None:
    found = events(run, moment(2.0, gc_pause_us=80_000))

    assert found == [(2.0, "garbage collection held the process for 80.0 ms (syd-0)")]


def test_moments_that_follow_each_other_are_one_event(run: Run) -> None:
    limit_us = 1e3 * run.plan.validity.loop_lag_p99_ms
    timeline = [moment(float(t), loop_lag_p99_us=2 * limit_us) for t in (1, 2, 3, 9)]

    assert [t for t, _ in events(run, *timeline)] == [1.0, 9.0]


def test_a_lost_worker_is_the_last_thing_heard_of_it(run: Run) -> None:
    found = events(run, moment(6.0), state="lost")

    assert found == [(6.0, "worker syd-0 was lost")]


def test_events_stay_few_and_keep_the_loss_of_a_worker(run: Run) -> None:
    timeline = [moment(float(10 * t), gc_pause_us=90_000) for t in range(40)]
    found = events(run, *timeline, state="lost")

    assert len(found) == MOST_EVENTS
    assert found[-1] == (390.0, "worker syd-0 was lost")
