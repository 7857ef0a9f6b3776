"""
What goes wrong between us and Fly, against an emulated one: outcome, sentence, and nothing left.

A case says what some calls are answered instead of what they would be, or which answers get lost.
It deploys as a run does, clears away as a run does, and looks with a clean client what is left.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import small_world as small

from loadtest.errors import WorldError
from loadtest.fly.cleanup import destroy_run
from loadtest.fly.client import MachinesClient, connect
from loadtest.fly.deploy import deploy
from loadtest.fly.leftovers import destroy_leftovers, find_leftovers
from loadtest.fly.transport import Transport
from loadtest.world.handle import WorldHandle, start_world

pytestmark = pytest.mark.contract

GOOD = ""
LOST, UNSENT = "lost", "unsent"
MACHINES, ONE = r"/v1/apps/hello/machines", r"/v1/apps/hello/machines/\w+"
APPS, APP = r"/v1/apps", r"/v1/apps/hello"

# machines that only wait start quickly; those that serve are for cases about health
WAITING = 'app = "hello"\nprimary_region = "cdg"\n[processes]\napp = "sleep 99"\n'
WITH_VOLUME = f'{WAITING}[mounts]\nsource = "data"\ndestination = "/data"\n'
RELEASING = f'{WAITING}[deploy]\nrelease_command = "true"\n'
FAILING_RELEASE = f'{WAITING}[deploy]\nrelease_command = "python crash.py"\n'
SERVING = small.TOML.replace('interval = "2s"', 'interval = "1s"')
CRASHING = SERVING.replace("app.py", "crash.py")


@dataclass
class Fault:
    """
    What happens to some calls.

    Args:
        call: Method and path, as a regular expression.
        how: Status of the answer in its place; ``lost`` lets the call be done and loses its answer,
            ``unsent`` loses the call.
        times: How many calls; the next ones are done.
        code: The API's word in the answer.
        after: How many calls are done first.
        retry_after: Header of the answer.
    """

    call: str
    how: int | str
    times: int = 999
    code: str = "unknown"
    after: int = 0
    retry_after: str = ""


class FaultyNetwork(httpx.AsyncBaseTransport):
    """The way to the API, on which faults happen."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = [[fault, fault.after, fault.times] for fault in faults]
        self._real = httpx.AsyncHTTPTransport()
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        asked = f"{request.method} {request.url.path}"
        for entry in self._faults:
            fault, before, left = entry
            assert isinstance(fault, Fault)
            if not re.fullmatch(fault.call, asked):
                continue
            if before:
                entry[1] = before - 1  # type: ignore[operator]
                continue
            if not left:
                continue
            entry[2] = left - 1  # type: ignore[operator]
            return await self._fail(fault, request)
        return await self._real.handle_async_request(request)

    async def _fail(self, fault: Fault, request: httpx.Request) -> httpx.Response:
        if fault.how == LOST:
            await (await self._real.handle_async_request(request)).aclose()
        if fault.how in (LOST, UNSENT):
            raise httpx.ReadTimeout("no answer", request=request)
        headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
        body = {"error": f"made up {fault.how}", "status": fault.code}
        return httpx.Response(int(fault.how), json=body, headers=headers, request=request)

    async def aclose(self) -> None:
        await self._real.aclose()


@dataclass
class Case:
    """
    One case.

    Args:
        name: Of the test.
        faults: What happens while deploying.
        told: What the deployment says, as a regular expression; empty where it works out.
        clearing: What happens while clearing away.
        uncleared: What clearing away says; empty where it works out.
        left: Machines that are left for `loadtest fly clean`, by number.
        order: What else is ordered.
    """

    name: str
    faults: tuple[Fault, ...] = ()
    told: str = GOOD
    clearing: tuple[Fault, ...] = ()
    uncleared: str = GOOD
    left: int = 0
    order: dict[str, Any] = field(default_factory=dict)


def on(call: str, how: int | str, times: int = 999, **more: Any) -> tuple[Fault, ...]:
    return (Fault(call, how, times, **more),)


NAMES = r"app hello: the name belongs to an organization .* --prefix"
NO_ROOM = "region (cdg|ord) has run out of room: .* name another with --regions, such as syd$"
CASES = [
    # names and the app itself
    Case("name-of-another-organization", on(f"GET {APP}", 403), NAMES),
    Case("name-taken", on(f"POST {APPS}", 422, code="name_taken"), NAMES),
    Case(
        "name-taken-meanwhile",
        on(f"POST {APPS}", 422, code="name_taken") + on(f"GET {APP}", 403, after=1),
        NAMES,
    ),
    Case("no-such-name", on(f"POST {APPS}", 422), "answered 422: made up 422"),
    Case("token-expired", on(f"GET {APP}", 401), "answered 401: .*; check the token"),
    Case("may-not-make-apps", on(f"POST {APPS}", 403), "may not act on this app or organization"),
    Case("app-made-answer-lost", on(f"POST {APPS}", LOST, 1)),
    Case("app-not-made-answer-lost", on(f"POST {APPS}", UNSENT, 1)),
    Case("app-made-after-500", on(f"POST {APPS}", 500, 2)),
    Case("apps-are-down", on(f"POST {APPS}", 503), "POST /v1/apps answered 503"),
    # a fresh app is not known everywhere
    Case("fresh-app-404-once", on(f"GET {MACHINES}", 404, 1)),
    Case("fresh-app-404-long", on(f"GET {MACHINES}", 404, 8)),
    Case("fresh-app-401", on(f"GET {MACHINES}", 401, 3)),
    Case("fresh-app-404-and-401", on(f"GET {MACHINES}", 404, 2) + on(f"GET {MACHINES}", 401, 2)),
    Case("fresh-app-404-forever", on(f"GET {MACHINES}", 404), "machines answered 404"),
    Case("fresh-app-401-forever", on(f"GET {MACHINES}", 401), "machines answered 401"),
    # rate limits
    Case("429-on-the-app", on(f"POST {APPS}", 429, 3, retry_after="1")),
    Case("429-on-secrets", on(f"POST {APP}/secrets", 429, 3), order={"secrets": {"A": "1"}}),
    Case(
        "429-on-addresses",
        on(f"POST {APP}/ip_assignments", 429, 2),
        order={"public": True},
    ),
    Case("addresses-500", on(f"POST {APP}/ip_assignments", 500, 1), order={"public": True}),
    Case("429-on-create", on(f"POST {MACHINES}", 429, 6)),
    Case("429-on-reading", on(f"GET {ONE}", 429, 8)),
    Case("429-forever", on(f"POST {MACHINES}", 429), "the API's rate limit holds"),
    Case("429-on-destroy", clearing=on(f"DELETE {ONE}", 429, 9)),
    # creating machines
    Case("408-on-create-not-made", on(f"POST {MACHINES}", 408, 1)),
    Case("408-on-create-three-times", on(f"POST {MACHINES}", 408, 3)),
    Case("408-on-create-forever", on(f"POST {MACHINES}", 408), "machines answered 408"),
    Case("create-made-answer-lost", on(f"POST {MACHINES}", LOST, 2)),
    Case("create-unsent", on(f"POST {MACHINES}", UNSENT, 2)),
    Case("create-unsent-forever", on(f"POST {MACHINES}", UNSENT), "no answer to POST"),
    Case("create-502", on(f"POST {MACHINES}", 502, 2)),
    Case("create-500-forever", on(f"POST {MACHINES}", 500), "machines answered 500"),
    Case("create-409-of-nobody", on(f"POST {MACHINES}", 409), "machines answered 409"),
    Case("create-412", on(f"POST {MACHINES}", 412), "machines answered 412"),
    Case("create-422", on(f"POST {MACHINES}", 422), "answered 422: made up 422"),
    Case(
        "no-capacity-in-one-region",
        on(f"POST {MACHINES}", 422, 1, code="insufficient_capacity"),
        NO_ROOM,
    ),
    Case(
        "no-capacity-503",
        on(f"POST {MACHINES}", 503, 1, code="insufficient_capacity", after=1),
        NO_ROOM,
    ),
    Case(
        "no-room-for-a-volume",
        on(f"POST {APP}/volumes", 422, 1, code="volume_placement_capacity"),
        NO_ROOM,
        order={"toml": WITH_VOLUME},
    ),
    Case(
        "volume-answer-lost",
        on(f"POST {APP}/volumes", 500, 1),
        "volumes answered 500",
        order={"toml": WITH_VOLUME},
    ),
    Case("secrets-500", on(f"POST {APP}/secrets", 500, 2), order={"secrets": {"A": "1"}}),
    Case(
        "secrets-forbidden",
        on(f"POST {APP}/secrets", 403),
        "secrets answered 403",
        order={"secrets": {"A": "1"}},
    ),
    # getting healthy
    Case(
        "never-healthy",
        told=r"did not become healthy within 2 s: check .* does not pass",
        order={"toml": SERVING, "env": {"HEALTHY": "0"}, "deadline_s": 2.0},
    ),
    Case(
        "crashes",
        told=r"does not stay up: it ended with exit code 1",
        order={"toml": CRASHING},
    ),
    Case("reading-500", on(f"GET {ONE}", 500, 3)),
    Case("reading-lost", on(f"GET {ONE}", UNSENT, 3)),
    Case("vanished", on(f"GET {ONE}", 404, 1), "vanished while it was starting"),
    Case(
        "release-fails",
        told=r"release command 'python crash.py' ended with exit code 1",
        order={"toml": FAILING_RELEASE},
    ),
    Case("release-wait-408", on(f"GET {ONE}/wait", 408, 2), order={"toml": RELEASING}),
    # clearing away
    Case("destroy-409-passes", clearing=on(f"DELETE {ONE}", 409, 2)),
    Case("destroy-412-passes", clearing=on(f"DELETE {ONE}", 412, 2)),
    Case(
        "destroy-409-forever",
        clearing=on(f"DELETE {ONE}", 409),
        left=2,
        uncleared=r"of run r1 left after clean-up\n.*answered 409",
    ),
    Case(
        "destroy-412-forever",
        clearing=on(f"DELETE {ONE}", 412),
        left=2,
        uncleared=r"of run r1 left after clean-up\n.*answered 412",
    ),
    Case("destroy-409-of-one", clearing=on(f"DELETE {ONE}", 409, 4), left=0),
    Case("destroy-500", clearing=on(f"DELETE {ONE}", 500, 3)),
    Case("destroy-answer-lost", clearing=on(f"DELETE {ONE}", LOST, 2)),
    Case("destroy-unsent", clearing=on(f"DELETE {ONE}", UNSENT, 2)),
    Case(
        "destroyed-by-somebody", clearing=on(f"DELETE {ONE}", LOST, 1) + on(f"GET {ONE}/wait", 404)
    ),
    Case("destroyed-late", clearing=on(f"GET {ONE}/wait", 408, 3)),
    Case("listing-500", clearing=on(f"GET {MACHINES}", 500, 2)),
    Case(
        "listing-down",
        clearing=on(f"GET {MACHINES}", 503),
        left=2,
        uncleared="machines answered 503",
    ),
    Case(
        "volume-412",
        clearing=on(f"DELETE {APP}/volumes/.*", 412, 1),
        uncleared=r"no machine of run r1 left.*\n.*volumes/\w+ answered 412",
        order={"toml": WITH_VOLUME},
    ),
    Case(
        "app-not-deleted",
        clearing=on(f"DELETE {APP}", 412),
        uncleared="hello answered 412",
        order={"mark": True},
    ),
    Case("app-answer-lost", clearing=on(f"DELETE {APP}", LOST, 1), order={"mark": True}),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldHandle]:
    folder = tmp_path_factory.mktemp("image")
    small.write_app(folder)
    far = {"cdg-ord": 40.0, "cdg-syd": 40.0, "ord-syd": 40.0}
    with start_world(small.spec(folder, regions=["cdg", "ord", "syd"], rtt_ms=far)) as handle:
        yield handle


async def quick(_seconds: float) -> None:
    """Wait as little as can be: how long a pause is is tested elsewhere."""
    await asyncio.sleep(0.01)


def client_with(world: WorldHandle, faults: tuple[Fault, ...]) -> MachinesClient:
    network = FaultyNetwork(faults)
    return MachinesClient(
        Transport(world.api_url, world.token, paced=False, sleep=quick, http_transport=network)
    )


async def played(world: WorldHandle, case: Case) -> tuple[str, str, int, int]:
    """Return what deploying and clearing away said, what was left, and what was left at last."""
    told = uncleared = ""
    order = small.order(**{"toml": WAITING, "public": False, **case.order})
    async with client_with(world, case.faults) as client:
        try:
            await deploy(client, order, set())
        except WorldError as error:
            told = str(error)
    async with client_with(world, case.clearing) as client:
        try:
            await destroy_run(client, order.name, "r1")
        except WorldError as error:
            uncleared = str(error)
    async with connect(world.api_url, world.token) as client:
        found = await find_leftovers(client, "personal")
        left = sum(len(leftover.machines) for leftover in found.leftovers)
        await destroy_leftovers(client, found.leftovers)
        again = await find_leftovers(client, "personal")
        at_last = sum(len(leftover.machines) for leftover in again.leftovers)
        if await client.app("hello") is not None:
            assert order.mark is False or not again.leftovers
            await client.delete_app("hello")
    return told, uncleared, left, at_last


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_is_survived_or_told_and_nothing_stays(world: WorldHandle, case: Case) -> None:
    told, uncleared, left, at_last = asyncio.run(played(world, case))
    for said, wanted in ((told, case.told), (uncleared, case.uncleared)):
        assert re.search(wanted, said, re.DOTALL) if wanted else said == ""
        assert "Traceback" not in said
    assert (left, at_last) == (case.left, 0)


def test_there_are_at_least_forty_cases_each_of_its_own_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40
