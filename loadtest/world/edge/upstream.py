"""Connections from an edge to machines: one exchange at a time on each, idle ones kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from loadtest.world.edge.http import SWITCHING, AnswerHead, Headers
from loadtest.world.edge.types import Backend


class UpstreamError(Exception):
    """A machine could not be reached, or did not answer properly."""


class UpstreamLostError(UpstreamError):
    """
    A connection to a machine ended before its answer did.

    Args:
        sentence: What happened.
        silent: Not one byte of an answer had come.
    """

    def __init__(self, sentence: str, *, silent: bool) -> None:
        super().__init__(sentence)
        self.silent = silent


class Upstream(asyncio.Protocol):
    """
    One connection to a machine.

    :meth:`begin`, write the request, await :attr:`head`, :meth:`stream_to`, await :attr:`done`.

    Args:
        loop: The loop it runs on.
        backend: The machine.
        head_bytes: Largest head of an answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: Backend, head_bytes: int) -> None:
        self.backend = backend
        self.idle_since = 0.0
        self.closed = False
        self.on_room: Callable[[bool], None] = _ignore
        self.on_informational: Callable[[AnswerHead], None] = _ignore
        self.head: asyncio.Future[AnswerHead]
        self.done: asyncio.Future[bool]
        self._loop = loop
        self._head_limit = head_bytes
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._busy = self._paused = self._upgrade = self._tunnel = False
        self._bodyless = False
        self._received = 0
        self._in_head = False
        self._reason = b""
        self._headers: Headers = []
        self._until_close = False
        self._held: list[bytes] = []
        self._sink: Callable[[bytes], None] | None = None

    def begin(self, *, bodyless: bool, upgrade: bool = False) -> None:
        """
        Get ready for one exchange.

        Args:
            bodyless: The answer has a head only (HEAD).
            upgrade: The machine may agree to another protocol; whatever comes then is the body.
        """
        self._busy = True
        self._upgrade, self._tunnel = upgrade, False
        self._bodyless = bodyless
        self._received = 0
        self._until_close = False
        self._held = []
        self._sink = None
        self._in_head = True
        self.head = self._loop.create_future()
        self.done = self._loop.create_future()

    def write(self, data: bytes) -> None:
        """Send bytes of the request."""
        if not self.closed:
            self._transport.write(data)

    def stream_to(self, sink: Callable[[bytes], None]) -> bytes:
        """Give the body to ``sink`` from now on; return what has come so far."""
        held, self._held = b"".join(self._held), []
        self._sink = sink
        return held

    def pause(self, paused: bool) -> None:
        """Stop or resume reading the answer."""
        if self.closed or paused == self._paused:
            return
        self._paused = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """Drop the connection."""
        if not self.closed:
            self.closed = True
            self._transport.abort()

    # -- asyncio -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; asyncio and uvloop have switched Nagle's algorithm off."""
        # uvloop's transports have the methods but not the base class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse part of an answer."""
        if not self._busy:  # an idle connection has nothing to say: it is of no more use
            self.close()
            return
        if self._tunnel:
            self.on_body(data)
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as end:
            if self._agreed():
                self._in_head = False
                if rest := data[end.args[0] :]:
                    self.on_body(rest)
            else:
                self._fail("switched protocols, which nobody asked for")
            return
        except httptools.HttpParserError as error:
            self._fail(f"answered what is not HTTP/1.1: {error}")
            return
        if self._in_head and self._received > self._head_limit:
            self._fail(f"answered with a head of more than {self._head_limit} bytes")

    def _agreed(self) -> bool:
        """Tell whether the machine has agreed to another protocol by now."""
        return self._tunnel

    def eof_received(self) -> bool:
        """End the connection when the machine does; that may be the end of an answer, too."""
        if self._busy and self._until_close and self.head.done():
            self._finish(reusable=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for an answer."""
        self.closed = True
        if self._busy and self._tunnel:
            self._finish(reusable=False)
        elif self._busy:
            self._fail(f"closed the connection ({exc or 'end of stream'})")

    def pause_writing(self) -> None:
        """Hold the sender of the request back."""
        self.on_room(False)

    def resume_writing(self) -> None:
        """Let the sender of the request go on."""
        self.on_room(True)

    # -- httptools ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a head; one that nobody asked for spoils the connection."""
        self._reason, self._headers = b"", []
        if not self._busy:
            self.close()

    def on_status(self, reason: bytes) -> None:
        """Take part of the status line's phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer, which comes after the head, is left out."""
        if self._in_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Hand the head over, or pass an interim answer on."""
        if not self._busy:
            return
        status = self._parser.get_status_code()
        backend = self.backend
        region = backend.region.encode()
        answer = AnswerHead(status, self._reason, self._headers, region, backend.answers)
        if status < 200:
            if status != SWITCHING:
                self.on_informational(answer)
            elif self._upgrade and not self.head.done():
                self._tunnel = True
                self.head.set_result(answer)
            return
        self._in_head = False
        names = {name.lower() for name, _ in self._headers}
        self._until_close = not names & {b"content-length", b"transfer-encoding"}
        if not self.head.done():
            self.head.set_result(answer)
        if self._bodyless:
            # The parser waits for a body that a HEAD does not get: the next answer needs a new one.
            reusable = self._parser.get_http_version() == "1.1" and b"connection" not in names
            self._parser = httptools.HttpResponseParser(self)
            self._finish(reusable=reusable)

    def on_body(self, data: bytes) -> None:
        """Pass part of the body on, or hold it until somebody wants it."""
        if not self._busy:
            return
        if self._sink is None:
            self._held.append(data)
        else:
            self._sink(data)

    def on_message_complete(self) -> None:
        """End the exchange, unless that was an interim answer."""
        if self._busy and not self._in_head:
            self._finish(reusable=self._parser.should_keep_alive())

    def _finish(self, *, reusable: bool) -> None:
        self._busy = False
        if not self.done.done():
            self.done.set_result(reusable)

    def _fail(self, what: str) -> None:
        self._busy = False
        error = UpstreamLostError(
            f"machine {self.backend.machine_id} in {self.backend.region} {what}",
            silent=self._received == 0,
        )
        for future in (self.head, self.done):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever gave up waiting is not to be reminded
        self.close()


class Pool:
    """
    The connections of one edge.

    Args:
        idle_s: How long an idle connection is kept.
        head_bytes: Largest head of an answer.
    """

    def __init__(self, idle_s: float, head_bytes: int) -> None:
        self._idle_s = idle_s
        self._head_bytes = head_bytes
        self._idle: dict[Backend, list[Upstream]] = {}

    def idle(self, backend: Backend) -> Upstream | None:
        """Take the idle connection to ``backend`` that was used last, if there is one."""
        connections = self._idle.get(backend)
        while connections:
            upstream = connections.pop()
            if not upstream.closed:
                return upstream
        return None

    async def connect(self, backend: Backend, timeout_s: float) -> Upstream:
        """
        Open a connection to ``backend``.

        Raises:
            UpstreamError: It was refused, or took longer than ``timeout_s``.
        """
        loop = asyncio.get_running_loop()
        where = f"machine {backend.machine_id} in {backend.region}"
        try:
            async with asyncio.timeout(timeout_s):
                _, upstream = await loop.create_connection(
                    lambda: Upstream(loop, backend, self._head_bytes), backend.host, backend.port
                )
        except TimeoutError:
            raise UpstreamError(f"{where} took no connection within {timeout_s:g} s") from None
        except OSError as error:
            raise UpstreamError(f"{where} takes no connection: {error}") from None
        return upstream

    def release(self, upstream: Upstream, now_s: float) -> None:
        """Keep a connection whose exchange is over."""
        if not upstream.closed:
            upstream.on_room = upstream.on_informational = _ignore
            upstream.pause(False)
            upstream.idle_since = now_s
            self._idle.setdefault(upstream.backend, []).append(upstream)

    def sweep(self, now_s: float) -> None:
        """Close what has been idle for too long."""
        for backend, connections in list(self._idle.items()):
            kept = []
            for upstream in connections:
                if now_s - upstream.idle_since >= self._idle_s:
                    upstream.close()
                elif not upstream.closed:
                    kept.append(upstream)
            if kept:
                self._idle[backend] = kept
            else:
                del self._idle[backend]

    def close(self) -> None:
        """Close every idle connection."""
        for connections in self._idle.values():
            for upstream in connections:
                upstream.close()
        self._idle.clear()


def _ignore(_: object) -> None:
    """Stand in for a listener that there is none of."""
