"""A machine's health check reads HTTP however it arrives, and says what else it got."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from loadtest.fly.services import MachineCheck
from loadtest.kernel.namespaces import SocketMaker
from loadtest.world.links.address import LinkAddress
from loadtest.world.machines.checks import probe

pytestmark = pytest.mark.contract

CHECK = MachineCheck(type="http", path="/up", timeout_s=5.0)


async def asked(*packets: bytes) -> str:
    """Return what the check says of a server that sends these packets and hangs up."""

    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for packet in packets:
                writer.write(packet)
                await writer.drain()
                await asyncio.sleep(0.002)  # so that each is a segment of its own
        except ConnectionError:  # it has heard enough
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            over.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = int(server.sockets[0].getsockname()[1])
        told = await probe(CHECK, LinkAddress("127.0.0.1", port), SocketMaker())
        await over.wait()
        return told


@pytest.mark.parametrize(
    ("packets", "said"),
    [
        ((b"HTTP/1.1 200 OK\r\n\r\n",), ""),
        ((b"HT", b"TP/1.1 2", b"04 No Content\r", b"\n\r\n"), ""),
        ((b"HTTP/1.0 200\n\n",), ""),
        ((b"HTTP/1.1 503 Busy\r\n\r\nnot yet",), "GET /up answered 503: not yet"),
        ((b"HTTP/1.1 500 ", b"Oh\r\n\r\n"), "GET /up answered 500"),
        ((b"SSH-2.0-OpenSSH\r\n",), "is not HTTP"),
        ((b"220 mail.example ESMTP\r\n",), "is not HTTP"),
        ((b"x" * 100_000,), "is not HTTP"),
        ((b"",), "is not HTTP"),
    ],
)
def test_an_answer_is_read_however_it_arrives(packets: tuple[bytes, ...], said: str) -> None:
    told = asyncio.run(asked(*packets))
    assert said in told
    assert bool(told) == bool(said)
