"""What machines on Fly measure between their regions, and the world that is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest.errors import PlanError, WorldError
from loadtest.fly.answers import Machine
from loadtest.plan.resolve import load_plan
from loadtest.run import round_trips as module
from loadtest.run.progress import Silent
from loadtest.run.round_trips import RoundTrip, measure_round_trips, write_round_trips
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import RunWorld

FLY = RunWorld("https://api.machines.dev", "t", None)
MS = 1_000_000


class Machines:
    """Stands in for the client: a coordinator and workers whose pings take what a table says."""

    def __init__(self, ms: dict[tuple[str, str], str]) -> None:
        self.ms = ms
        self.asked: list[tuple[str, ...]] = []

    async def __aenter__(self) -> Machines:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close nothing."""

    async def machines(self, _app: str, *, metadata: dict[str, str]) -> tuple[Machine, ...]:
        assert metadata == {"loadtest_run_id": "r1"}
        groups = [("cdg", "coordinator"), *((r, "worker") for r in ("cdg", "ord", "syd", "syd"))]
        return tuple(
            Machine.from_json(
                {
                    "id": f"{region}{number}",
                    "name": region,
                    "region": region,
                    "private_ip": f"fdaa::{number}",
                    "config": {"image": "i", "metadata": {"fly_process_group": group}},
                }
            )
            for number, (region, group) in enumerate(groups)
        )

    async def run_command(
        self, _app: str, machine: str, words: tuple[str, ...], *, timeout_s: int
    ) -> str:
        assert 0 < timeout_s <= 60
        self.asked.append((machine, *words[3:]))
        if words[3] == "answer":
            return ""
        there = {"fdaa::2": "ord", "fdaa::3": "syd"}[words[4]]
        return self.ms[machine[:3], there]


def orders() -> RunDeployment:
    return orders_of(load_plan(None, {"regions": ["cdg", "ord", "syd"]}), "r1", Secrets())


def measured(monkeypatch: pytest.MonkeyPatch, machines: Machines) -> tuple[RoundTrip, ...]:
    monkeypatch.setattr(module, "connect", lambda *_: machines)
    return measure_round_trips(FLY, orders(), Silent())


def test_each_two_regions_are_measured_once_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    ms = {("cdg", "ord"): "[90000000]", ("cdg", "syd"): "[2, 5, 3]", ("ord", "syd"): "[7]"}
    machines = Machines(ms)
    found = measured(monkeypatch, machines)
    assert found == (
        RoundTrip("cdg", "ord", (90 * MS,)),
        RoundTrip("cdg", "syd", (2, 5, 3)),
        RoundTrip("ord", "syd", (7,)),
    )
    assert found[0].p50_ms == 90.0
    answering = [(asked[0], asked[3]) for asked in machines.asked if asked[1] == "answer"]
    assert answering == [("ord2", "1"), ("syd3", "2")]
    assert all(asked[0] != "cdg0" for asked in machines.asked)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[null]", "no such module"])
def test_what_cannot_be_measured_is_told_and_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Silent, "warn", lambda _self, text: told.append(text))
    pairs = [("cdg", "ord"), ("cdg", "syd"), ("ord", "syd")]
    assert measured(monkeypatch, Machines(dict.fromkeys(pairs, text))) == ()
    assert told[0].startswith("round trips between the regions were not measured: machine cdg ")


def test_a_machine_that_refuses_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> str:
        raise WorldError("answered 412")

    machines = Machines({})
    monkeypatch.setattr(machines, "run_command", refuse)
    assert measured(monkeypatch, machines) == ()


def test_a_runs_folder_is_a_set_of_round_trips(tmp_path: Path) -> None:
    found = [RoundTrip("cdg", "ord", (90 * MS, 91 * MS, 99 * MS)), RoundTrip("cdg", "syd", (7,))]
    write_round_trips(tmp_path, found, "r1")
    plan = load_plan(None, {"regions": ["cdg", "ord"], "network.rtt": str(tmp_path)})
    assert plan.network.rtt_ms == {"cdg-ord": 91.0}
    assert plan.network.sources == {"cdg-ord": "run r1: median of 3"}
    with pytest.raises(PlanError, match="has no round-trip time for ord-syd"):
        load_plan(None, {"regions": ["cdg", "ord", "syd"], "network.rtt": str(tmp_path)})


def test_a_folder_without_them_is_told(tmp_path: Path) -> None:
    write_round_trips(tmp_path, (), "r1")
    with pytest.raises(PlanError, match=r"is a folder without round-trips\.csv; a run on Fly"):
        load_plan(None, {"regions": ["cdg", "ord"], "network.rtt": str(tmp_path)})
