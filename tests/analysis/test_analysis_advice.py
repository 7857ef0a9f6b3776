"""Advice: what is predicted for other regions is what a model of the same distances would show."""

from __future__ import annotations

import pytest
import synth

from loadtest.analysis.advice import Design, advise, learn, predict
from loadtest.analysis.load import Run
from loadtest.analysis.summary import summarise
from loadtest.errors import PlanError

PLAN = synth.make_plan()
EVEN = dict.fromkeys(PLAN.regions, 0.25)


def design(own_ms: float = 20.0, trips: float = 0.0) -> Design:
    return Design("app", "browse", dict.fromkeys(PLAN.regions, own_ms), trips)


def rtt(a: str, b: str) -> float:
    return PLAN.rtt_between_ms(a, b)


def test_a_run_tells_own_time_and_far_queries(plain_run: Run) -> None:
    found = {d.deployment: d for d in learn(plain_run, summarise(plain_run))}
    assert {name: round(d.far_trips) for name, d in found.items()} == {
        "single": 2,
        "multi": 2,
        "replica": 0,
    }
    for deployment in plain_run.plan.deployments:
        for region, own_ms in found[deployment.name].own_ms.items():
            truth = synth.truth(plain_run.plan, region, deployment, synth.Effects())
            local = 1.0 if deployment.name != "multi" or region == "cdg" else 0.0
            assert own_ms == pytest.approx(truth.app + local, abs=4.0 + 0.03 * truth.ttfb_ms)


def test_a_prediction_adds_the_way_to_the_nearest_machine_and_its_far_queries() -> None:
    found = predict(PLAN, design(trips=2), "cdg", ("cdg", "ord"), EVEN)
    assert found.p50_ms["cdg"] == pytest.approx(20 + rtt("cdg", "cdg"))
    assert found.p50_ms["ord"] == pytest.approx(20 + rtt("ord", "ord") + 2 * rtt("ord", "cdg"))
    nearest = min(("cdg", "ord"), key=lambda code: rtt("scl", code))
    way = rtt("scl", nearest) + (2 * rtt("ord", "cdg") if nearest == "ord" else 0)
    assert found.p50_ms["scl"] == pytest.approx(20 + way)
    assert found.mean_ms == pytest.approx(sum(found.p50_ms.values()) / 4)


def test_the_prediction_of_what_was_measured_is_what_was_measured(plain_run: Run) -> None:
    summary = summarise(plain_run)
    for found in learn(plain_run, summary):
        regions = plain_run.plan.regions if found.deployment != "single" else ("cdg",)
        told = predict(plain_run.plan, found, "cdg", regions, EVEN)
        for region, p50_ms in told.p50_ms.items():
            cell = summary.cell(region, found.deployment)
            assert cell is not None
            assert p50_ms == pytest.approx(cell.ttfb.value(50), rel=0.02)


def test_the_smallest_set_that_keeps_the_limit_is_advised() -> None:
    (best,) = advise(PLAN, (design(),), {"cdg": 0.6, "syd": 0.4}, 100.0)
    assert (best.regions, best.keeps(100.0)) == (("cdg", "syd"), True)
    (alone,) = advise(PLAN, (design(),), {"syd": 1.0}, 100.0)
    assert (alone.regions, alone.primary) == (("syd",), "syd")


def test_where_nothing_keeps_the_limit_the_lowest_mean_is_advised() -> None:
    (best,) = advise(PLAN, (design(own_ms=150.0, trips=5),), {"cdg": 0.9, "syd": 0.1}, 100.0)
    assert not best.keeps(100.0)
    assert best.primary == "cdg"
    assert best.mean_ms == pytest.approx(150 + 0.9 * rtt("cdg", "cdg") + 0.1 * rtt("cdg", "syd"))


def test_the_best_design_comes_first() -> None:
    found = advise(PLAN, (design(trips=3), design()), EVEN, 100.0)
    assert [proposal.design.far_trips for proposal in found] == [0, 3]


def test_visitors_that_were_not_measured_are_told() -> None:
    plan = synth.make_plan()
    with pytest.raises(PlanError, match="scl was not measured"):
        advise(plan, (Design("a", "s", {"cdg": 1.0}, 0.0),), {"scl": 1.0}, 100.0)
