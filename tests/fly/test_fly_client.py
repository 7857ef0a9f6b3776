"""The client of the Machines API against made-up answers: retries, doubts, errors, pacing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from machines_schema import MachinesSchema

from loadtest.clock import FakeClock
from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import MachinesClient
from loadtest.fly.machines import MachineConfig
from loadtest.fly.pacing import Pacer, TokenBucket
from loadtest.fly.transport import MachinesApiError, Transport, is_loopback
from loadtest.units import NS_PER_S

CONFIG = MachineConfig("app:1")
SCHEMA = MachinesSchema()
Handler = Callable[[httpx.Request], httpx.Response]


def machine_json(**more: Any) -> dict[str, Any]:
    return {"id": "m1", "name": "one", "state": "created", "instance_id": "i", "new": 1, **more}


class Script:
    """Answers requests one after the other and notes them."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str]] = []
        self.headers: list[httpx.Headers] = []
        self.bodies: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode()
        self.requests.append((request.method, target))
        self.headers.append(request.headers)
        self.bodies.append(json.loads(request.content) if request.content else None)
        assert SCHEMA.request_faults(request.method, target, self.bodies[-1]) == []
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(script: Script, work: Callable[[MachinesClient], Any], token: str = "t") -> Any:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def go() -> Any:
        transport = Transport(
            "https://api.example",
            token,
            paced=False,
            sleep=sleep,
            http_transport=httpx.MockTransport(script),
        )
        async with MachinesClient(transport) as client:
            return await work(client)

    return asyncio.run(go())


def create(client: MachinesClient) -> Any:
    return client.create_machine("app", name="one", region="cdg", config=CONFIG)


def answer(status: int, body: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={} if body is None else body, headers=headers)


@pytest.mark.parametrize(
    ("token", "sent"),
    [("abc", "Bearer abc"), ("FlyV1 fm2_x", "FlyV1 fm2_x"), ("Bearer abc", "Bearer abc")],
)
def test_a_token_is_sent_with_the_scheme_it_needs(token: str, sent: str) -> None:
    script = Script(answer(200, {"regions": [{"code": "cdg", "deprecated": True, "odd": 1}]}))
    (region,) = run(script, lambda client: client.regions(), token)
    assert script.headers[0]["authorization"] == sent
    assert (region.code, region.deprecated) == ("cdg", True)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_passes_by_itself_is_tried_again(status: int) -> None:
    script = Script(answer(status), answer(200, {"id": "1", "name": "app"}))
    assert run(script, lambda client: client.app("app")).name == "app"


def test_an_error_names_call_status_reason_and_request_id() -> None:
    script = Script(answer(422, {"error": "Region x is deprecated"}, **{"fly-request-id": "01R"}))
    with pytest.raises(MachinesApiError) as caught:
        run(script, lambda client: client.set_secrets("app", {"A": "secret"}))
    told = str(caught.value)
    assert "POST /v1/apps/app/secrets answered 422: Region x is deprecated" in told
    assert "(request id 01R)" in told
    assert "secret" not in told.replace("/secrets", "")


def test_a_lost_answer_to_create_makes_no_second_machine() -> None:
    script = Script(httpx.ReadTimeout("lost"), answer(200, [machine_json()]))
    assert run(script, create).id == "m1"
    assert [method for method, _ in script.requests] == ["POST", "GET"]


def test_a_create_that_did_not_happen_is_tried_again() -> None:
    script = Script(answer(408), answer(200, []), answer(200, machine_json()))
    assert run(script, create).id == "m1"
    assert [method for method, _ in script.requests] == ["POST", "GET", "POST"]


def test_a_machine_of_the_name_is_taken_up_and_a_destroyed_one_is_not() -> None:
    taken = answer(409, {"error": "already_exists: unique machine name violation"})
    destroyed = machine_json(id="m0", state="destroyed")
    script = Script(taken, answer(200, [destroyed, machine_json()]))
    assert run(script, create).id == "m1"


def test_no_capacity_is_final() -> None:
    body = {"error": "no room in scl", "status": "insufficient_capacity"}
    script = Script(answer(503, body), answer(200, []))
    with pytest.raises(MachinesApiError, match="no room in scl"):
        run(script, create)


def test_an_app_whose_creation_was_not_answered_is_ours() -> None:
    script = Script(
        answer(404),
        httpx.ConnectError("refused"),
        answer(422, {"error": "taken", "status": "name_taken"}),
        answer(200, {"id": "1", "name": "app"}),
        answer(200, []),
    )
    assert run(script, lambda client: client.ensure_app("app")) is True


def test_a_fresh_app_is_waited_for_until_it_is_known_everywhere() -> None:
    script = Script(
        answer(404), answer(201, {"id": "1"}), answer(404), answer(401), answer(200, [])
    )
    assert run(script, lambda client: client.ensure_app("app")) is True
    assert script.requests[1] == ("POST", "/v1/apps?wait=true")
    assert not script.answers


@pytest.mark.parametrize(
    "answers",
    [
        (answer(403, {"error": "no"}),),
        (answer(404), answer(422, {"error": "x", "status": "name_taken"}), answer(404)),
        (answer(404), answer(422, {"error": "x", "status": "name_taken"}), answer(403)),
    ],
)
def test_a_name_of_somebody_else_is_told_with_its_cure(answers: tuple[httpx.Response, ...]) -> None:
    with pytest.raises(MachinesApiError, match=r"app shop: the name belongs to .*--prefix"):
        run(Script(*answers), lambda client: client.ensure_app("shop"))


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ([], ["v6", "shared_v4"]),
        (["2a09::1"], ["shared_v4"]),
        (["66.241.124.1"], ["v6"]),
        (["66.241.124.1", "2a09::1"], []),
    ],
)
def test_an_app_gets_the_addresses_that_it_lacks(held: list[str], asked: list[str]) -> None:
    script = Script(
        answer(200, {"ips": [{"ip": ip} for ip in held]}),
        *(answer(200, {"ip": "x"}) for _ in asked),
    )
    run(script, lambda client: client.ensure_addresses("app"))
    assert [path for _, path in script.requests] == ["/v1/apps/app/ip_assignments"] * (
        1 + len(asked)
    )
    assert script.bodies[1:] == [{"type": kind} for kind in asked]


def test_a_machine_wants_the_secrets_that_were_set_for_it() -> None:
    script = Script(answer(200, {"version": 7}), answer(200, machine_json()))

    async def work(client: MachinesClient) -> None:
        version = await client.set_secrets("app", {"A": "1"})
        await client.create_machine(
            "app", name="one", region="cdg", config=CONFIG, min_secrets_version=version
        )

    run(script, work)
    assert script.bodies[1]["min_secrets_version"] == 7


@pytest.mark.parametrize("status", [409, 412])
def test_a_machine_between_two_states_is_destroyed_in_the_end(status: int) -> None:
    script = Script(answer(status), answer(status), answer(200, {"ok": True}))
    run(script, lambda client: client.destroy("app", "m1"))
    assert len(script.requests) == 3


def test_a_machine_that_is_never_let_go_is_told() -> None:
    with pytest.raises(MachinesApiError, match="409"):
        run(Script(*[answer(409)] * 4), lambda client: client.destroy("app", "m1"))


def test_a_wait_goes_on_beyond_the_limit_of_one_call() -> None:
    script = Script(answer(408), answer(408), answer(200, {"ok": True}))
    machine = Machine.from_json(machine_json())
    run(script, lambda client: client.wait("app", machine, deadline_s=300))
    assert all("timeout=60" in path for _, path in script.requests)


def test_gone_counts_as_destroyed() -> None:
    machine = Machine.from_json(machine_json())
    run(Script(answer(404)), lambda client: client.wait("app", machine, "destroyed"))
    run(Script(answer(404)), lambda client: client.destroy("app", "m1"))


def test_stopped_is_waited_for_by_version() -> None:
    script = Script(answer(200))
    machine = Machine.from_json(machine_json())
    run(script, lambda client: client.wait("app", machine, "stopped"))
    assert "instance_id=i" in script.requests[0][1]


def test_a_wait_without_time_left_says_what_was_waited_for() -> None:
    machine = Machine.from_json(machine_json(region="syd"))
    with pytest.raises(WorldError, match="machine one of app app in syd was not started within 0"):
        run(Script(), lambda client: client.wait("app", machine, deadline_s=0))


def test_something_that_is_no_machines_api_is_told() -> None:
    page = httpx.Response(200, text="<html>")
    with pytest.raises(MachinesApiError, match="is this the address of a Machines API"):
        run(Script(page), lambda client: client.regions())


def test_a_created_machine_is_sent_whole() -> None:
    sent: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return answer(200, machine_json())

    class One(Script):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            return handler(request)

    run(One(), create)
    assert sent == [{"name": "one", "region": "cdg", "config": CONFIG.to_json()}]


def test_a_bucket_lets_a_burst_through_and_then_spaces_out() -> None:
    bucket, clock = TokenBucket(1.0, 3), FakeClock()
    waits = [bucket.reserve(clock.monotonic_ns()) / NS_PER_S for _ in range(5)]
    assert waits == [0, 0, 0, 1, 2]
    clock.advance(10 * NS_PER_S)
    assert [bucket.reserve(clock.monotonic_ns()) for _ in range(3)] == [0, 0, 0]


def test_apps_do_not_wait_for_each_other() -> None:
    pacer, machines = Pacer(), "/v1/apps/{}/machines"
    assert [pacer.reserve("POST", machines.format("a"), 0) for _ in range(4)][-1] > 0
    assert pacer.reserve("POST", machines.format("b"), 0) == 0
    assert [pacer.reserve("GET", f"{machines.format('a')}/m", 0) for _ in range(10)][-1] == 0


def test_a_call_that_is_refused_and_all_like_it_wait_as_long_as_they_are_told() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    answers = [answer(429, **{"retry-after": "2"}), *(answer(200, {"apps": []}) for _ in range(3))]

    async def go() -> None:
        mock = httpx.MockTransport(Script(*answers))
        transport = Transport(
            "https://api.example", "t", clock=FakeClock(), sleep=sleep, http_transport=mock
        )
        async with MachinesClient(transport) as client:
            for org in ("a", "b", "c"):
                await client.apps(org)

    asyncio.run(go())
    assert slept == [pytest.approx(seconds, abs=0.2) for seconds in (2, 3, 4)]


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:4280", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("https://api.machines.dev", False),
        ("http://127.0.0.1.example.com", False),
    ],
)
def test_loopback_is_known(url: str, local: bool) -> None:
    assert is_loopback(url) is local
