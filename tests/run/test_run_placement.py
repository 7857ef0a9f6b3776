"""Advice from a stored run: what is proposed, and the plan that tries it out."""

from __future__ import annotations

from pathlib import Path

import pytest
import synth

from loadtest.errors import PlanError
from loadtest.plan.model import Plan
from loadtest.run.placement import CheckedRegion, advise_on, check_plan
from loadtest.run.run_deployment import Secrets, orders_of


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
    advice = advise_on(folder, "ord=1,syd=1", 100.0, scenario="browse", deployment="replica")
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


def test_a_prediction_holds_within_a_twentieth_and_never_unmeasured() -> None:
    assert CheckedRegion("syd", 100.0, 104.9).holds
    assert not CheckedRegion("syd", 100.0, 105.1).holds
    assert not CheckedRegion("syd", 100.0, None).holds
