"""Whether regions take a run's machines is asked before anything is ordered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from machines_schema import MachinesSchema

from loadtest.errors import WorldError
from loadtest.fly.client import MachinesClient
from loadtest.fly.machines import Guest
from loadtest.fly.room import check_room
from loadtest.fly.transport import Transport

SCHEMA = MachinesSchema()
SMALL, BIG = Guest("performance", 1, 2_048), Guest("performance", 2, 4_096)


class Platform:
    """Lists regions and the machines that each takes; notes what it is asked."""

    def __init__(self, room: Mapping[str, int], *, deprecated: str = "", refuses: int = 0) -> None:
        self.room = room
        self.deprecated = deprecated
        self.refuses = refuses
        self.asked: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body: Any = json.loads(request.content) if request.content else None
        assert SCHEMA.request_faults(request.method, request.url.path, body) == []
        if self.refuses:
            return httpx.Response(self.refuses, json={"error": "no", "status": "unknown"})
        if request.url.path.endswith("/regions"):
            listed = [{"code": c, "deprecated": c == self.deprecated} for c in self.room]
            return httpx.Response(200, json={"nearest": "cdg", "regions": listed})
        self.asked.append(body)
        count = min(body["count"], self.room.get(body["region"], 0))
        placed = [{"region": body["region"], "count": count}] if count else []
        return httpx.Response(200, json={"regions": placed})


def check(platform: Platform, wanted: Mapping[str, list[Guest]]) -> None:
    async def go() -> None:
        mock = httpx.MockTransport(platform)
        transport = Transport("https://api.example", "t", paced=False, http_transport=mock)
        async with MachinesClient(transport) as client:
            await check_room(client, "acme", wanted)

    asyncio.run(go())


def test_room_is_asked_for_as_many_and_as_big_machines_as_there_will_be() -> None:
    platform = Platform({"cdg": 9, "ord": 9})
    check(platform, {"cdg": [SMALL, BIG, SMALL], "ord": [SMALL]})
    assert [(a["region"], a["count"], a["compute"]["cpus"]) for a in platform.asked] == [
        ("cdg", 3, 2),
        ("ord", 1, 1),
    ]
    assert {asked["org_slug"] for asked in platform.asked} == {"acme"}


def test_a_full_region_is_told_with_the_nearest_that_are_not() -> None:
    platform = Platform({"cdg": 1, "syd": 9, "fra": 9, "lhr": 9, "ams": 0, "ord": 9})
    with pytest.raises(WorldError) as caught:
        check(platform, {"cdg": [SMALL, SMALL]})
    with pytest.raises(WorldError, match=r"such as fra, ord, syd$"):
        check(platform, {"cdg": [SMALL, SMALL], "lhr": [SMALL]})
    assert str(caught.value) == (
        "region cdg: has no room for 2 machines now; name another with --regions, "
        "such as lhr, fra, ord"
    )


@pytest.mark.parametrize(
    ("region", "told"),
    [("scl", "region scl: is deprecated; .* such as gru"), ("xyz", "region xyz: is not one that")],
)
def test_a_region_that_takes_none_is_told(region: str, told: str) -> None:
    platform = Platform({"scl": 9, "gru": 9, "cdg": 9}, deprecated="scl")
    with pytest.raises(WorldError, match=told):
        check(platform, {region: [SMALL]})


def test_every_region_at_fault_is_told_at_once() -> None:
    with pytest.raises(WorldError) as caught:
        check(Platform({"cdg": 0, "ord": 0}), {"cdg": [SMALL], "ord": [SMALL]})
    assert len(str(caught.value).splitlines()) == 2
    assert "`fly platform regions` lists others" in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_platform_that_does_not_tell_stops_nobody(status: int) -> None:
    check(Platform({}, refuses=status), {"cdg": [SMALL]})
