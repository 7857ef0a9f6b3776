"""What is ordered ends with its run, whatever becomes of the program that ordered it."""

from __future__ import annotations

import pytest

from loadtest.fly.orders import AppOrder, placements
from loadtest.plan.model import Plan
from loadtest.plan.resolve import load_plan
from loadtest.run.mortal import with_lifeline
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets


def planned() -> tuple[Plan, RunDeployment]:
    flags = {"regions": ["cdg", "ord"], "deployments": ["single"], "generator.driver_silent_s": 30}
    plan = load_plan(None, flags)
    return plan, orders_of(plan, "r1", Secrets())


def tied(ours: bool = True) -> RunDeployment:
    plan, orders = planned()
    return with_lifeline(orders, plan, has_program=lambda _order: ours)


def every(orders: RunDeployment) -> list[AppOrder]:
    assert orders.database is not None
    return [orders.database, orders.generator, *orders.apps.values()]


def test_no_machine_is_restarted_or_kept_once_its_program_has_ended() -> None:
    for order in every(tied(ours=False)):
        for place in placements(order):
            assert place.config.auto_destroy
            assert place.config.restart_policy == "no"


def test_the_coordinator_listens_for_its_driver() -> None:
    for place in placements(tied().generator):
        assert place.config.env["LOADTEST_DRIVER_SILENT_S"] == "30"
        # five minutes for the name, and the silence: it hears of its driver while all is deployed
        assert place.config.env["LOADTEST_DRIVER_FIRST_S"] == "330"
        plan, _ = planned()
        load_s = plan.load.warmup_s + plan.load.duration_s * plan.gate.max_looks
        most_s = float(place.config.env["LOADTEST_RUN_MOST_S"])
        assert most_s == pytest.approx(2 * (300 + 60 * (1 + plan.gate.max_looks) + load_s), abs=1)
        assert "loadtest.lifeline" not in place.config.cmd


def test_all_others_watch_the_coordinator_and_run_what_they_ran() -> None:
    _plan, before = planned()
    after = tied()
    assert before.database is not None
    assert after.database is not None
    pairs = [(before.database, after.database), (before.apps["single"], after.apps["single"])]
    for old, new in pairs:
        for was, now in zip(placements(old), placements(new), strict=True):
            assert now.config.cmd == ("python", "-m", "loadtest.lifeline", *was.config.cmd)
            told = now.config.env["LOADTEST_LIFELINE"]
            assert told == "coordinator.process.loadtest.internal:8089"
            assert now.config.env["LOADTEST_LIFELINE_S"] == "30"
            assert now.config.env["LOADTEST_LIFELINE_FIRST_S"] == "90"


def test_an_image_without_our_program_keeps_its_own_command() -> None:
    for order in tied(ours=False).apps.values():
        for place in placements(order):
            assert place.config.cmd == ("python", "-m", "loadtest.refapp")
            assert "LOADTEST_LIFELINE" not in place.config.env
