"""TLS before a server that has none: who is let in, what it costs, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
import pytest

from loadtest.refapp.database import connect_round_trips
from loadtest.world.edge.authority import WorldAuthority
from loadtest.world.guard.shared_memory import clear_shared_memory
from loadtest.world.machines.ports import PortPool
from loadtest.world.postgres.server import PostgresSpec, start_postgres
from loadtest.world.postgres.tls import TlsDoor

pytestmark = pytest.mark.contract

PASSWORD = "s'e\\c:r et"
ASKS = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
PORTS = PortPool()


@pytest.fixture
def base() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="postgres-tls-"))
    yield directory
    clear_shared_memory(directory)
    shutil.rmtree(directory)


@dataclass
class Counted:
    """What passed by: connections, and how often the client began to speak anew."""

    connections: int = 0
    flights: int = 0


async def counting(port: int, counted: Counted) -> asyncio.Server:
    """Pass everything on to a port of loopback, and count as the links of a world do."""

    async def passes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted.connections += 1
        there, away = await asyncio.open_connection("127.0.0.1", port)
        speaks = [False]

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    counted.flights += source is reader and not speaks[0]
                    speaks[0] = source is reader
                    target.write(data)
                    await target.drain()
                target.close()

        await asyncio.gather(carry(reader, away), carry(there, writer))

    return await asyncio.start_server(passes, "127.0.0.1", PORTS.take())


def test_a_session_over_tls_takes_six_round_trips_to_open(base: Path) -> None:
    """TCP 1, asking 1, TLS 1.3 1, start-up 1, SCRAM 2: what the model of new connections says."""

    async def scene() -> None:
        spec = PostgresSpec(
            machine_id="p",
            region="cdg",
            role="primary",
            base_dir=base,
            port=PORTS.take(),
            template_dir=base / "template",
            superuser_password=PASSWORD,
            replication_password="r'e:p\\l",
        )
        server = await start_postgres(spec)
        door = TlsDoor(WorldAuthority(base).private_context("db"), PORTS.take(), spec.port)
        counted = Counted()
        try:
            await server.ready(30)
            await door.open()
            way = await counting(door.port, counted)
            connection = await psycopg.AsyncConnection.connect(
                host="127.0.0.1",
                port=way.sockets[0].getsockname()[1],
                user="postgres",
                password=PASSWORD,
                dbname=spec.database,
                sslmode="require",
                gssencmode="disable",
                autocommit=True,
                prepare_threshold=None,
            )
            assert connection.pgconn.ssl_in_use
            assert counted.connections + counted.flights == 6
            assert connect_round_trips(connection) == 6
            long = await connection.execute(b"SELECT repeat('x', 3000000)")
            assert await long.fetchone() == ("x" * 3_000_000,)
            assert counted.connections + counted.flights == 7
            await connection.close()
            way.close()
        finally:
            door.close()
            await server.stop()

    asyncio.run(scene())


class Echo(asyncio.Protocol):
    """Says everything again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


Scene = Callable[[TlsDoor, asyncio.Server], Awaitable[None]]


def play(scene: Scene, base: Path) -> None:
    """Run a scene at a door before a server that says everything again."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", PORTS.take())
        port = server.sockets[0].getsockname()[1]
        door = TlsDoor(WorldAuthority(base).private_context("db"), PORTS.take(), port)
        await door.open()
        try:
            async with asyncio.timeout(20):
                await scene(door, server)
        finally:
            door.close()
            server.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n", b"\x00", b"\x00\x00\x00\x08\x04\xd2\x16\x30"]
)
def test_who_asks_for_anything_else_is_sent_away(base: Path, said: bytes) -> None:
    async def scene(door: TlsDoor, _: asyncio.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(said)
        if said == b"\x00":  # may still become the question
            writer.write(b"\x01")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    play(scene, base)


def test_a_question_in_pieces_is_understood_and_what_is_carried_comes_whole(base: Path) -> None:
    def talk(port: int) -> None:
        context = ssl.create_default_context(cafile=str(base / "authority.pem"))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            for byte in ASKS:
                plain.sendall(bytes([byte]))
            assert plain.recv(1) == b"S"
            with context.wrap_socket(plain, server_hostname="db.internal") as secure:
                assert secure.version() == "TLSv1.3"
                piece = bytes(range(256)) * 400
                for _ in range(20):
                    secure.sendall(piece)
                    back = b""
                    while len(back) < len(piece):
                        back += secure.recv(65_536)
                    assert back == piece

    async def scene(door: TlsDoor, _: asyncio.Server) -> None:
        await asyncio.to_thread(talk, door.port)

    play(scene, base)


def test_a_server_that_is_down_breaks_the_connection_and_not_the_door(base: Path) -> None:
    async def scene(door: TlsDoor, server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(ASKS)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()

    play(scene, base)


def test_a_closed_door_breaks_what_is_open_and_frees_its_port(base: Path) -> None:
    async def scene(door: TlsDoor, _: asyncio.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(ASKS)
        assert await reader.readexactly(1) == b"S"  # and says no more: it stands in the door
        door.close()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        await door.open()

    play(scene, base)
