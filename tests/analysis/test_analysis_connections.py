"""Connections that nobody asked for: counted, and limited where they are a mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import synth

from loadtest.analysis.load import Run
from loadtest.analysis.summary import summarise
from loadtest.analysis.validity import check
from loadtest.plan.model import ValidityLimits

RULE = "ttfb.p50(replica) within 5% or 5ms of baseline(multi)"

MakeRun = Callable[..., Run]


def names_of_failed(run: Run) -> set[tuple[str, str | None]]:
    return {(c.name, c.deployment) for c in check(run).failed}


def test_each_cell_counts_them(make_run: MakeRun) -> None:
    run = make_run(unasked_share={"multi": 0.25})
    by_arm = {cell.deployment: cell for cell in summarise(run).cells if cell.region == "ord"}
    multi, single = by_arm["multi"].connections, by_arm["single"].connections
    assert multi.sent == by_arm["multi"].n
    assert 0.15 < multi.unasked / multi.sent < 0.35
    assert single.unasked == single.resent == 0
    assert by_arm["multi"].to_json()["connections"] == multi.to_json()
    # what the visitor waited is in the sample, so nothing is left out
    assert by_arm["multi"].ttfb.n == multi.sent - multi.asked


@pytest.mark.parametrize(
    ("share", "limit", "speaks"), [(0.25, 0.5, False), (0.8, 0.5, True), (1.0, 0.5, False),
                                   (0.25, 0.05, True), (1.0, 0.05, False)],
)  # fmt: skip
def test_a_mixture_is_refused_and_a_target_that_keeps_none_is_not(
    make_run: MakeRun, share: float, limit: float, speaks: bool
) -> None:
    plan = synth.make_plan(validity=ValidityLimits(unasked_share=limit))
    failed = names_of_failed(make_run(plan=plan, unasked_share={"multi": share}))
    assert (("connections", "multi") in failed) is speaks
    assert not {name for name, arm in failed if arm != "multi"}


def test_a_base_that_opens_more_looks_slow_and_a_candidate_that_does_is_slow(
    make_run: MakeRun,
) -> None:
    plan = synth.make_plan(thresholds=(RULE,))
    base = names_of_failed(make_run(plan=plan, unasked_share={"multi": 0.3}))
    candidate = names_of_failed(make_run(plan=plan, unasked_share={"replica": 0.3}))
    assert ("arms alike", "multi") in base
    assert ("arms alike", "replica") not in candidate


def test_one_cell_of_resent_requests_is_not_hidden_by_its_region(make_run: MakeRun) -> None:
    run = make_run()
    frame = run.frame
    attempts = frame["attempts"].to_numpy().copy()
    rows = np.flatnonzero((frame["deployment"] == "single") & (frame["region"] == "ord"))
    attempts[rows[-6:]] = 2
    run = replace(run, frame=frame.assign(attempts=attempts))
    failed = [c for c in check(run).failed if c.name == "resent" and c.scope == "cell"]
    assert [(c.region, c.deployment) for c in failed] == [("ord", "single")]
