"""A machine's link to a name leads to whoever bears it, whenever that one starts."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from pathlib import Path
from typing import Any, cast

import pytest
import small_world as small

from loadtest.errors import WorldError
from loadtest.fly.machines import MachineConfig
from loadtest.records.watch import PathFacts
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl, Strays
from loadtest.world.machines.aims import MachineLink
from loadtest.world.machines.names import Name
from loadtest.world.machines.network import WorldNetwork
from loadtest.world.machines.paths import Misled, look_at_paths, settle
from loadtest.world.machines.store import MachineRecord, Store
from loadtest.world.spec import WorldSpec

CONFIG: dict[str, Any] = {
    "image": "loadtest:local",
    "metadata": {"fly_process_group": "coordinator"},
}


class SlowLinks:
    """A links process during whose answer the target starts."""

    def __init__(self, meanwhile: MachineRecord) -> None:
        self._meanwhile = meanwhile
        self.targets: dict[str, LinkAddress | None] = {}

    async def open(self, link_id: str, target: LinkAddress | None, *_: Any, **__: Any) -> int:
        self.targets[link_id] = target
        await asyncio.sleep(0)
        self._meanwhile.ports = {5557: 30_000}
        self._meanwhile.set_state("started", "start", source="flyd")
        await asyncio.sleep(0)  # who leads links anew has looked by now, and not found this one
        return 40_000

    async def retarget(self, link_id: str, target: LinkAddress | None, *_: Any) -> None:
        self.targets[link_id] = target


@pytest.mark.parametrize(("port", "whole"), [(5432, False), (6432, False), (5433, True)])
def test_a_primary_is_meant_by_whichever_machine_s_door(port: int, whole: bool) -> None:
    """
    A pool that came by a door which its name does not lead to first any more keeps a primary.

    Of a replica's own port that is another server; those connections go, and are astray until then.
    """
    config = MachineConfig.from_json(CONFIG)
    store = Store()
    app = store.add("web", "w", "cdg", CONFIG, config)
    primary, replica = (store.add("db", r, r, CONFIG, config) for r in ("cdg", "ord"))
    primary.postgres_role, replica.postgres_role = "primary", "replica"
    for number, machine in enumerate((primary, replica), 23_000):
        machine.ports = {port: number}
    target = primary.address(23_000)
    link = MachineLink(
        *("link", app.id, replica.id, port, Name("machine", "db", replica.id), target, 0),
        region="cdg",
    )

    class Links:
        def __init__(self) -> None:
            self.asked: list[list[str]] = []

        async def settle(self, ids: list[str]) -> int:
            self.asked.append(ids)
            return 0

        async def strays(self, ids: list[str]) -> Strays:
            self.asked.append(ids)
            return Strays(live={"link": 1}, leads_to={name: [target] for name in ids})

    class Network:
        def links(self) -> list[MachineLink]:
            return [link]

    links = Links()

    async def scene() -> PathFacts:
        misled = [Misled(app.id, replica.id, "db.internal", primary.id)]
        await settle(cast(Any, Network()), cast(Any, links), store, misled)
        return await look_at_paths(cast(Any, Network()), cast(Any, links), store, misled)

    found = asyncio.run(scene())
    assert links.asked == [["link"] if whole else []] * 2
    assert [one.found_regions for one in found.astray] == ([("cdg",)] if whole else [])


def test_links_are_led_anew_after_a_machine_s_own_could_not_be_opened(tmp_path: Path) -> None:
    async def scene() -> None:
        store = Store()
        config = MachineConfig.from_json(CONFIG)
        coordinator = store.add("loadtest", "c", "cdg", CONFIG, config)
        links = SlowLinks(coordinator)
        network = WorldNetwork(
            WorldSpec.from_json(small.spec(tmp_path)),
            store,
            cast(LinkControl, links),
            lambda *_: None,
        )
        rounds = asyncio.Queue[None]()

        async def refused(_changed: object) -> None:
            rounds.put_nowait(None)
            raise WorldError("link 'machine/a/b:1' is open already")

        network.listen(refused)
        aiming = asyncio.create_task(network.keep_aiming())
        for _ in range(2):
            coordinator.touch()
            await asyncio.wait_for(rounds.get(), 10)
        assert not aiming.done()
        aiming.cancel()

    asyncio.run(scene())


def test_a_target_that_starts_while_a_link_is_opened_is_found(tmp_path: Path) -> None:
    async def scene() -> None:
        store = Store()
        config = MachineConfig.from_json(CONFIG)
        coordinator = store.add("loadtest", "c", "cdg", CONFIG, config)
        worker = store.add("loadtest", "w", "ord", CONFIG, config)
        links = SlowLinks(coordinator)
        network = WorldNetwork(
            WorldSpec.from_json(small.spec(tmp_path)),
            store,
            cast(LinkControl, links),
            lambda *_: None,
        )
        aiming = asyncio.create_task(network.keep_aiming())
        way = await network.open_way(worker, "coordinator.process.loadtest.internal", 5557)
        aiming.cancel()
        assert links.targets[way.id] == coordinator.address(30_000)

    asyncio.run(scene())


class PatientLinks(SlowLinks):
    """A links process that answers nobody until it has been asked for a number of links."""

    def __init__(self, count: int) -> None:
        self.targets = {}
        self.led: list[str] = []
        self._all = asyncio.Barrier(count)

    async def open(self, link_id: str, target: LinkAddress | None, *_: Any, **__: Any) -> int:
        self.targets[link_id] = target
        async with asyncio.timeout(10):
            await self._all.wait()
        return 40_000

    async def retarget(self, link_id: str, target: LinkAddress | None, *_: Any) -> None:
        self.led.append(link_id)


def test_links_of_one_name_are_opened_side_by_side_and_only_those_of_a_change_led_anew(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        store = Store()
        config = MachineConfig.from_json(CONFIG)
        servers = [store.add("db", f"s{n}", "cdg", CONFIG, config) for n in range(40)]
        for port, server in enumerate(servers, 30_000):
            server.ports = {5433: port}
            server.set_state("started", "start")
        app = store.add("web", "w", "ord", CONFIG, config)
        links = PatientLinks(len(servers))
        network = WorldNetwork(
            WorldSpec.from_json(small.spec(tmp_path)),
            store,
            cast(LinkControl, links),
            lambda *_: None,
        )
        ways = [(f"{server.id}.vm.db.internal", 5433) for server in servers]
        opened = await network.open_ways(app, dict.fromkeys(ways))
        assert [link.target for link in opened] == [s.address(s.ports[5433]) for s in servers]
        rounds = asyncio.Queue[Set[str]]()

        async def told(changed: Set[str]) -> None:
            rounds.put_nowait(changed)

        network.listen(told)
        aiming = asyncio.create_task(network.keep_aiming())
        servers[7].ports = {5433: 50_000}
        servers[7].touch()
        assert await asyncio.wait_for(rounds.get(), 10) == {servers[7].id}
        aiming.cancel()
        assert links.led == [opened[7].id]

    asyncio.run(scene())
