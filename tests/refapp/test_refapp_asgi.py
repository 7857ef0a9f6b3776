"""The ASGI middleware, driven by hand: no server, no socket."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from loadtest.refapp.regional import AsgiApp, Message, Receive, RegionalMiddleware, Scope, Send
from loadtest.refapp.regional_policy import RegionalSettings, note_error

FAR = RegionalSettings("cdg", "syd")
NEAR = RegionalSettings("cdg", "cdg")
NOW = 1_700_000_000.0


class ReadOnlyError(Exception):
    sqlstate = "25006"


@dataclass
class Answer:
    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages[1:])

    def header(self, name: str) -> list[str]:
        return [v.decode() for k, v in self.messages[0]["headers"] if k.decode().lower() == name]


def visit(
    app: AsgiApp,
    settings: RegionalSettings | None,
    method: str = "GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    kind: str = "http",
) -> Answer:
    answer = Answer()

    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await asyncio.Future()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    scope = {"type": kind, "method": method, "path": "/", "headers": headers or []}
    asyncio.run(RegionalMiddleware(app, settings, lambda: NOW)(scope, receive, send))
    return answer


def answering(
    *chunks: bytes,
    status: int = 200,
    headers: list[tuple[bytes, bytes]] | None = None,
    error: Exception | None = None,
) -> AsgiApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if chunks:
            await send({"type": "http.response.start", "status": status, "headers": headers or []})
        for position, chunk in enumerate(chunks):
            more = position + 1 < len(chunks)
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
        if error is not None:
            raise error

    return app


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the app must not run")


def test_a_write_far_away_is_replayed_before_the_app_runs() -> None:
    answer = visit(never, FAR, "POST")
    assert (answer.status, answer.body) == (409, b"")
    assert answer.header("fly-replay") == ["region=cdg;state=http_method"]
    assert answer.header("fly-region") == ["syd"]
    assert answer.header("set-cookie") == []


def test_a_read_within_the_window_is_replayed() -> None:
    cookies = [(b"cookie", b"a=b"), (b"cookie", b"fly-replay-threshold=1700000003.5")]
    answer = visit(never, FAR, headers=cookies)
    assert answer.header("fly-replay") == ["region=cdg;state=threshold"]


def test_a_read_passes_and_is_stamped() -> None:
    answer = visit(answering(b"hello"), FAR)
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.header("fly-region") == ["syd"]


def test_a_region_of_the_app_s_own_is_kept() -> None:
    answer = visit(answering(b"x", headers=[(b"Fly-Region", b"lhr")]), FAR)
    assert answer.header("fly-region") == ["lhr"]


@pytest.mark.parametrize(
    ("method", "source", "cookies"),
    [
        ("POST", None, 1),
        ("POST", b"instance=i;region=syd;t=1;state=http_method", 1),
        ("GET", b"instance=i;region=syd;t=1;state=captured_write", 1),
        ("GET", b"instance=i;region=syd;t=1;state=threshold", 0),
        ("GET", None, 0),
    ],
)
def test_the_primary_region_sets_the_cookie(
    method: str, source: bytes | None, cookies: int
) -> None:
    headers = [(b"fly-replay-src", source)] if source else []
    answer = visit(answering(b"ok", headers=[(b"set-cookie", b"own=1")]), NEAR, method, headers)
    assert len(answer.header("set-cookie")) == 1 + cookies
    if cookies:
        assert answer.header("set-cookie")[1].startswith("fly-replay-threshold=1700000005.000;")


def test_a_captured_write_is_replayed() -> None:
    answer = visit(answering(error=ReadOnlyError()), FAR)
    assert answer.status == 409
    assert answer.header("fly-replay") == ["region=cdg;state=captured_write"]


def test_an_error_page_gives_way_to_the_replay() -> None:
    """A framework that answers 500 and then raises the error, as Starlette does."""
    answer = visit(answering(b"sorry", status=500, error=ReadOnlyError()), FAR)
    assert (answer.status, answer.body) == (409, b"")


def test_an_error_page_of_another_error_comes_through() -> None:
    answer = Answer()
    app = answering(b"sor", b"ry", status=500, error=ValueError("boom"))
    with pytest.raises(ValueError, match="boom"):
        answer = visit_into(answer, app, FAR)
    assert (answer.status, answer.body) == (500, b"sorry")


def test_a_failure_without_an_error_comes_through() -> None:
    answer = visit(answering(b"down", status=503), FAR)
    assert (answer.status, answer.body) == (503, b"down")


@pytest.mark.parametrize("told", [None, ReadOnlyError()])
def test_an_app_that_waits_until_its_error_page_has_left_ends(told: ReadOnlyError | None) -> None:
    """As Quart does; the server is not asked again before the app has said all."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        listening = asyncio.create_task(listen())
        if told is not None:
            note_error(scope, told)
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        await listening

    answer = visit(app, FAR)
    assert (answer.status, answer.body) == ((500, b"sorry") if told is None else (409, b""))


def test_a_long_error_page_is_not_held_for_ever() -> None:
    answer = Answer()
    app = answering(b"x" * 70_000, b"y", status=500, error=ReadOnlyError())
    with pytest.raises(ReadOnlyError):
        visit_into(answer, app, FAR)
    assert answer.status == 500


def test_an_answer_that_has_begun_is_not_replaced() -> None:
    answer = Answer()
    with pytest.raises(ReadOnlyError):
        visit_into(answer, answering(b"half", error=ReadOnlyError()), FAR)
    assert (answer.status, answer.body) == (200, b"half")


def test_the_primary_region_never_replays_to_itself() -> None:
    with pytest.raises(ReadOnlyError):
        visit(answering(error=ReadOnlyError()), NEAR)


def test_what_the_proxy_gave_back_is_run() -> None:
    headers = [(b"fly-replay-failed", b"reason=timeout")]
    assert visit(answering(b"ok"), FAR, "POST", headers).status == 200
    with pytest.raises(ReadOnlyError):
        visit(answering(error=ReadOnlyError()), FAR, "POST", headers)


def test_websockets_pass() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    visit(app, FAR, kind="websocket", headers=[(b"cookie", b"fly-replay-threshold=1700000003")])
    assert seen == ["websocket"]


def test_without_regions_nothing_happens_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FLY_REGION", raising=False)
    monkeypatch.setenv("PRIMARY_REGION", "cdg")
    with caplog.at_level(logging.WARNING):
        answer = visit(answering(b"ok"), None, "POST")
    assert (answer.status, answer.header("fly-region")) == (200, [])
    assert len(caplog.records) == 1


def visit_into(answer: Answer, app: AsgiApp, settings: RegionalSettings) -> Answer:
    """Visit an app that raises, keeping what was sent before."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.messages.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(RegionalMiddleware(app, settings, lambda: NOW)(scope, receive, send))
    return answer
