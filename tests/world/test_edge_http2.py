"""HTTP/2 at the edge over real TLS: streams, windows, replays, resets, and what is refused."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st
from test_edge_proxy import Stage, World, replayed_to, until

from loadtest.world.edge.authority import WorldAuthority
from loadtest.world.edge.http2 import request_head
from loadtest.world.edge.packing import BlockReader, FieldPacker
from loadtest.world.edge.proxy import EdgeListener
from loadtest.world.edge.types import EdgeSettings

Headers = list[tuple[bytes, bytes]]
GET: Headers = [
    (b":method", b"GET"),
    (b":authority", b"app.fly.dev"),
    (b":scheme", b"https"),
    (b":path", b"/a?b=c"),
]
POST: Headers = [(b":method", b"POST"), *GET[1:]]


class Answer:
    """What came on one stream."""

    def __init__(self) -> None:
        self.heads: list[dict[bytes, bytes]] = []
        self.body = b""
        self.over = False
        self.code: int | None = None

    @property
    def status(self) -> bytes:
        return self.heads[-1][b":status"]


class Client:
    """A client that hides nothing of the frames; it gives no window back unless told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.reads = True
        self.goodbye: int | None = None
        self.task = asyncio.create_task(self._read())

    async def ask(self, headers: Headers = GET, body: bytes | None = None) -> int:
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.h2.send_headers(number, headers, end_stream=body is None)
        if body is not None:
            sent = 0
            while sent < len(body):
                await until(lambda: self.h2.local_flow_control_window(number) > 0)
                part = body[sent : sent + min(self.h2.local_flow_control_window(number), 16_384)]
                self.h2.send_data(number, part)
                sent += len(part)
                await self.flush()
            self.h2.send_data(number, b"", end_stream=True)
        await self.flush()
        return number

    async def answer(self, number: int) -> Answer:
        await until(lambda: self.answers[number].over)
        return self.answers[number]

    async def get(self, headers: Headers = GET, body: bytes | None = None) -> Answer:
        return await self.answer(await self.ask(headers, body))

    async def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def _read(self) -> None:
        while data := await self.reader.read(65_536):
            for event in self.h2.receive_data(data):
                self._take(event)
            await self.flush()

    def _take(self, event: Any) -> None:
        if isinstance(event, events.ConnectionTerminated):
            self.goodbye = event.error_code
        answer = self.answers.get(getattr(event, "stream_id", 0))
        if answer is None:
            return
        if isinstance(event, events.ResponseReceived | events.InformationalResponseReceived):
            answer.heads.append(dict(event.headers))
        elif isinstance(event, events.DataReceived):
            answer.body += event.data
            if self.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            answer.over = True
        elif isinstance(event, events.StreamReset):
            answer.over, answer.code = True, event.error_code


class SecureStage(Stage):
    """The edge with TLS, and clients of HTTP/2."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.authority = WorldAuthority(folder)
        self.tasks: list[asyncio.Task[None]] = []

    async def open_world(self, world: World, settings: EdgeSettings | None = None) -> None:
        self.edge = EdgeListener("syd", world, settings)
        self.port = await self.edge.listen("app", ssl_context=self.authority.context("app"))

    async def speaker(self, *protocols: str) -> Client:
        trust = ssl.create_default_context(cafile=str(self.authority.file))
        trust.set_alpn_protocols(list(protocols or ("h2",)))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trust, server_hostname="app.fly.dev"
        )
        self.writers.append(writer)
        client = Client(reader, writer)
        self.tasks.append(client.task)
        return client

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await super().close()


Play = Callable[[Callable[[SecureStage], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scene: Callable[[SecureStage], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            stage = SecureStage(tmp_path)
            async with asyncio.timeout(20):
                try:
                    await scene(stage)
                finally:
                    await stage.close()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(whole())

    return run


@pytest.mark.contract
class TestStreams:
    def test_a_request_reaches_the_machine_as_http_1_with_flys_headers(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            machine = await stage.machine("m1", "syd")
            await stage.open(machine)
            client = await stage.speaker("h2", "http/1.1")
            answer = await client.get([*GET, (b"cookie", b"a=1"), (b"cookie", b"b=2")])
            assert (answer.status, answer.body) == (b"200", b"ok")
            assert answer.heads[-1][b"fly-request-id"].endswith(b"-syd")
            (seen,) = machine.seen
            assert seen.head.startswith(b"GET /a?b=c HTTP/1.1\r\nhost: app.fly.dev\r\n")
            assert seen.header("cookie") == "a=1; b=2"
            assert seen.header("X-Forwarded-Proto") == "https"
            assert seen.header("Via") == "2 fly.io"

        play(scene)

    def test_one_connection_carries_requests_side_by_side(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            machine = await stage.machine("m1", "syd")
            await stage.open(machine)
            client = await stage.speaker()
            numbers = [await client.ask() for _ in range(50)]
            answers = [await client.answer(number) for number in numbers]
            assert {answer.body for answer in answers} == {b"ok"}
            assert machine.connections > 1, "machines are asked in HTTP/1.1, one at a time"

        play(scene)

    @pytest.mark.parametrize("size", [0, 1, 300_000])
    def test_bodies_go_through_whole_both_ways(self, play: Play, size: int) -> None:
        async def scene(stage: SecureStage) -> None:
            def echo(seen: Any) -> bytes:
                body = seen.body or b"-"
                head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

            machine = await stage.machine("m1", "syd", answer=echo)
            await stage.open(machine)
            client = await stage.speaker()
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            answer = await client.get(POST, body)
            assert answer.body == (body or b"-")
            assert b"content-length" not in answer.heads[-1]
            assert machine.seen[0].header("transfer-encoding") == "chunked"

        play(scene)

    def test_a_write_is_replayed_with_its_body(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            near = await stage.machine("m1", "syd", answer=replayed_to("cdg"))
            far = await stage.machine("m2", "cdg")
            await stage.open(near, far)
            client = await stage.speaker()
            answer = await client.get(POST, b"soup")
            assert answer.body == b"ok"
            assert far.seen[0].body == b"soup"
            assert "region=syd" in (far.seen[0].header("fly-replay-src") or "")

        play(scene)

    def test_a_client_that_does_not_read_holds_its_own_stream_back_alone(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            size = 1_000_000
            big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
            machine = await stage.machine(
                "m1",
                "syd",
                answer=lambda seen: big if b"/big" in seen.head else b"HTTP/1.1 204 N\r\n\r\n",
            )
            await stage.open(machine)
            client = await stage.speaker()
            client.reads = False
            number = await client.ask([*GET[:3], (b":path", b"/big")])
            await until(lambda: len(client.answers[number].body) == 65_535)
            assert (await client.get()).status == b"204"
            client.h2.increment_flow_control_window(size)
            client.h2.increment_flow_control_window(size, number)
            await client.flush()
            assert len((await client.answer(number)).body) == size

        play(scene)

    def test_a_stream_that_the_client_resets_ends_alone(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            asked = asyncio.Event()

            async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                asked.set()
                await reader.read()
                writer.close()

            machine = await stage.machine("m1", "syd")
            good, server = machine.port, await asyncio.start_server(never, "127.0.0.1", 0)
            machine.port = server.sockets[0].getsockname()[1]
            await stage.open(machine)
            client = await stage.speaker()
            number = await client.ask()
            await asked.wait()
            client.h2.reset_stream(number, ErrorCodes.CANCEL)
            await client.flush()
            machine.port = good
            assert (await client.get()).body == b"ok"
            server.close()

        play(scene)

    def test_an_answer_that_breaks_off_resets_its_stream(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nconnection: close\r\n\r\nhalf"
            machine = await stage.machine("m1", "syd", answer=lambda _: cut)
            await stage.open(machine)
            client = await stage.speaker()
            answer = await client.get()
            assert (answer.body, answer.code) == (b"half", ErrorCodes.INTERNAL_ERROR)

        play(scene)

    def test_what_is_no_http_2_is_told_by_goaway(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            await stage.open(await stage.machine("m1", "syd"))
            client = await stage.speaker()
            await client.get()
            client.writer.write(b"\x00\x00\x00\x09\x00\x00\x00\x00\x01")  # CONTINUATION of nothing
            await until(lambda: client.goodbye == ErrorCodes.PROTOCOL_ERROR)
            await client.task

        play(scene)

    def test_a_client_that_offers_http_1_alone_gets_it(self, play: Play) -> None:
        async def scene(stage: SecureStage) -> None:
            machine = await stage.machine("m1", "syd")
            await stage.open(machine)
            await stage.edge.listen("app", port=0)  # plain HTTP beside it
            client = await stage.speaker("http/1.1")
            client.task.cancel()
            client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert stage.edge.counters()["app"].requests == 1

        play(scene)


FIELDS = st.tuples(
    st.sampled_from([b"date", b"server", b"x-a", b"x-bee"]),
    st.sampled_from([b"1", b"two", b"x" * 90]),
)
HEADS = st.lists(st.lists(FIELDS, max_size=5), min_size=1, max_size=20)
SIZES = st.dictionaries(st.integers(0, 19), st.sampled_from([0, 60, 120, 4_096]))


@given(heads=HEADS, sizes=SIZES)
def test_what_an_edge_packs_and_unpacks_is_what_the_library_does(
    heads: list[list[tuple[bytes, bytes]]], sizes: dict[int, int]
) -> None:
    """Whatever is in the table of either side, and however small it is made."""
    client, reader, reference = Encoder(), BlockReader(65_536), Decoder()
    edge, browser = FieldPacker(), Decoder()
    for number, fields in enumerate(heads):
        if number in sizes:
            client.header_table_size = edge.header_table_size = sizes[number]
        for _ in range(2):
            block = client.encode(fields)
            assert reader.decode(block, raw=True) == reference.decode(block, raw=True)
            assert browser.decode(edge.encode(fields), raw=True) == fields
    assert not browser.header_table.dynamic_entries


def test_a_head_without_an_authority_or_a_path_is_refused() -> None:
    assert request_head(GET, ended=True)[1] == ""
    assert "authority" in request_head([GET[0], *GET[2:]], ended=True)[1]
    assert "tunnel" in request_head([(b":method", b"CONNECT"), GET[1]], ended=True)[1]


def test_a_body_of_unknown_length_goes_on_in_chunks() -> None:
    head, _ = request_head(POST, ended=False)
    assert head.chunked
    head, _ = request_head([*POST, (b"content-length", b"2")], ended=False)
    assert not head.chunked
