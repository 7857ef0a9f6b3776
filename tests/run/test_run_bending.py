"""The faults of a plan reach the world: the first before the load, the others on its time line."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import synth
from run_status import load_status
from synth_files import engine_of

from loadtest.plan.model import PlannedFault
from loadtest.records.facts import EngineFacts
from loadtest.run.bending import PlannedFaults


class World:
    def __init__(self) -> None:
        self.told: list[tuple[str, float, int | None]] = []

    def fault(self, what: str, *, for_s: float = 0.0, at_wall_ns: int | None = None) -> None:
        self.told.append((what, for_s, at_wall_ns))


class Coordinator:
    def engine(self, run_id: str) -> EngineFacts:
        return replace(engine_of(run_id, synth.make_plan(), ()), epoch_wall_ns=1_000_000_000_000)


def test_faults_are_handed_over_once_each_at_their_time_and_by_their_apps_names() -> None:
    plan = synth.make_plan(
        faults=(
            PlannedFault(what="loss 1% *"),
            PlannedFault(what="kill replica/syd", at_s=3.5),
            PlannedFault(what="cut cdg-syd", at_s=5, for_s=2),
        )
    )
    orders: Any = SimpleNamespace(
        apps={"replica": SimpleNamespace(name="recipes-replica")}, companions={}
    )
    world = World()
    faults = PlannedFaults(plan, orders, world)
    faults.begin()
    assert world.told == [("loss 1% *", 0.0, None)]
    faults.on_status(load_status("waiting"), Coordinator(), "run")
    assert len(world.told) == 1
    for _ in range(2):
        faults.on_status(load_status("warm-up"), Coordinator(), "run")
    assert world.told[1:] == [
        ("kill recipes-replica/syd", 0.0, 1_003_500_000_000),
        ("cut cdg-syd", 2.0, 1_005_000_000_000),
    ]


def test_a_plan_without_a_world_asks_for_nothing() -> None:
    orders: Any = SimpleNamespace(apps={}, companions={})
    faults = PlannedFaults(synth.make_plan(), orders, None)
    faults.begin()
    faults.on_status(load_status("steady"), Coordinator(), "run")
