"""Rate limits of the emulated Machines API: what counts together, and when it refuses."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.clock import FakeClock
from loadtest.fly.pacing import EVERY_ACTION, GET_MACHINE, limits_of
from loadtest.units import NS_PER_S
from loadtest.world.api.limits import RateLimits

MACHINE = "apps/{id}/machines/{id}"


@pytest.mark.parametrize(
    ("method", "path", "counted"),
    [
        ("GET", "/v1/apps", ("GET apps", "")),
        ("GET", "/v1/platform/regions", ("GET platform/regions", "")),
        ("GET", "/v1/apps/a", ("GET apps/{id}", "a")),
        ("GET", "/v1/apps/a/machines", ("GET apps/{id}/machines", "a")),
        ("POST", "/v1/apps/a/machines", ("POST apps/{id}/machines", "a")),
        ("DELETE", "/v1/apps/a/volumes/v", ("DELETE apps/{id}/volumes/{id}", "a")),
        ("GET", "/v1/apps/a/machines/m", ("GET apps/{id}/machines/{id}", "m")),
        ("GET", "/v1/apps/a/machines/m/wait", ("GET apps/{id}/machines/{id}/wait", "m")),
        ("POST", "/v1/apps/a/machines/m/metadata/k", (f"POST {MACHINE}/metadata/{{id}}", "m")),
    ],
)
def test_what_a_call_counts_as(method: str, path: str, counted: tuple[str, str]) -> None:
    ((found, limit),) = limits_of(method, path)
    assert found == counted
    assert limit == (GET_MACHINE if found == (f"GET {MACHINE}", "m") else EVERY_ACTION)


def answers(asked: list[tuple[str, str]], clock: FakeClock) -> list[int]:
    """Return the status of each call, one after the other."""

    async def fine(_: Request) -> Response:
        return JSONResponse({})

    api = Starlette(
        routes=[Route("/{path:path}", fine, methods=["GET", "POST", "DELETE"])],
        middleware=[Middleware(RateLimits, clock=clock)],
    )

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            found = [await client.request(method, path) for method, path in asked]
        assert all(("retry-after" in r.headers) == (r.status_code == 429) for r in found)
        return [response.status_code for response in found]

    return asyncio.run(ask())


def test_three_at_once_then_one_a_second_each_app_for_itself() -> None:
    create, other = ("POST", "/v1/apps/a/machines"), ("POST", "/v1/apps/b/machines")
    assert answers([create] * 5 + [other], FakeClock()) == [200, 200, 200, 429, 429, 200]


def test_one_machine_is_read_more_often() -> None:
    assert answers([("GET", "/v1/apps/a/machines/m")] * 11, FakeClock()) == [200] * 10 + [429]


def test_a_refused_call_counts_nothing() -> None:
    clock = FakeClock()
    assert answers([("GET", "/v1/apps")] * 9, clock)[3:] == [429] * 6
    clock.advance(NS_PER_S)
    assert answers([("GET", "/v1/apps")] * 2, clock) == [200, 200]


def test_a_hundred_apps_are_deleted_a_minute() -> None:
    gone = [("DELETE", f"/v1/apps/a{number}") for number in range(102)]
    assert answers(gone, FakeClock()) == [200] * 100 + [429] * 2


def test_nothing_is_refused_that_is_not_of_the_api() -> None:
    assert set(answers([("GET", "/world")] * 9, FakeClock())) == {200}
