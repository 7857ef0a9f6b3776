"""The edge over real sockets: framing, routing, replays, pools, and breakage."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from loadtest.errors import WorldError
from loadtest.fly.config import parse_app_config
from loadtest.fly.port_options import ReplayCache
from loadtest.fly.replay import REPLAY_CONTENT_TYPE
from loadtest.world.edge.proxy import EdgeListener
from loadtest.world.edge.types import (
    AnswerOptions,
    AppSettings,
    Backend,
    EdgeSettings,
    StaticFolder,
)
from loadtest.world.machines.answers import answer_options

pytestmark = pytest.mark.contract

DEADLINE_S = 20.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Seen:
    """One request as a machine got it."""

    head: bytes
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode().partition("?")[0]

    def header(self, name: str) -> str | None:
        match = re.search(rf"(?im)^{name}: (.*?)\r?$", self.head.decode("latin-1"))
        return match.group(1) if match else None


Answer = Callable[[Seen], bytes]


@dataclass
class Machine:
    """A machine that answers every request with what a function says; None closes silently."""

    machine_id: str
    region: str
    answer: Callable[[Seen], bytes | None] = lambda _seen: OK
    early: bool = False
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    port: int = 0

    async def start(self) -> Machine:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        number = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = b"" if self.early else await read_body(reader, head)
                seen = Seen(head, body, number)
                self.seen.append(seen)
                answer = self.answer(seen)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if sized := re.search(rb"(?i)content-length: (\d+)", head):
        return await reader.readexactly(int(sized.group(1)))
    if not re.search(rb"(?i)transfer-encoding: chunked", head):
        return b""
    body = b""
    while size := int((await reader.readline()).strip(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()
    return body


@dataclass
class World:
    """Machines in order of nearness, and the edge under test (in syd)."""

    machines: dict[str, list[Machine]]
    settings: AppSettings = field(default_factory=AppSettings)
    answers: AnswerOptions | None = None
    sessions: tuple[ReplayCache, ...] = ()
    statics: tuple[StaticFolder, ...] = ()

    def app_settings(self, app: str) -> AppSettings | None:
        return self.settings if app in self.machines else None

    def candidates(self, app: str, edge_region: str) -> Sequence[Backend]:
        return [self._backend(machine) for machine in self.machines[app]]

    def backend(self, app: str, machine_id: str, edge_region: str) -> Backend | None:
        for machine in self.machines.get(app, []):
            if machine.machine_id == machine_id:
                return self._backend(machine)
        return None

    def _backend(self, machine: Machine) -> Backend:
        return Backend(
            machine.machine_id, machine.region, "127.0.0.1", machine.port,
            answers=self.answers, sessions=self.sessions, statics=self.statics,
        )  # fmt: skip


@dataclass
class Reply:
    status: int
    head: str
    body: bytes


class Client:
    """A raw HTTP client: what a test writes is what is sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, head_only: bool = False) -> Reply:
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        lowered = head.lower()
        body = b""
        if not head_only and status not in (204, 304) and status >= 200:
            if b"content-length" in lowered or b"chunked" in lowered:
                body = await read_body(self.reader, head)
            else:
                body = await self.reader.read()
        return Reply(status, lowered.decode("latin-1"), body)

    async def get(self, path: str = "/", headers: str = "") -> Reply:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        return await self.reply()

    async def post(self, body: bytes) -> Reply:
        await self.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        return await self.reply()


class Stage:
    """Starts machines, an edge and clients; takes all of them down."""

    def __init__(self) -> None:
        self.machines: list[Machine] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.edge: EdgeListener
        self.port = 0

    async def machine(self, machine_id: str, region: str, **how: Any) -> Machine:
        machine = await Machine(machine_id, region, **how).start()
        self.machines.append(machine)
        return machine

    async def open(
        self, *machines: Machine, settings: EdgeSettings | None = None, **app: Any
    ) -> None:
        await self.open_world(World({"app": list(machines)}, AppSettings(**app)), settings)

    async def open_world(self, world: World, settings: EdgeSettings | None = None) -> None:
        self.edge = EdgeListener("syd", world, settings)
        self.port = await self.edge.listen("app")

    async def client(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        self.writers.append(writer)
        return Client(reader, writer)

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()
        await self.edge.close()
        for machine in self.machines:
            machine.server.close()
        await until(lambda: not any(machine.open_now for machine in self.machines))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Play:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scene: Callable[[Stage], Awaitable[None]]) -> None:
        async def whole() -> None:
            stage = Stage()
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await scene(stage)
            finally:
                async with asyncio.timeout(DEADLINE_S):
                    await stage.close()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_coroutine(whole()))

    return run


async def _coroutine(awaitable: Coroutine[Any, Any, None]) -> None:
    await awaitable


def with_header(header: str, status: int = 409) -> Callable[[Seen], bytes]:
    return lambda _seen: f"HTTP/1.1 {status} X\r\n{header}\r\nContent-Length: 3\r\n\r\nno!".encode()


def replayed_to(region: str) -> Callable[[Seen], bytes]:
    return with_header(f"fly-replay: region={region};state=s")


# -- passing on ------------------------------------------------------------------------------


def test_a_request_reaches_the_nearest_machine_with_flys_headers(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        near, far = await stage.machine("m1", "syd"), await stage.machine("m2", "cdg")
        await stage.open(near, far)
        client = await stage.client()
        reply = await client.get(
            "/a?b=c",
            "Fly-Region: lie\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: x-hop\r\nX-Hop: 1\r\n",
        )
        assert (reply.status, reply.body) == (200, b"ok")
        assert re.search(r"fly-request-id: [0-9a-z]{26}-syd\r\n", reply.head)
        assert "via: 1.1 fly.io" in reply.head
        (seen,) = near.seen
        assert seen.head.startswith(b"GET /a?b=c HTTP/1.1\r\n")
        assert seen.header("Fly-Region") == "syd"
        assert seen.header("Fly-Client-IP") == "127.0.0.1"
        assert seen.header("X-Forwarded-For") == "9.9.9.9, 127.0.0.1, 127.0.0.1"
        assert seen.header("Host") == "x"
        assert seen.header("X-Hop") is None
        assert not far.seen

    play(scene)


def test_headers_of_answers_are_those_that_the_app_asks_for(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        answer = b"HTTP/1.1 200 X\r\nServer: shop\r\nX-Age: 1\r\nContent-Length: 2\r\n\r\nok"
        machine = await stage.machine("m1", "syd", answer=lambda _seen: answer)
        toml = (
            "[http_service.http_options.response.headers]\nX-Age = ['2', '3']\nVia = false\n"
            "Content-Length = '9'\n"
        )
        for pristine in (False, True):
            more = "[http_service.http_options.response]\npristine = true\n" if pristine else ""
            config = parse_app_config("[http_service]\n" + more + toml, Path("fly.toml"))
            options = answer_options(config.machine_config("app", image="i"))
            await stage.open_world(World({"app": [machine]}, answers=options))
            reply = await (await stage.client()).get()
            await stage.edge.close()
            own = [line for line in reply.head.split("\r\n")[1:] if line]
            assert [line for line in own if line.startswith("x-")] == ["x-age: 2", "x-age: 3"]
            assert "content-length: 2" in own
            assert ("server: shop" in own) is pristine
            assert any(line.startswith("fly-request-id: ") for line in own) is not pristine
            assert not any(line.startswith("via: ") for line in own)

    play(scene)


def test_an_app_that_asks_for_nothing_keeps_its_answers() -> None:
    config = parse_app_config("[http_service]\n", Path("fly.toml"))
    assert answer_options(config.machine_config("app", image="i")) is None


def test_files_of_statics_come_from_the_edge_and_all_else_from_the_app(
    play: Play, tmp_path: Path
) -> None:
    (tmp_path / "a.css").write_text("a{}")

    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "cdg")
        await stage.open_world(World({"app": [machine]}, statics=(StaticFolder("/s", tmp_path),)))
        client = await stage.client()
        reply = await client.get("/s/a.css?v=1")
        assert (reply.status, reply.body) == (200, b"a{}")
        assert {"content-type: text/css", "fly-region: syd"} <= set(reply.head.split("\r\n"))
        assert not machine.seen
        await client.send(b"HEAD /s/a.css HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "content-length: 3\r\n" in (await client.reply(head_only=True)).head
        for path in ("/s/b.css", "/a.css", "/s/../a.css"):
            assert (await client.get(path)).body == b"ok"
        assert len(machine.seen) == 3

    play(scene)


def remembering(region: str, *headers: str) -> Callable[[Seen], bytes]:
    lines = (f"fly-replay: region={region}", *headers)
    return with_header("\r\n".join(lines))


@pytest.mark.parametrize("json_form", [False, True])
def test_a_replay_that_is_remembered_leads_there_at_once(play: Play, json_form: bool) -> None:
    async def scene(stage: Stage) -> None:
        cached = ("fly-replay-cache: /shop/*", "fly-replay-cache-ttl-secs: 60")
        answer = remembering("cdg", *cached, "fly-replay-cache-allow-bypass: yes")
        if json_form:
            cache = '"cache": {"prefix": "/shop/*", "ttl": 60, "allow_bypass": true}'
            body = f'{{"region": "cdg", {cache}}}'.encode()
            head = f"content-type: {REPLAY_CONTENT_TYPE}\r\ncontent-length: {len(body)}".encode()

            def answer(_seen: Seen) -> bytes:
                return b"HTTP/1.1 200 X\r\n" + head + b"\r\n\r\n" + body

        near = await stage.machine("m1", "syd", answer=answer)
        far = await stage.machine("m2", "cdg")
        await stage.open(near, far)
        client = await stage.client()
        for path in ("/shop/a", "/shop/b?c=/", "/other", "/shop/"):
            assert (await client.get(path)).status == 200
        assert [seen.path for seen in near.seen] == ["/shop/a", "/other"]
        status = [seen.header("Fly-Replay-Cache-Status") for seen in far.seen]
        assert status == ["miss", "hit", None, "hit"], "what is kept has to hold for the request"
        sources = [seen.header("Fly-Replay-Src") is not None for seen in far.seen]
        assert sources == [True, False, True, False]
        skip = "Fly-Replay-Cache-Control: skip\r\nFly-Replay-Cache-Status: hit\r\n"
        await client.get("/shop/a", skip)
        assert near.seen[-1].header("Fly-Replay-Cache-Status") == "bypass"

    play(scene)


def test_what_is_remembered_is_forgotten_when_its_target_says_so_or_is_gone(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        near = await stage.machine("m1", "syd")
        gone = "fly-replay-cache: invalidate"
        far = await stage.machine("m2", "cdg", answer=remembering("syd", gone))
        world = World({"app": [near, far]})
        cached = ("fly-replay-cache: /", "fly-replay-cache-ttl-secs: 60")
        near.answer = remembering("cdg", *cached)
        await stage.open_world(world)
        client = await stage.client()
        far.answer = lambda _seen: OK
        await client.get()
        near.answer = lambda _seen: OK
        await client.get()
        assert (len(near.seen), len(far.seen)) == (1, 2)
        far.answer = remembering("syd", gone)
        assert (await client.get()).status == 200
        assert (await client.get()).status == 200
        assert (len(near.seen), len(far.seen)) == (3, 3), "forgotten"
        near.answer, far.answer = remembering("cdg", *cached), lambda _seen: OK
        await client.get()
        near.answer = lambda _seen: OK
        world.machines["app"] = [near]
        assert (await client.get()).status == 200
        assert (len(near.seen), len(far.seen)) == (5, 4), "there is nobody any more"

    play(scene)


def test_a_session_that_fly_toml_names_is_remembered_by_its_value(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        near = await stage.machine("m1", "syd", answer=remembering("cdg"))
        far = await stage.machine("m2", "cdg")
        rules = (ReplayCache("/", 60, "cookie", "sid"), ReplayCache("/api", 60, "header", "X-Key"))
        await stage.open_world(World({"app": [near, far]}, sessions=rules))
        client = await stage.client()
        for path, headers in (
            ("/", "Cookie: a=b; sid=one\r\n"),
            ("/page", "Cookie: sid=one\r\n"),
            ("/page", "Cookie: sid=two\r\n"),
            ("/page", "X-Key: k\r\n"),
            ("/api/a", "X-Key: k\r\n"),
            ("/api/b", "x-key: k\r\n"),
        ):
            assert (await client.get(path, headers)).status == 200
        assert [seen.path for seen in near.seen] == ["/", "/page", "/page", "/api/a"]

    play(scene)


@pytest.mark.parametrize("words", [";state=s", ";timeout=5s", ";fallback=force_self"])
def test_a_replay_with_a_purpose_of_its_own_is_not_remembered(play: Play, words: str) -> None:
    async def scene(stage: Stage) -> None:
        cached = ("fly-replay-cache: /", "fly-replay-cache-ttl-secs: 60")
        near = await stage.machine("m1", "syd", answer=remembering(f"cdg{words}", *cached))
        far = await stage.machine("m2", "cdg")
        await stage.open(near, far)
        client = await stage.client()
        for _ in range(2):
            await client.get()
        assert len(near.seen) == 2
        assert far.seen[-1].header("Fly-Replay-Cache-Status") is None

    play(scene)


def test_connections_are_kept(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        await stage.open(machine)
        for _ in range(3):  # three clients, one after the other
            client = await stage.client()
            await client.get()
            await client.get()
        assert machine.connections == 1
        counters = stage.edge.counters()["app"]
        assert (counters.requests, counters.upstream_connections) == (6, 1)

    play(scene)


def test_every_request_has_a_connection_of_its_own_where_none_are_kept(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        await stage.open(machine, new_connection_share=1.0)
        client = await stage.client()
        for _ in range(3):
            assert (await client.get()).status == 200
        assert machine.connections == 3
        assert all(seen.header("Connection") == "close" for seen in machine.seen)
        await until(lambda: machine.open_now == 0)

    play(scene)


def test_a_share_of_the_requests_opens_a_connection_and_the_others_use_one(play: Play) -> None:
    """Those that are opened are closed again, or the others would find ever more of them idle."""

    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        await stage.open(machine, new_connection_share=0.68)
        client = await stage.client()
        for _ in range(100):
            assert (await client.get()).status == 200
        new = [seen.header("Connection") == "close" for seen in machine.seen]
        assert abs(sum(new) - 68) <= 1
        assert machine.connections == sum(new) + 1
        await until(lambda: machine.open_now == 1)

    play(scene)


def test_idle_connections_are_closed_after_their_time(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        await stage.open(machine, settings=EdgeSettings(upstream_idle_s=0.0))
        await (await stage.client()).get()
        await until(lambda: machine.open_now == 0)

    play(scene)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(OK, b"ok", id="sized"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n"
            b"Trailer: t\r\n\r\n",
            b"abcde",
            id="chunked with extension and trailer",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall", b"all", id="until close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nold", b"old", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="204"),
        pytest.param(b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", b"", id="304 with a length"),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, b"ok", id="after an interim"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", id="empty"),
    ],
)
def test_answers_of_every_framing_arrive_whole(play: Play, answer: bytes, body: bytes) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd", answer=lambda _seen: answer)
        await stage.open(machine)
        client = await stage.client()
        for _ in range(2):  # the connection stays usable
            reply = await client.get()
            if reply.status == 103:
                assert "link: </a>" in reply.head
                reply = await client.reply()
            assert reply.body == body

    play(scene)


def test_a_head_request_gets_a_head_and_the_connection_goes_on(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        answer = lambda seen: OK[:-2] if seen.head.startswith(b"HEAD") else OK  # noqa: E731
        machine = await stage.machine("m1", "syd", answer=answer)
        await stage.open(machine)
        client = await stage.client()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "content-length: 2" in (await client.reply(head_only=True)).head
        assert (await client.get()).body == b"ok"
        assert machine.connections == 1

    play(scene)


def test_an_old_client_gets_no_chunks_and_the_end_of_the_connection(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        machine = await stage.machine("m1", "syd", answer=lambda _seen: chunked)
        await stage.open(machine)
        client = await stage.client()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        reply = await client.reply()
        assert "transfer-encoding" not in reply.head
        assert reply.body == b"abc"
        assert machine.seen[0].header("Host") == "app.fly.dev"

    play(scene)


def test_pipelined_requests_are_answered_in_order(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        def answer(seen: Seen) -> bytes:
            path = seen.head.split()[1]
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)

        machine = await stage.machine("m1", "syd", answer=answer)
        await stage.open(machine)
        client = await stage.client()
        await client.send(
            b"".join(
                b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % n
                for n in range(20)
            )
        )
        for n in range(20):
            assert (await client.reply()).body == b"/%d" % n
        assert {seen.body for seen in machine.seen} == {b"abc"}

    play(scene)


def test_large_bodies_pass_both_ways_chunked(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        def echo(seen: Seen) -> bytes:
            size = len(seen.body)
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, seen.body)

        machine = await stage.machine("m1", "syd", answer=echo)
        await stage.open(machine)
        client = await stage.client()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        part = bytes(range(256)) * 256
        for _ in range(40):
            await client.send(b"%x\r\n%b\r\n" % (len(part), part))
        await client.send(b"0\r\n\r\n")
        reply = await client.reply()
        assert reply.body == part * 40
        assert machine.seen[0].header("Transfer-Encoding") == "chunked"

    play(scene)


def test_expect_continue_is_answered_by_the_machine(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd", early=True)
        machine.answer = lambda _seen: b"HTTP/1.1 100 Continue\r\n\r\n"
        await stage.open(machine)
        client = await stage.client()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert (await client.reply()).status == 100

    play(scene)


# -- replays ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 307, 409, 500])
def test_a_replay_is_followed_whatever_the_status(play: Play, status: int) -> None:
    async def scene(stage: Stage) -> None:
        near = await stage.machine(
            "m1", "syd", answer=with_header("Fly-Replay: region=cdg; state=w", status)
        )
        far = await stage.machine("m2", "cdg")
        await stage.open(near, far)
        client = await stage.client()
        for _ in range(2):
            reply = await client.post(b"payload")
            assert (reply.status, reply.body) == (200, b"ok")
        assert far.seen[0].body == b"payload"
        source = far.seen[0].header("fly-replay-src") or ""
        assert re.fullmatch(r"instance=m1;region=syd;t=\d+;state=w", source)
        assert near.seen[0].header("Fly-Request-Id") == far.seen[0].header("Fly-Request-Id")
        assert (near.connections, far.connections) == (1, 1)
        assert stage.edge.counters()["app"].replays == 2

    play(scene)


def test_a_replay_does_not_wait_for_a_body_the_first_machine_ignored(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        near = await stage.machine("m1", "syd", answer=replayed_to("cdg"), early=True)
        far = await stage.machine("m2", "cdg")
        await stage.open(near, far)
        client = await stage.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        await until(lambda: far.connections == 1)
        await client.send(b"def")
        assert (await client.reply()).status == 200
        assert far.seen[0].body == b"abcdef"

    play(scene)


def test_the_json_form_changes_path_and_headers(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        body = (
            b'{"region":"cdg","transform":{"path":"/new","delete_headers":["x-old"],'
            b'"set_headers":[{"name":"x-new","value":"1"}]}}'
        )
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.fly.replay+json\r\n"
        answer += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        near = await stage.machine("m1", "syd", answer=lambda _seen: answer)
        far = await stage.machine("m2", "cdg")
        await stage.open(near, far)
        assert (await (await stage.client()).get("/", "X-Old: 1\r\n")).status == 200
        (seen,) = far.seen
        assert seen.head.startswith(b"GET /new ")
        assert (seen.header("x-old"), seen.header("x-new")) == (None, "1")

    play(scene)


@pytest.mark.parametrize(
    ("directive", "target"),
    [
        ("region=cdg", "m3"),
        ('region="ord,cdg,any"', "m3"),
        ('region="ord,any"', "m1"),
        ("region=eu", "m3"),
        ("instance=m2", "m2"),
        ("prefer_instance=m3", "m3"),
        ("elsewhere=true", "m2"),
        ("app=other", "m9"),
        ("region=cdg;timeout=5s", "m3"),
    ],
)
def test_a_replay_goes_where_it_says(play: Play, directive: str, target: str) -> None:
    async def scene(stage: Stage) -> None:
        def answer(seen: Seen) -> bytes:
            if seen.header("fly-replay-src"):
                return OK
            return with_header(f"fly-replay: {directive}")(seen)

        places = [("m1", "syd"), ("m2", "syd"), ("m3", "cdg"), ("m9", "cdg")]
        m1, m2, m3, m9 = [await stage.machine(*place, answer=answer) for place in places]
        await stage.open_world(World({"app": [m1, m2, m3], "other": [m9]}))
        assert (await (await stage.client()).get()).status == 200
        last = [machine.machine_id for machine in (m1, m2, m3, m9) if machine.seen][-1]
        replayed = [
            machine.machine_id
            for machine in (m1, m2, m3, m9)
            for seen in machine.seen
            if seen.header("fly-replay-src")
        ]
        assert replayed == [target]
        assert last

    play(scene)


@pytest.mark.parametrize(
    ("directive", "status", "code"),
    [
        ("region=ord", 503, "PR01"),
        ("instance=gone", 502, "PR02"),
        ("app=none", 502, "PA04"),
        ("region=cdg,ord", 502, "PA03"),
        ("region=syd", 502, "PA02"),
    ],
)
def test_a_replay_that_cannot_be_is_an_error_with_its_code(
    play: Play, directive: str, status: int, code: str
) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd", answer=with_header(f"fly-replay: {directive}"))
        await stage.open(machine)
        client = await stage.client()
        reply = await client.get()
        assert reply.status == status
        assert f"fly-error-code: {code.lower()}" in reply.head
        assert code in reply.body.decode()
        assert stage.edge.counters()["app"].errors == 1
        if code == "PA02":
            assert len(machine.seen) == 11
        machine.answer = lambda _seen: OK
        assert (await client.get()).status == 200  # the client's connection lives on

    play(scene)


def test_a_body_over_the_cap_passes_but_cannot_be_replayed(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        near, far = await stage.machine("m1", "syd"), await stage.machine("m2", "cdg")
        await stage.open(near, far, settings=EdgeSettings(replay_body_bytes=1_000))
        client = await stage.client()
        assert (await client.post(b"x" * 1_001)).status == 200
        near.answer = replayed_to("cdg")
        assert (await client.post(b"x" * 1_000)).status == 200
        reply = await client.post(b"x" * 1_001)
        assert (reply.status, "PA01" in reply.body.decode()) == (502, True)
        assert len(far.seen) == 1

    play(scene)


def test_a_replay_without_a_candidate_is_given_back_when_asked(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        def answer(seen: Seen) -> bytes:
            if seen.header("fly-replay-failed"):
                return OK
            return with_header("fly-replay: region=ord;fallback=force_self")(seen)

        machine = await stage.machine("m1", "syd", answer=answer)
        await stage.open(machine)
        assert (await (await stage.client()).get()).status == 200
        failed = machine.seen[-1].header("fly-replay-failed") or ""
        assert re.fullmatch(
            r"region=ord;replay_source=m1;reason=no_candidate;elapsed_ms=\d+", failed
        )

    play(scene)


@pytest.mark.parametrize(
    ("header", "target", "status"),
    [
        ("Fly-Prefer-Region: cdg", "m2", 200),
        ("Fly-Prefer-Region: ord", "m1", 200),
        ("Fly-Force-Region: cdg", "m2", 200),
        ("Fly-Force-Region: ord", None, 503),
        ("Fly-Force-Instance-Id: m2", "m2", 200),
        ("Fly-Force-Instance-Id: no", None, 502),
        ("Fly-Prefer-Instance-Id: m2", "m2", 200),
        ("Fly-Force-Region: ?", None, 400),
    ],
)
def test_a_client_may_choose(play: Play, header: str, target: str | None, status: int) -> None:
    async def scene(stage: Stage) -> None:
        machines = [await stage.machine("m1", "syd"), await stage.machine("m2", "cdg")]
        await stage.open(*machines)
        assert (await (await stage.client()).get("/", header + "\r\n")).status == status
        assert [item.machine_id for item in machines if item.seen] == ([target] if target else [])

    play(scene)


# -- when things break -----------------------------------------------------------------------


def test_a_stale_connection_is_replaced_without_the_client_noticing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        machine.answer = lambda seen: None if seen.connection == 1 and len(machine.seen) > 1 else OK
        await stage.open(machine)
        client = await stage.client()
        assert (await client.get()).status == 200
        assert (await client.get()).status == 200
        assert machine.connections == 2

    play(scene)


def test_a_write_is_never_sent_twice(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        machine.answer = lambda seen: None if seen.head.startswith(b"POST") else OK
        await stage.open(machine)
        client = await stage.client()
        await client.get()
        reply = await client.post(b"x")
        assert (reply.status, "PU02" in reply.body.decode()) == (502, True)
        assert sum(seen.head.startswith(b"POST") for seen in machine.seen) == 1
        assert (await client.get()).status == 200

    play(scene)


def test_a_machine_that_takes_no_connection_is_passed_over(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        near, far = await stage.machine("m1", "syd"), await stage.machine("m2", "cdg")
        near.server.close()
        await near.server.wait_closed()
        await stage.open(near, far)
        client = await stage.client()
        assert (await client.post(b"x")).status == 200
        far.server.close()
        far.answer = lambda _seen: None
        reply = await client.get()
        assert (reply.status, "PC07" in reply.body.decode()) == (502, True)

    play(scene)


def test_no_machine_and_no_app_are_told_apart(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        world = World({"app": []})
        await stage.open_world(world)
        client = await stage.client()
        assert (await client.get()).status == 503
        del world.machines["app"]
        assert (await client.get()).status == 502

    play(scene)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-x\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, id="endless head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="bad length"),
    ],
)
def test_a_machine_that_talks_nonsense_is_a_502(play: Play, answer: bytes) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd", answer=lambda _seen: answer)
        await stage.open(machine)
        client = await stage.client()
        assert (await client.get()).status == 502
        machine.answer = lambda _seen: OK
        assert (await client.get()).status == 200

    play(scene)


def test_a_machine_that_never_answers_is_given_up(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd", answer=lambda _seen: b"")
        await stage.open(machine, answer_timeout_s=0.05)
        assert (await (await stage.client()).get()).status == 502

    play(scene)


def test_an_answer_cut_short_breaks_the_clients_connection(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf"
        machine = await stage.machine("m1", "syd", answer=lambda _seen: half)
        await stage.open(machine)
        client, other = await stage.client(), await stage.client()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.get()
        machine.answer = lambda _seen: OK
        assert (await other.get()).status == 200

    play(scene)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, id="not HTTP"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 700_000, 431, id="large head"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000, 431, id="many headers"
        ),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501, id="tunnel"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            id="two lengths",
        ),
    ],
)
def test_a_bad_request_is_refused_and_others_are_not_harmed(
    play: Play, request_bytes: bytes, status: int
) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        await stage.open(machine)
        bad, good = await stage.client(), await stage.client()
        await bad.send(request_bytes)
        reply = await bad.reply()
        assert reply.status == status
        assert "connection: close" in reply.head
        assert (await good.get()).status == 200
        assert len(machine.seen) == 1

    play(scene)


def test_an_upgrade_to_http_2_is_served_as_an_ordinary_request(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        await stage.open(machine)
        client = await stage.client()
        reply = await client.get("/", "Connection: Upgrade\r\nUpgrade: h2c\r\n")
        assert (reply.status, reply.body) == (200, b"ok")
        assert machine.seen[0].header("Upgrade") is None

    play(scene)


def test_an_upgrade_passes_and_bytes_go_both_ways(play: Play) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: upgrade" in head.lower()
        assert b"upgrade: websocket" in head.lower()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nhello"
        )
        while (data := await reader.read(100)) and data != b"bye":
            writer.write(data.upper())
        writer.close()

    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        machine.port = server.sockets[0].getsockname()[1]
        await stage.open(machine)
        client = await stage.client()
        client.writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: y\r\n\r\nearly"
        )
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nupgrade: websocket\r\n" in head.lower()
        assert b"Sec-WebSocket-Accept: x" in head
        assert await client.reader.readexactly(10) == b"helloEARLY"
        client.writer.write(b"a" * 200_000)
        assert await client.reader.readexactly(200_000) == b"A" * 200_000
        client.writer.write(b"bye")
        assert await client.reader.read() == b""
        assert stage.edge.counters()["app"].upstream_connections == 1
        await stage.edge.close()
        await until(lambda: all(writer.is_closing() for writer in writers))
        server.close()

    play(scene)


def test_an_upgrade_that_is_refused_or_replayed_is_an_answer_like_others(play: Play) -> None:
    """Until it is agreed to, the request may still go elsewhere."""
    replay = b"HTTP/1.1 409 C\r\nFly-Replay: region=cdg\r\nContent-Length: 0\r\n\r\n"
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

    async def scene(stage: Stage) -> None:
        near = await stage.machine("m1", "syd", answer=lambda _seen: replay)
        far = await stage.machine("m2", "cdg", answer=lambda _seen: refusal)
        await stage.open(near, far)
        client = await stage.client()
        reply = await client.get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
        assert (reply.status, reply.body) == (403, b"no")
        assert "connection: close" in reply.head
        assert far.seen[0].header("Upgrade") == "websocket"

    play(scene)


def test_a_client_that_leaves_takes_its_request_along(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd", answer=lambda _seen: b"")
        await stage.open(machine)
        client = await stage.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: machine.open_now == 1)
        client.writer.transport.abort()
        await until(lambda: machine.open_now == 0)

    play(scene)


def test_a_client_that_leaves_in_mid_answer_takes_its_connection_with_it(play: Play) -> None:
    """Server-sent events end that way."""
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"

    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd", answer=lambda _seen: endless)
        await stage.open(machine)
        leaver = await stage.client()
        await leaver.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await leaver.reader.readuntil(b"x\r\n")
        leaver.writer.transport.abort()
        await until(lambda: (machine.connections, machine.open_now) == (1, 0))
        machine.answer = lambda _seen: OK
        client = await stage.client()
        assert (await client.get()).body == b"ok"
        assert machine.connections == 2

    play(scene)


def test_a_slow_client_holds_the_machine_back(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        size = 64 * 1024 * 1024
        written = 0

        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            try:
                while written < size:
                    writer.write(bytes(65_536))
                    await writer.drain()
                    written += 65_536
            except ConnectionError:
                pass
            finally:
                writer.close()

        machine = await stage.machine("m1", "syd")
        server = await asyncio.start_server(pour, "127.0.0.1", 0)
        machine.port = server.sockets[0].getsockname()[1]
        await stage.open(machine)
        client = await stage.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        before = -1
        while before != written or not written:  # until nothing moves any more
            before = written
            await asyncio.sleep(0.2)
        assert written < size // 2
        client.writer.transport.abort()
        server.close()

    play(scene)


def test_tls_ends_at_the_edge(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        machine = await stage.machine("m1", "syd")
        await stage.open(machine)
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        await stage.edge.unlisten("app")
        port = await stage.edge.listen("app", ssl_context=context)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        reply = await Client(reader, writer).get()
        assert reply.body == b"ok"
        assert machine.seen[0].header("X-Forwarded-Proto") == "https"
        writer.close()
        await writer.wait_closed()

    play(scene)


def test_a_port_in_use_and_an_app_twice_are_errors_in_words(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.open(await stage.machine("m1", "syd"))
        with pytest.raises(WorldError, match="already"):
            await stage.edge.listen("app")
        with pytest.raises(WorldError, match=f"cannot listen on 127.0.0.1:{stage.port}"):
            await stage.edge.listen("other", port=stage.port)

    play(scene)
