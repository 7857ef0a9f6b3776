"""Machines that change places: which can, and what each is given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from loadtest.errors import WorldError
from loadtest.fly.answers import CheckStatus, Machine
from loadtest.fly.client import MachinesClient
from loadtest.fly.config import parse_app_config
from loadtest.fly.exchange import cannot_exchange, exchange
from loadtest.fly.machines import MachineConfig
from loadtest.fly.orders import AppOrder, placements

TOML = """
app = "shop"
[processes]
web = "serve"
[http_service]
internal_port = 80
"""


def order(app: str, **more: Any) -> AppOrder:
    config = parse_app_config(TOML, Path("fly.toml"))
    values: dict[str, Any] = {"regions": ("cdg", "ord"), "primary_region": "cdg", "run_id": "r1"}
    values |= {"image": f"i:{app}", "secrets": {"DATABASE_URL": f"postgres://{app}"}}
    return AppOrder(config, app=app, **{**values, **more})


def running(place_name: str, region: str, config: MachineConfig) -> Machine:
    return Machine(
        id=f"id-{place_name}",
        name=place_name,
        region=region,
        state="started",
        instance_id="1",
        private_ip="",
        config=config,
        checks=tuple(CheckStatus("up", "passing", "") for _ in range(config.check_count)),
        events=(),
    )


@dataclass
class Fleet:
    """Stands in for the Machines API: machines by app, and what they were told."""

    machines_of: dict[str, dict[str, Machine]]
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    least: list[int] = field(default_factory=list)

    async def set_secrets(self, app: str, values: dict[str, str]) -> int:
        self.secrets[app] = dict(values)
        return 7

    async def machines(self, app: str, **_: Any) -> tuple[Machine, ...]:
        return tuple(self.machines_of[app].values())

    async def machine(self, app: str, machine_id: str) -> Machine | None:
        return self.machines_of[app].get(machine_id)

    async def update_machine(
        self, app: str, machine: Machine, *, config: MachineConfig, min_secrets_version: int
    ) -> Machine:
        self.least.append(min_secrets_version)
        changed = replace(machine, config=config, instance_id="2")
        self.machines_of[app][machine.id] = changed
        return changed


def deployed(*orders: AppOrder) -> Fleet:
    return Fleet(
        {
            one.name: {
                f"id-{place.name}": running(place.name, place.region, place.config)
                for place in placements(one)
            }
            for one in orders
        }
    )


def change(fleet: Fleet, first: AppOrder, second: AppOrder) -> tuple[AppOrder, AppOrder]:
    return asyncio.run(exchange(cast("MachinesClient", fleet), first, second))


def test_each_machine_runs_on_with_what_the_other_app_had_there() -> None:
    base, candidate = order("base", env={"MARK": "old"}), order("next", env={"MARK": "new"})
    fleet = deployed(base, candidate)
    assert cannot_exchange(base, candidate) == ""
    moved = change(fleet, base, candidate)
    assert [one.name for one in moved] == ["next", "base"]
    assert fleet.secrets == {"next": base.secrets, "base": candidate.secrets}
    assert fleet.least == [7] * 4
    for app, mark in (("base", "new"), ("next", "old")):
        there = fleet.machines_of[app].values()
        assert {machine.config.env["MARK"] for machine in there} == {mark}
        assert {machine.config.image for machine in there} == {
            candidate.image if mark == "new" else base.image
        }
        assert {machine.region for machine in there} == {"cdg", "ord"}
    back = change(fleet, *moved)
    assert [one.name for one in back] == ["base", "next"]
    assert {m.config.env["MARK"] for m in fleet.machines_of["base"].values()} == {"old"}


def test_a_machine_that_is_gone_is_told_by_name() -> None:
    base, candidate = order("base"), order("next")
    fleet = deployed(base, candidate)
    del fleet.machines_of["next"]["id-next-web-ord-1-r1"]
    with pytest.raises(ExceptionGroup) as told:
        change(fleet, base, candidate)
    (errors,) = told.value.exceptions
    assert isinstance(errors, ExceptionGroup)
    assert "machine next-web-ord-1-r1 of app next is gone" in str(errors.exceptions[0])
    assert isinstance(errors.exceptions[0], WorldError)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (order("next", regions=("cdg",)), "as many machines in the same regions"),
        (order("next", counts={"web": 2}), "as many machines in the same regions"),
        (order("next", secrets={}), "secrets of the same names"),
        (order("next", secrets={"OTHER": "x"}), "secrets of the same names"),
    ],
)
def test_apps_that_are_not_alike_keep_their_machines(other: AppOrder, why: str) -> None:
    assert why in cannot_exchange(order("base"), other)
    assert why in cannot_exchange(other, order("base"))


def test_a_volume_a_size_and_a_port_stay_where_they_are() -> None:
    base = order("base")

    def unlike(toml: str) -> str:
        config = parse_app_config(TOML + toml, Path("fly.toml"))
        return cannot_exchange(base, replace(order("next"), config=config))

    assert (
        unlike('[[vm]]\nsize = "performance-2x"\n') == "their machines in cdg are not of one size"
    )
    assert unlike('[mounts]\nsource = "data"\ndestination = "/data"\n') == (
        "a volume stays with its machine"
    )
    port = parse_app_config(TOML.replace("80", "81"), Path("fly.toml"))
    assert "the same services" in cannot_exchange(base, replace(order("next"), config=port))
