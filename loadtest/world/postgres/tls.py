"""
TLS before a server whose binaries have none, as a pooler before it would end it.

A client asks for encryption in eight bytes, is told yes in one, and speaks TLS from then on (the
PostgreSQL documentation, "SSL Session Encryption"): a round trip for the question, and with TLS 1.3
one for the handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from typing import Final, cast

_LOOPBACK: Final = "127.0.0.1"
_REQUEST: Final = struct.pack("!II", 8, 80_877_103)
"""SSLRequest: its length and its code."""


class TlsDoor:
    """
    A port of loopback that takes TLS alone and hands what it carries to a server.

    Args:
        context: Of a server.
        port: To listen on.
        server_port: Of the server, on loopback.
    """

    def __init__(self, context: ssl.SSLContext, port: int, server_port: int) -> None:
        self._context = context
        self.port = port
        self._server_port = server_port
        self._entering: set[asyncio.Task[None]] = set()
        self._ends: set[_End | _Question] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """
        Listen.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Question(self._ends, self._take_in), _LOOPBACK, self.port
        )

    def close(self) -> None:
        """Listen no more, and break what is open."""
        if self._server is not None:
            self._server.close()
        for task in self._entering:
            task.cancel()
        for end in list(self._ends):
            end.abort()

    def _take_in(self, transport: asyncio.Transport) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(transport))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _connect(self, transport: asyncio.Transport) -> None:
        """Connect to the server, then shake hands with the client."""
        loop = asyncio.get_running_loop()
        client, server = _End(self._ends), _End(self._ends)
        client.other, server.other = server, client
        try:
            await loop.create_connection(lambda: server, _LOOPBACK, self._server_port)
            transport.write(b"S")
            secure = await loop.start_tls(transport, client, self._context, server_side=True)
            if secure is None:  # lost in the middle
                raise ConnectionResetError
            client.connection_made(secure)
        except BaseException as error:
            transport.abort()
            server.abort()
            if not isinstance(error, OSError):  # a server that is down, a client that left
                raise


class _Question(asyncio.Protocol):
    """Waits for a client to ask for encryption; who asks for anything else is sent away."""

    def __init__(
        self, among: set[_End | _Question], granted: Callable[[asyncio.Transport], None]
    ) -> None:
        self._among = among
        self._granted = granted
        self._heard = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._among.add(self)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._heard == _REQUEST:
            self._among.discard(self)
            self._granted(self._transport)
        elif not _REQUEST.startswith(self._heard):
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._among.discard(self)

    def abort(self) -> None:
        self._transport.abort()


class _End(asyncio.Protocol):
    """One end of what is carried through, with the other."""

    other: _End

    def __init__(self, among: set[_End | _Question]) -> None:
        self._among = among
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._among.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other._transport is not None:
            self.other._transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._among.discard(self)
        if self.other._transport is not None:
            self.other._transport.close()

    def pause_writing(self) -> None:
        self.other._read(False)

    def resume_writing(self) -> None:
        self.other._read(True)

    def _read(self, wanted: bool) -> None:
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # it is being closed
                (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
