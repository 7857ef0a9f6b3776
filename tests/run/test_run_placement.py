"""Advice from a stored run: what is proposed, and the plan that tries it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synth

from loadtest.errors import PlanError, RecordsError
from loadtest.plan.model import Plan
from loadtest.run.placement import CheckedRegion, advise_on, check_plan
from loadtest.run.run_deployment import orders_of
from loadtest.run.run_secrets import Secrets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a stored run of the three tables."""
    path = tmp_path_factory.mktemp("advice") / "run"
    return synth.write_run(path, synth.make_plan(), seconds=20, seed=3)


def test_the_replicas_in_the_visitors_regions_are_proposed(folder: Path) -> None:
    advice = advise_on(folder, "cdg=60,syd=40", 100.0, scenario="", deployment="")
    best = advice.proposals[0]
    assert (best.design.deployment, best.regions) == ("replica", ("cdg", "syd"))
    assert [p.keeps(100.0) for p in advice.proposals] == [True, False, False]


def test_a_proposal_is_tried_out_with_machines_and_visitors_where_it_says(folder: Path) -> None:
    advice = advise_on(folder, "ord=50,syd=50", 100.0, scenario="browse", deployment="replica")
    plan = check_plan(advice)
    assert plan.regions == ("ord", "syd")
    assert plan.primary_region == advice.proposals[0].primary
    assert set(plan.network.rtt_ms) == {"ord-syd"}
    (deployment,) = plan.deployments
    assert (deployment.regions, deployment.measured_from) == (("ord", "syd"), ("ord", "syd"))
    orders = orders_of(plan, "r1", Secrets())
    assert orders.apps["replica"].regions == ("ord", "syd")
    assert Plan.model_validate(plan.to_json()) == plan


def test_machines_stand_where_the_plan_says() -> None:
    plan = synth.make_plan()
    arms = tuple(d.model_copy(update={"regions": ("syd",)}) for d in plan.deployments[1:2])
    orders = orders_of(plan.model_copy(update={"deployments": arms}), "r1", Secrets())
    assert orders.apps["multi"].regions == ("cdg", "syd")


@pytest.mark.parametrize(
    ("scenario", "deployment", "told"),
    [("tea", "", "'tea' is none of the run's: browse"), ("", "x", "'x' is none of the run's")],
)
def test_what_the_run_does_not_have_is_told(
    folder: Path, scenario: str, deployment: str, told: str
) -> None:
    with pytest.raises(PlanError, match=told):
        advise_on(folder, "", 100.0, scenario=scenario, deployment=deployment)


def stored(path: Path, plan: Plan, **effects: Any) -> Path:
    return synth.write_run(path, plan, seconds=20, seed=3, effects=synth.Effects(**effects))


def arms(*names: str, **changes: Any) -> Plan:
    """Return the plan of the three tables with some of its deployments."""
    plan = synth.make_plan(thresholds=(), **changes)
    kept = tuple(d for d in plan.deployments if d.name in names)
    return plan.model_copy(update={"deployments": kept})


def test_visitors_and_limit_are_the_plan_s_unless_flags_say_otherwise(tmp_path: Path) -> None:
    rules = ("ttfb.p50 < 80ms where deployment = replica", "ttfb.p95 < 9ms", "ttfb.p50 < 90ms")
    visitors = {"cdg": 0.25, "syd": 0.75}
    run = stored(tmp_path / "run", synth.make_plan(thresholds=rules, visitors=visitors))
    found = advise_on(run, "", None, scenario="", deployment="")
    assert (found.shares, found.limit_ms) == (visitors, 80.0)
    found = advise_on(run, "ord,scl", 200.0, scenario="", deployment="")
    assert (found.shares, found.limit_ms) == ({"ord": 0.5, "scl": 0.5}, 200.0)


def test_without_a_rule_the_limit_is_a_tenth_of_a_second(folder: Path) -> None:
    found = advise_on(folder, "", None, scenario="", deployment="")
    assert found.limit_ms == 100.0
    assert found.shares == dict.fromkeys(("cdg", "ord", "syd", "scl"), 0.25)


@pytest.mark.parametrize(
    ("plan", "effects", "told"),
    [
        (arms("single", "multi"), {}, "no deployment of browse reads in its own region"),
        (arms("replica", regions=("cdg",)), {}, "was measured in cdg alone"),
        (arms("replica"), {"link_off_ms": 9.0}, "the run is invalid, so nothing follows"),
    ],
    ids=["no replica", "one region", "an invalid run"],
)
def test_a_run_that_nothing_follows_from_is_refused(
    tmp_path: Path, plan: Plan, effects: dict[str, Any], told: str
) -> None:
    run = stored(tmp_path / "run", plan, **effects)
    with pytest.raises(RecordsError, match=told):
        advise_on(run, "", 100.0, scenario="", deployment="")


def test_a_deployment_without_replicas_may_be_asked_about_by_name(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", arms("single", "multi"))
    (found,) = advise_on(run, "syd=1", 100.0, scenario="", deployment="multi").proposals
    assert (found.regions, found.primary, found.keeps(100.0)) == (("syd",), "syd", True)


@pytest.mark.parametrize(
    ("primary", "visitors", "regions"),
    [
        ("cdg", {"syd": 1.0}, ("syd",)),
        ("syd", {"cdg": 0.5, "syd": 0.5}, ("cdg", "syd")),
        ("scl", {"ord": 0.2, "syd": 0.3, "scl": 0.5}, ("ord", "syd", "scl")),
    ],
)
def test_whatever_was_primary_each_far_visitor_gets_a_replica(
    tmp_path: Path, primary: str, visitors: dict[str, float], regions: tuple[str, ...]
) -> None:
    """Regions are 104 ms apart or more, and a page takes 60: nobody can be served from afar."""
    plan = arms("single", "replica", primary_region=primary, visitors=visitors)
    best = advise_on(stored(tmp_path / "r", plan), "", None, scenario="", deployment="").proposals
    assert (best[0].design.deployment, best[0].regions) == ("replica", regions)
    assert best[0].keeps(100.0)
    assert best[0].primary in regions


def test_a_prediction_holds_within_a_twentieth_and_never_unmeasured() -> None:
    assert CheckedRegion("syd", 100.0, 104.9).holds
    assert not CheckedRegion("syd", 100.0, 105.1).holds
    assert not CheckedRegion("syd", 100.0, None).holds
