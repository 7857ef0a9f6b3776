"""What is deployed in which order, and which of several failures a person is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from loadtest.errors import WorldError
from loadtest.fly.orders import AppOrder
from loadtest.plan.resolve import load_plan
from loadtest.run import deployment as module
from loadtest.run.progress import Silent
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import RunWorld

PLACE = RunWorld("http://127.0.0.1:9", "t", None)


@dataclass
class Fleet:
    """Stands in for the fly room: notes what begins and ends, and fails where it is told to."""

    news: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    async def deploy(self, _client: Any, order: AppOrder, done: set[tuple[str, str]]) -> None:
        assert module.release_key(order) in done or not order.config.release_command
        self.news.append(f"begin {order.name}")
        await asyncio.sleep(0)
        if order.name in self.broken:
            raise WorldError(self.broken[order.name])
        if order.name in self.slow:
            await asyncio.Event().wait()
        self.news.append(f"healthy {order.name}")

    async def release(self, _client: Any, order: AppOrder, done: set[tuple[str, str]]) -> None:
        if module.release_key(order) not in done:
            self.news.append(f"release {order.name}")
            done.add(module.release_key(order))

    async def check_room(self, _client: Any, _org: str, wanted: dict[str, Any]) -> None:
        assert set(wanted) == {"cdg"}

    async def destroy_run(self, _client: Any, app: str, run_id: str) -> None:
        self.news.append(f"destroy {app} {run_id}")

    slow: tuple[str, ...] = ()


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    stand_in = Fleet()

    @asynccontextmanager
    async def connect(*_: Any, **__: Any) -> Any:
        yield None

    monkeypatch.setattr(module, "connect", connect)
    for name in ("deploy", "release", "check_room", "destroy_run"):
        monkeypatch.setattr(module, name, getattr(stand_in, name))
    return stand_in


def orders(**changes: Any) -> RunDeployment:
    plan = load_plan(None, {"regions": ["cdg"], "deployments": ["single", "multi"]})
    return replace(orders_of(plan, "r1", Secrets()), **changes)


def test_apps_wait_for_the_database_and_one_release_when_the_plan_says_so(fleet: Fleet) -> None:
    module.deploy_all(PLACE, orders(database_first=True), Silent())
    news = fleet.news
    releases = [line for line in news if line.startswith("release")]
    assert releases == ["release recipes-single"]
    assert news.index("healthy recipes-db") < news.index(releases[0])
    for app in ("recipes-single", "recipes-multi"):
        assert news.index(releases[0]) < news.index(f"begin {app}")
    assert news.index("begin loadtest") < news.index("healthy recipes-db")


@pytest.mark.parametrize("paced", [False, True])
def test_apps_start_beside_the_database_where_both_begin_at_once(fleet: Fleet, paced: bool) -> None:
    """They wait themselves; machines that come by and by would be found too far away."""
    module.deploy_all(replace(PLACE, paced=paced), orders(database_first=False), Silent())
    begun = fleet.news.index("begin recipes-multi")
    assert (begun > fleet.news.index("healthy recipes-db")) == paced


def test_everything_that_got_healthy_is_told(fleet: Fleet) -> None:
    progress = Silent()
    module.deploy_all(PLACE, orders(database=None), progress)
    told = [s for s in progress.sentences if "healthy" in s]
    assert sorted(told) == [
        "loadtest: healthy in cdg",
        "recipes-multi: healthy in cdg",
        "recipes-single: healthy in cdg",
    ]


def test_a_world_to_look_at_has_no_generator(fleet: Fleet) -> None:
    module.deploy_all(PLACE, orders(), Silent(), generator=False)
    assert "begin loadtest" not in fleet.news


def test_one_failure_ends_all_and_is_the_one_that_is_told(fleet: Fleet) -> None:
    fleet.broken = {"recipes-multi": "machine m does not stay up"}
    fleet.slow = ("recipes-single", "loadtest")
    with pytest.raises(WorldError, match=r"^deployment multi: machine m does not stay up"):
        module.deploy_all(PLACE, orders(database_first=False), Silent())


def test_a_database_that_fails_does_not_leave_apps_waiting(fleet: Fleet) -> None:
    fleet.broken = {"recipes-db": "no PostgreSQL"}
    with pytest.raises(WorldError, match="no PostgreSQL"):
        module.deploy_all(PLACE, orders(database_first=True), Silent())
    assert "begin recipes-single" not in fleet.news


def test_what_a_run_made_is_destroyed_the_database_last(fleet: Fleet) -> None:
    module.destroy_all(PLACE, orders())
    assert fleet.news == [
        "destroy loadtest r1",
        "destroy recipes-multi r1",
        "destroy recipes-single r1",
        "destroy recipes-db r1",
    ]
