"""A run in a world that is up takes what stands there, if it is what the plan wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from run_places import link_facts, world_facts

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.orders import AppOrder, placements
from loadtest.plan.model import Plan
from loadtest.plan.resolve import load_plan
from loadtest.records.world_facts import WorldFacts
from loadtest.run import standing as module
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import RunWorld
from loadtest.run.standing import network_faults, still_to_deploy

PLACE = RunWorld("http://127.0.0.1:9", "t", None)
Machines = dict[str, tuple[Machine, ...]]


def planned(**flags: Any) -> tuple[Plan, RunDeployment]:
    wanted = {"regions": ["cdg", "syd"], "deployments": ["single", "multi"], **flags}
    plan = load_plan(None, wanted)
    return plan, orders_of(plan, "r2", Secrets())


def up(order: AppOrder) -> tuple[Machine, ...]:
    """Return the machines that deploying an order has made, for another run."""
    return tuple(
        Machine(str(number), place.name, "started", place.region, "i", place.config)
        for number, place in enumerate(placements(replace(order, run_id="visit")))
    )


def stand(orders: RunDeployment) -> Machines:
    assert orders.database is not None
    every = (*orders.apps.values(), orders.database)
    return {order.name: up(order) for order in every} | {"loadtest": ()}


def world(*regions: str, **links: float) -> WorldFacts:
    return world_facts(
        regions=regions or ("cdg", "syd", "nrt"),
        links=tuple(link_facts(pair, configured_rtt_ms=rtt_ms) for pair, rtt_ms in links.items()),
    )


def asked(
    plan: Plan, orders: RunDeployment, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> RunDeployment:
    async def found(_place: RunWorld, _orders: RunDeployment) -> Machines:
        return {order: machines.get(order, ()) for order in ("loadtest", *stand(orders))}

    monkeypatch.setattr(module, "_machines", found)
    return still_to_deploy(PLACE, plan, orders, world())


def test_an_empty_world_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, orders = planned()
    assert asked(plan, orders, {}, monkeypatch) == orders


def test_a_world_that_stands_gets_the_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, orders = planned()
    missing = asked(plan, orders, stand(orders), monkeypatch)
    assert (missing.database, missing.apps) == (None, {})
    assert missing.generator == orders.generator


def test_every_difference_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _plan, before = planned()
    plan, orders = planned(base="0")
    machines = stand(before)
    machines["recipes-multi"] = machines["recipes-multi"][:1]
    with pytest.raises(WorldError) as caught:
        asked(plan, orders, machines, monkeypatch)
    told = str(caught.value)
    assert "app recipes-single in cdg: APP_BASE_MS is cdg=74.6,syd=45.3, the plan wants 0" in told
    assert "app recipes-multi: has no machine in syd" in told
    assert told.endswith("loadtest world up ...")


def test_another_terminals_path_is_no_other_app(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, orders = planned()
    multi = orders.apps["multi"]
    machines = stand(orders)
    machines[multi.name] = up(replace(multi, env={**multi.env, "PATH": "/app/bin:/usr/bin"}))

    def with_path(path: str) -> RunDeployment:
        app = replace(multi, env={**multi.env, "PATH": path})
        return replace(orders, apps={**orders.apps, "multi": app})

    missing = asked(plan, with_path("/app/bin:/opt/bin:/usr/bin"), machines, monkeypatch)
    assert missing.apps == {}
    with pytest.raises(WorldError, match="PATH is /app/bin, the plan wants /other/bin"):
        asked(plan, with_path("/other/bin:/usr/bin"), machines, monkeypatch)


def test_an_edge_that_opens_connections_anew_is_another_app(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, orders = planned()
    machines = stand(orders)
    machines["recipes-single"] = up(replace(orders.apps["single"], new_connection_share=0.68))
    with pytest.raises(
        WorldError, match="edges open a connection for 68% of the requests, the plan wants 0%"
    ):
        asked(plan, orders, machines, monkeypatch)


def test_two_runs_do_not_share_a_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, orders = planned()
    machines = stand(orders) | {"loadtest": up(orders.generator)}
    with pytest.raises(WorldError, match="has a load generator already"):
        asked(plan, orders, machines, monkeypatch)


def test_a_world_with_other_regions_or_distances_is_refused() -> None:
    plan, _orders = planned()
    right_ms = plan.rtt_between_ms("cdg", "syd")
    assert network_faults(plan, world(**{"cdg-syd": right_ms, "cdg-nrt": 1.0})) == []
    assert network_faults(plan, world(**{"cdg-syd": 9.0})) == [
        f"link cdg-syd: the world has 9 ms, the plan wants {right_ms:g} ms"
    ]
    assert network_faults(plan, world("cdg")) == ["regions: the world has cdg, but not syd"]
