"""What a run on Fly costs: reckoned before, limited meanwhile, told afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest.clock import FakeClock
from loadtest.errors import PlanError
from loadtest.fly.ledger import MachineLedger
from loadtest.fly.machines import Guest
from loadtest.fly.orders import placements
from loadtest.fly.prices import usd_per_s
from loadtest.plan.model import Plan
from loadtest.plan.resolve import load_plan
from loadtest.run.cost import (
    Budget,
    account,
    check_budget,
    cost_sentence,
    estimate,
    ready_for_fly,
)
from loadtest.run.progress import Silent
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.units import NS_PER_S

LARGE = Guest("performance", 1, 2_048)


def planned(**flags: Any) -> tuple[Plan, RunDeployment]:
    wanted = {
        "regions": ["cdg", "ord", "syd"],
        "deployments": ["single", "multi"],
        "world": "fly",
        **flags,
    }
    plan = load_plan(None, wanted)
    return plan, orders_of(plan, "r1", Secrets(), image="registry.fly.io/mine:v1")


def lived(seconds: float) -> MachineLedger:
    """Return the record of a machine that has been there so long, and still is."""
    clock = FakeClock()
    ledger = MachineLedger(clock)
    ledger.made("a", app="shop", name="shop-a", region="iad", guest=LARGE, since_ns=0)
    clock.advance(round(seconds * NS_PER_S))
    return ledger


def test_every_machine_is_reckoned_where_it_stands() -> None:
    """The database in three regions, one app in one and one in three, a coordinator and workers."""
    plan, orders = planned()
    reckoned = estimate(plan, orders)
    per_h = {code: usd_per_s(LARGE, code) * 3_600 for code in plan.regions}
    assert reckoned.machines == {"performance-1x 2 GB": 11}
    assert reckoned.usd_per_h == pytest.approx(5 * per_h["cdg"] + 3 * (per_h["ord"] + per_h["syd"]))
    load_s = plan.load.warmup_s + plan.load.duration_s * plan.gate.max_looks
    assert reckoned.seconds == pytest.approx(load_s + 90)
    assert reckoned.usd == pytest.approx(reckoned.usd_per_h * reckoned.seconds / 3_600)
    assert "11 machines (11 x performance-1x 2 GB) at $0." in reckoned.sentence


def test_a_run_over_its_budget_is_refused_with_what_would_help() -> None:
    plan, orders = planned()
    reckoned = estimate(plan, orders)
    check_budget(0.0, reckoned)
    check_budget(reckoned.usd, reckoned)
    with pytest.raises(
        PlanError, match=r"--budget: the run may cost \$0\.0100 .*--duration, --look"
    ):
        check_budget(0.01, reckoned)


def test_nothing_is_ordered_before_a_person_knows_the_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    plan, orders = planned(prefix="mine")
    asked: list[str] = []
    progress = Silent()
    ready = ready_for_fly(plan, orders, progress, asked.append)
    assert ready.generator.name == "mine-loadtest"
    assert asked == [estimate(plan, orders).sentence]
    assert any("mine-recipes-db" in sentence for sentence in progress.sentences)
    plan = plan.model_copy(update={"budget_usd": 0.01})
    with pytest.raises(PlanError, match="--budget"):
        ready_for_fly(plan, orders, progress, asked.append)
    assert len(asked) == 1


def test_a_budget_leaves_enough_to_clear_away() -> None:
    usd = 100 * usd_per_s(LARGE, "iad")
    assert not Budget(0.0, lived(1e9)).exhausted()
    assert not Budget(usd, lived(69)).exhausted()
    assert Budget(usd, lived(71)).exhausted()
    assert Budget(usd, lived(50)).exhausted(ahead_s=21)


def test_an_account_is_the_sum_over_its_machines() -> None:
    ledger = lived(100)
    ledger.made("b", app="db", name="db-b", region="syd", guest=Guest(), since_ns=0)
    cost = account(ledger, 2.0)
    by_hand = sum(m.seconds * m.usd_per_s for m in cost.machines)
    assert cost.usd == pytest.approx(by_hand, rel=1e-9)
    assert cost.machine_seconds == 200
    assert "2 of them left behind" in cost_sentence(cost)
    ledger.only("shop", ())
    ledger.only("db", ())
    assert "2 machines for 200 machine-seconds: $0.001" in cost_sentence(account(ledger, 2.0))
    assert cost_sentence(account(ledger, 2.0)).endswith("all are gone")


def test_an_estimate_is_what_the_record_of_these_machines_and_this_time_comes_to() -> None:
    plan, orders = planned()
    reckoned, clock = estimate(plan, orders), FakeClock()
    ledger = MachineLedger(clock)
    places = [(order.name, place) for order in orders.every for place in placements(order)]
    for app, place in places:
        guest, region = place.config.guest, place.region
        ledger.made(place.name, app=app, name=place.name, region=region, guest=guest, since_ns=0)
    clock.advance(round(reckoned.seconds * NS_PER_S))
    for app in {app for app, _ in places}:
        ledger.only(app, ())
    cost = account(ledger, 0.0)
    assert cost.machine_seconds == pytest.approx(len(places) * reckoned.seconds, rel=0.01)
    assert reckoned.usd == pytest.approx(
        sum(machine.seconds * machine.usd_per_s for machine in cost.machines), rel=0.01
    )
