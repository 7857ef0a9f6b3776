"""The links process over real sockets: delays, handshakes, ends, resets, cuts, life-line."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import time
from collections.abc import Awaitable, Callable

import pytest

from loadtest.errors import WorldError
from loadtest.faults import RoadCondition
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl
from loadtest.world.links.lateness import Lateness
from loadtest.world.links.measuring import Ping, PingRide, measure
from loadtest.world.links.probe import MISSING
from loadtest.world.links.relay import LEAD_CEILING_NS

pytestmark = pytest.mark.contract

DEADLINE_S = 20.0
ONE_WAY_NS = 15_000_000
LEAST_RTT_S = 2 * (ONE_WAY_NS - LEAD_CEILING_NS) / 1e9

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Stage:
    """A links process, servers behind links, and clients before them."""

    def __init__(self, control: LinkControl) -> None:
        self.control = control
        self.servers: list[asyncio.Server] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, handler: Handler) -> LinkAddress:
        async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.append(writer)
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handled, "127.0.0.1", 0)
        self.servers.append(server)
        return LinkAddress("127.0.0.1", int(server.sockets[0].getsockname()[1]))

    async def link(
        self, handler: Handler, one_way_ns: int = ONE_WAY_NS
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = await self.control.open("link", await self.serve(handler), one_way_ns)
        return await self.dial(port)

    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        for server in self.servers:
            server.close()
        await self.control.stop()


def play(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def whole() -> None:
        stage = Stage(await LinkControl.start())
        try:
            async with asyncio.timeout(DEADLINE_S):
                await scene(stage)
        finally:
            await stage.close()

    asyncio.run(whole())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def test_a_round_trip_takes_two_ways_and_the_first_one_a_handshake_more() -> None:
    async def scene(stage: Stage) -> None:
        port = await stage.control.open("link", await stage.serve(echo), ONE_WAY_NS)
        began = time.monotonic()
        reader, writer = await stage.dial(port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        assert time.monotonic() - began >= 2 * LEAST_RTT_S
        for _ in range(3):
            began = time.monotonic()
            writer.write(b"b")
            assert await reader.readexactly(1) == b"b"
            assert time.monotonic() - began >= LEAST_RTT_S

    play(scene)


def test_on_a_backhaul_a_new_connection_is_made_where_the_first_bytes_arrive() -> None:
    """A silent caller opens nothing at the far end, and one that speaks waits for no handshake."""
    accepted: list[float] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(time.monotonic())
        await echo(reader, writer)

    async def scene(stage: Stage) -> None:
        address = await stage.serve(answer)
        port = await stage.control.open("link", address, ONE_WAY_NS, kind="backhaul")
        times = []
        for number in range(5):
            await stage.dial(port)  # says nothing
            reader, writer = await stage.dial(port)
            began = time.monotonic()
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            times.append(time.monotonic() - began)
            assert len(accepted) == number + 1
            assert accepted[-1] - began >= LEAST_RTT_S / 2
        assert min(times) >= LEAST_RTT_S
        assert min(times) < 2 * LEAST_RTT_S
        writer.write_eof()
        assert await reader.read() == b""
        await stage.control.retarget("link", None)
        began = time.monotonic()
        reader, writer = await stage.dial(port)
        writer.write(b"a")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert time.monotonic() - began >= LEAST_RTT_S

    play(scene)


def test_a_greeting_comes_two_round_trips_after_the_call() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    async def scene(stage: Stage) -> None:
        port = await stage.control.open("link", await stage.serve(greet), ONE_WAY_NS)
        began = time.monotonic()
        reader, _ = await stage.dial(port)
        assert await reader.read() == b"hello"
        assert time.monotonic() - began >= 2 * LEAST_RTT_S

    play(scene)


def test_a_large_answer_comes_whole_and_in_its_rounds() -> None:
    data = os.urandom(44 * 1024)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(data)

    async def scene(stage: Stage) -> None:
        port = await stage.control.open("link", await stage.serve(answer), ONE_WAY_NS)
        began = time.monotonic()
        reader, writer = await stage.dial(port)
        writer.write(b"?")
        assert await reader.read() == data
        assert time.monotonic() - began >= 4 * LEAST_RTT_S  # handshake, and three rounds

    play(scene)


def test_an_end_of_stream_leaves_the_other_direction_open() -> None:
    async def scene(stage: Stage) -> None:
        reader, writer = await stage.link(echo)
        writer.write(b"last words")
        writer.write_eof()
        assert await reader.read() == b"last words"

    play(scene)


def test_a_reset_reaches_the_other_side() -> None:
    async def scene(stage: Stage) -> None:
        broken = asyncio.Event()

        async def wait_for_reset(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            try:
                await reader.read()
            except ConnectionResetError:
                broken.set()

        _, writer = await stage.link(wait_for_reset)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: close by reset
        writer.transport.abort()
        await broken.wait()

    play(scene)


def test_a_refused_target_is_a_reset_one_round_trip_after_the_call() -> None:
    async def scene(stage: Stage) -> None:
        address = await stage.serve(echo)
        port = await stage.control.open("link", None, ONE_WAY_NS)
        for _ in range(2):
            began = time.monotonic()
            reader, writer = await stage.dial(port)
            writer.write(b"early")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert time.monotonic() - began >= LEAST_RTT_S
            stage.servers[0].close()
            await stage.control.retarget("link", address)  # nobody listens there any more

    play(scene)


def test_new_connections_follow_the_target_and_old_ones_stay() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())

    async def scene(stage: Stage) -> None:
        port = await stage.control.open("link", await stage.serve(echo), 1_000_000)
        old_reader, old_writer = await stage.dial(port)
        old_writer.write(b"a")
        assert await old_reader.readexactly(1) == b"a"
        await stage.control.retarget("link", await stage.serve(shout))
        reader, writer = await stage.dial(port)
        writer.write(b"a")
        old_writer.write(b"b")
        assert (await reader.readexactly(1), await old_reader.readexactly(1)) == (b"A", b"b")

    play(scene)


def test_settling_resets_what_leads_elsewhere_and_nothing_else() -> None:
    async def scene(stage: Stage) -> None:
        first, second = await stage.serve(echo), await stage.serve(echo)
        port = await stage.control.open("link", first, 1_000_000)
        other = await stage.control.open("other", first, 1_000_000)
        stray, _ = await opened(stage, port)
        await stage.control.retarget("link", second)
        right, right_writer = await opened(stage, port)
        whole, _ = await opened(stage, other)
        assert await stage.control.settle(["other"]) == 2
        for reader in (stray, whole):
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        right_writer.write(b"b")
        assert await right.readexactly(1) == b"b"
        assert await stage.control.settle() == 0

    play(scene)


async def opened(stage: Stage, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection that has carried a byte there and back."""
    reader, writer = await stage.dial(port)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    return reader, writer


def test_a_cut_road_holds_bytes_until_it_heals() -> None:
    async def scene(stage: Stage) -> None:
        target = await stage.serve(echo)
        port = await stage.control.open("link", target, 1_000_000, ends=("cdg", "syd"))
        other = await stage.control.open("other", target, 1_000_000, ends=("cdg", "ord"))
        reader, writer = await stage.dial(port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        await stage.control.set_road(("syd", "cdg"), RoadCondition(cut=True), "1")
        writer.write(b"b")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.readexactly(1)
        elsewhere, spare = await stage.dial(other)
        spare.write(b"c")
        assert await elsewhere.readexactly(1) == b"c"
        await stage.control.set_road(("syd", "cdg"), RoadCondition(), "1")
        assert await reader.readexactly(1) == b"b"

    play(scene)


def test_a_reader_that_does_not_read_holds_the_writer_back() -> None:
    async def scene(stage: Stage) -> None:
        _, writer = await stage.link(never, 1_000_000)
        written, part = 0, bytes(1 << 20)
        stuck = False
        while not stuck:
            writer.write(part)
            written += len(part)
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                stuck = True
            assert written < 256 << 20, "the relay takes bytes without end"
        counters = (await stage.control.counters())["link"]
        assert counters.bytes_out < 32 << 20

    play(scene)


def test_much_data_passes_unharmed_both_ways() -> None:
    async def scene(stage: Stage) -> None:
        reader, writer = await stage.link(echo, 200_000)
        data = os.urandom(8 << 20)
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        counters = (await stage.control.counters())["link"]
        assert (counters.bytes_out, counters.bytes_in) == (len(data), len(data))

    play(scene)


def test_counters_tell_connections_and_round_trips() -> None:
    async def scene(stage: Stage) -> None:
        reader, writer = await stage.link(echo, 500_000)
        for _ in range(5):
            writer.write(b"ping")
            await reader.readexactly(4)
        counters = (await stage.control.counters())["link"]
        assert counters.connections == 1
        assert counters.flights == 5
        assert (counters.bytes_out, counters.bytes_in) == (20, 20)

    play(scene)


def test_hundreds_of_links_and_connections_come_and_go() -> None:
    async def scene(stage: Stage) -> None:
        address = await stage.serve(echo)
        ports = [await stage.control.open(f"l{n}", address, 2_000_000) for n in range(200)]

        async def once(port: int) -> bytes:
            reader, writer = await stage.dial(port)
            writer.write(b"x")
            data = await reader.readexactly(1)
            writer.close()
            return data

        assert await asyncio.gather(*map(once, ports)) == [b"x"] * 200
        for n in range(200):
            await stage.control.close(f"l{n}")
        assert (await stage.control.status()).links == 0

    play(scene)


def test_closing_a_link_resets_its_connections() -> None:
    async def scene(stage: Stage) -> None:
        reader, _ = await stage.link(echo)
        while not (await stage.control.counters())["link"].connections:
            await asyncio.sleep(0)
        await stage.control.close("link")
        with pytest.raises(ConnectionResetError):
            await reader.read()

    play(scene)


def test_a_measure_never_finds_less_than_was_configured() -> None:
    async def scene(stage: Stage) -> None:
        pairs = [("cdg", "ord", 20_000_000), ("cdg", "syd", 30_000_000)]
        near, far = await measure(stage.control, pairs, 3)
        assert (near.source, near.target, near.n) == ("cdg", "ord", 3)
        assert near.measured_rtt_p50_ms >= 40 - 2 * LEAD_CEILING_NS / 1e6
        assert far.measured_rtt_p95_ms >= far.measured_rtt_p50_ms >= 59
        assert near.within(1e9, 0)
        assert not near.within(-1.0, -1.0)
        assert (await stage.control.status()).links == 0

    play(scene)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("twice", None, 0), "open already"),
        (("other", None, -1), "0 or more"),
    ],
)
def test_a_command_that_cannot_be_obeyed_is_an_error_in_words(
    arguments: tuple[str, None, int], word: str
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.control.open("twice", None, 0)
        with pytest.raises(WorldError, match=word):
            await stage.control.open(*arguments)
        with pytest.raises(WorldError, match="no link"):
            await stage.control.close("unknown")
        await stage.control.close("twice")

    play(scene)


def test_the_process_ends_with_its_controller() -> None:
    async def scene(stage: Stage) -> None:
        await stage.control.stop()
        assert await stage.control.wait() == 0
        with pytest.raises(WorldError, match="has ended"):
            await stage.control.counters()

    play(scene)


def test_a_killed_process_fails_those_who_wait_for_it() -> None:
    async def scene(stage: Stage) -> None:
        os.kill(stage.control.pid, 9)
        assert await stage.control.wait() == -9
        with pytest.raises(WorldError, match="has ended"):
            await stage.control.counters()

    play(scene)


def test_a_stopped_links_process_shows_in_lateness_and_in_pings() -> None:
    async def scene(stage: Stage) -> None:
        pings: list[Ping] = []
        pairs = [("cdg", "ord", 5_000_000)]
        ride = await PingRide.start(stage.control, pairs, 20, pings.extend)
        while not pings:
            await asyncio.sleep(0.02)
        await stage.control.lateness()
        os.kill(stage.control.pid, signal.SIGSTOP)
        await asyncio.sleep(0.4)
        os.kill(stage.control.pid, signal.SIGCONT)
        before = len(pings)
        while len(pings) < before + 3:
            await asyncio.sleep(0.02)
        late = Lateness()
        late.merge(await stage.control.lateness())
        await ride.stop()
        assert max(trip for _, _, trip in pings) > 200_000_000
        assert late.max_ns > 200_000_000
        assert sorted(trip for _, _, trip in pings)[len(pings) // 2] < 20_000_000

    play(scene)


def test_a_ping_that_never_comes_back_is_told_at_the_end() -> None:
    async def scene(stage: Stage) -> None:
        pings: list[Ping] = []
        ride = await PingRide.start(stage.control, [("cdg", "ord", 1_000_000)], 20, pings.extend)
        while not pings:
            await asyncio.sleep(0.02)
        await stage.control.set_road(("cdg", "ord"), RoadCondition(cut=True), "1")
        await asyncio.sleep(0.1)
        await ride.stop()
        assert pings[-1][2] == MISSING

    play(scene)
