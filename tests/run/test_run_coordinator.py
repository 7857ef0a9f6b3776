"""The client of the coordinator: patience, sentences, following a run.  Time is the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from run_status import load_status

from loadtest.errors import EngineError, WorldError
from loadtest.frozen import to_json
from loadtest.plan.order import RunOrder
from loadtest.plan.resolve import load_plan
from loadtest.run import coordinator as module
from loadtest.run.coordinator import PATIENCE_S, CoordinatorClient, connect, heard_by

Answer = httpx.Response | Exception


class FakeTime:
    """Stands in for the module `time`: sleeping is what makes it pass."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(module, "time", fake)
    return fake


def talking(
    answer: Callable[[httpx.Request], Answer],
) -> tuple[CoordinatorClient, list[httpx.Request]]:
    """Return a client whose every request is answered by a function, and the requests so far."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        told = answer(request)
        if isinstance(told, Exception):
            raise told
        return told

    transport = httpx.MockTransport(handle)
    return CoordinatorClient("http://127.0.0.1:9", "secret", transport=transport), seen


def in_turn(*answers: Answer) -> Callable[[httpx.Request], Answer]:
    """Answer with one after the other; the last one again and again."""
    left = list(answers)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def status(state: str, segment: int = 0) -> httpx.Response:
    return httpx.Response(200, json=to_json(load_status(state, segment)))


def test_every_request_carries_the_token() -> None:
    client, seen = talking(in_turn(status("done")))
    client.status("r1")
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert seen[0].url.path == "/v1/runs/r1"


@pytest.mark.parametrize(
    "trouble",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(502),
     httpx.Response(503)],
    ids=["no connection", "no answer", "edge has no machine", "machine not ready"],
)  # fmt: skip
def test_a_get_is_repeated_while_the_coordinator_is_away(trouble: Answer, clock: FakeTime) -> None:
    client, seen = talking(in_turn(trouble, trouble, status("steady")))
    assert client.status("r1").state == "steady"
    assert len(seen) == 3
    assert clock.now_s < 100.0 + PATIENCE_S


@pytest.mark.parametrize("trouble", [httpx.ConnectError("refused"), httpx.Response(502)])
def test_patience_ends_with_a_sentence(trouble: Answer, clock: FakeTime) -> None:
    client, _seen = talking(in_turn(trouble))
    with pytest.raises(EngineError, match=r"has not answered for 15 s \((refused|HTTP 502)\)"):
        client.status("r1")
    assert PATIENCE_S <= clock.now_s - 100.0 < PATIENCE_S + 1


def test_there_is_no_patience_once_the_world_is_gone(clock: FakeTime) -> None:
    def gone() -> None:
        raise WorldError("the world is gone")

    transport = httpx.MockTransport(lambda _request: httpx.Response(502))
    client = CoordinatorClient("http://127.0.0.1:9", "t", on_silence=gone, transport=transport)
    with pytest.raises(WorldError, match="the world is gone"):
        client.status("r1")
    assert clock.now_s == 100.0


def test_an_order_is_never_sent_twice(clock: FakeTime) -> None:
    client, seen = talking(in_turn(httpx.ReadTimeout("")))
    with pytest.raises(EngineError, match=r"http://127\.0\.0\.1:9: ReadTimeout"):
        client.submit(order())
    assert len(seen) == 1
    assert clock.now_s == 100.0


def test_a_refusal_carries_the_coordinators_sentence() -> None:
    client, _seen = talking(
        in_turn(httpx.Response(409, json={"error": "run r0 is in state steady"}))
    )
    with pytest.raises(EngineError, match="POST /v1/runs: run r0 is in state steady"):
        client.submit(order())


def test_a_coordinator_that_knows_no_run_has_been_started_anew() -> None:
    client, _seen = talking(in_turn(httpx.Response(404, json={"error": "no run r1 here"})))
    with pytest.raises(EngineError, match="no run r1 here; it was started anew since"):
        client.status("r1")


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(500, text="Internal Server Error"), httpx.Response(500, json=["no object"])],
    ids=["text", "a list"],
)
def test_an_error_without_a_sentence_is_told_as_it_is(answer: httpx.Response) -> None:
    client, _seen = talking(in_turn(answer))
    with pytest.raises(EngineError, match="GET /v1/runs/r1: HTTP 500"):
        client.status("r1")


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1, 2]", b""])
def test_an_answer_of_something_else_is_no_coordinators(body: bytes) -> None:
    client, _seen = talking(in_turn(httpx.Response(200, content=body)))
    with pytest.raises(EngineError, match="is no coordinator"):
        client.status("r1")


def test_workers_are_waited_for_and_named_when_they_do_not_come(clock: FakeTime) -> None:
    one = {"id": "a", "region": "syd", "state": "idle"}
    none: dict[str, Any] = {"version": "1", "workers": [], "refused": {}, "run": None}
    full = httpx.Response(200, json={**none, "workers": [one, {**one, "region": "cdg"}]})
    client, _seen = talking(in_turn(httpx.Response(200, json=none), full))
    client.wait_for_workers(("cdg", "syd"), 1, 30)

    two = {**none, "workers": [one, {**one, "id": "b"}], "refused": {"c": "runs another version"}}
    client, _seen = talking(in_turn(httpx.Response(200, json=two)))
    with pytest.raises(
        EngineError,
        match=r"within 30 s: cdg \(0 of 1\); present are syd; c runs another version",
    ):
        client.wait_for_workers(("cdg", "syd"), 1, 30)
    assert 130.0 < clock.now_s < 131.0


def test_following_ends_with_the_final_state_of_its_own_segment(clock: FakeTime) -> None:
    told = [status("done", 0), status("steady", 1), status("draining", 1), status("stopped", 1)]
    client, _seen = talking(in_turn(*told))
    ticks: list[str] = []
    last = client.follow("r1", 1, lambda s: ticks.append(s.state))
    assert last.state == "stopped"
    assert ticks == ["done", "steady", "draining", "stopped"]
    assert clock.now_s == 100.0 + 2 * module.POLL_S + module.DRAINING_POLL_S


def order() -> RunOrder:
    plan = load_plan(None, {"regions": ["cdg"], "deployments": ["single"]})
    target: dict[str, Any] = {"cdg": {"single": {"url": "http://127.0.0.1:1"}}}
    return RunOrder.model_validate({"run_id": "r1", "plan": plan.to_json(), "targets": target})


@pytest.mark.contract
def test_a_coordinator_hears_of_us_while_we_are_busy() -> None:
    """Judging a segment takes longer than a coordinator is patient with a silent driver."""
    heard = threading.Semaphore(0)

    class Listens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert (self.path, self.headers["Authorization"]) == ("/v1/status", "Bearer t")
            heard.release()
            self.send_response(503)  # an answer that is none does not end it
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with connect(f"http://127.0.0.1:{server.server_port}", "t", beat_s=0.05):
        assert all(heard.acquire(timeout=10) for _ in range(3))
    server.shutdown()
    server.server_close()


@pytest.mark.contract
def test_a_coordinator_hears_of_us_as_soon_as_it_is_known_where_it_is() -> None:
    """While the rest is deployed: a driver that is killed then has been heard already."""
    known = iter([False, False, True])
    heard = threading.Semaphore(0)

    class Listens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.release()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listens)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def find() -> str:
        if not next(known, True):
            raise WorldError("no edge yet")
        return f"http://127.0.0.1:{server.server_port}"

    with heard_by(find, "t", 0.02):
        assert heard.acquire(timeout=10)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (
            httpx.ConnectError("[Errno -2] Name or service not known"),
            r"its name does not resolve: has the app addresses\? \(fly ips list -a gen\)",
        ),
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
            r"its certificate is not there yet \(fly certs list -a gen\)",
        ),
        (httpx.ConnectTimeout("timed out"), r"its machine may have died, .*: timed out"),
        (httpx.Response(503), "HTTP 503: the edge has no machine to send it to"),
    ],
    ids=["name", "certificate", "silence", "edge"],
)
def test_a_fresh_name_is_waited_for_and_told_how_far_it_came(
    trouble: Answer, told: str, clock: FakeTime
) -> None:
    client, seen = talking(in_turn(trouble, trouble, httpx.Response(200)))
    client.wait_until_there(60, "gen")
    assert len(seen) == 3
    client, _seen = talking(in_turn(trouble))
    with pytest.raises(EngineError, match=f"no answer within 60 s; {told}"):
        client.wait_until_there(60, "gen")
    assert clock.now_s == pytest.approx(160, abs=3)
