"""Connections of clients to an edge: requests are parsed, queued and answered in order."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from loadtest.world.edge.body import RequestBody
from loadtest.world.edge.doors import caller_of
from loadtest.world.edge.exchange import EdgeExchange
from loadtest.world.edge.hop import EdgeContext
from loadtest.world.edge.http import (
    AnswerHead,
    Caller,
    Headers,
    RequestHead,
    answer_framing,
    answer_lines,
    chunk,
    error_answer,
    find,
    informational_lines,
)

_LINGER_S = 2.0
_LAST_CHUNK = b"0\r\n\r\n"
_UNREADABLE = RequestHead(b"GET", b"/", "1.1", [], keep_alive=False)
"""Stands for a request that was none, so that it can be answered."""


class BadRequestError(Exception):
    """A client sent what an edge does not take."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ClientConnection(asyncio.Protocol):
    """
    One client.

    Args:
        context: The edge and the app that was called.
        secure: By TLS.
        on_lost: Called with this connection when it is gone.
    """

    def __init__(
        self,
        context: EdgeContext,
        *,
        secure: bool,
        on_lost: Callable[[ClientConnection], None],
    ) -> None:
        self.caller: Caller
        self.deadline_s = math.inf
        self._context = context
        self._secure = secure
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._holds: set[str] = set()
        self._queue: deque[EdgeExchange] = deque()
        self._active: EdgeExchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._deaf = False  # nothing the client sends is read any more
        self._early: bytes | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._chunked = False
        self._in_head = False
        self._head_size = self._head_fed = 0
        self._target = b""
        self._headers: Headers = []
        self._body: RequestBody | None = None

    # -- asyncio -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; asyncio and uvloop have switched Nagle's algorithm off."""
        # uvloop's transports have the methods but not the base class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.caller = caller_of(transport, self._context.region, secure=self._secure)
        self.deadline_s = self._loop.time() + self._context.settings.head_timeout_s

    def data_received(self, data: bytes) -> None:
        """Parse part of a request."""
        if self._sink is not None:
            self._sink(data)
            return
        if self._early is not None and self._deaf:  # the upgrade is not agreed to yet
            self._early += data
            if len(self._early) > self._context.settings.head_bytes:
                self.hold("upgrade", True)
            return
        if self._deaf:
            return
        in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as end:
            self._deaf = True  # no other request may follow this one
            if self._early is not None:
                self._early += data[end.args[0] :]
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, BadRequestError):
                raise
            self._refuse(cause.status, str(cause))
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is not HTTP/1.1: {error}")
        if in_head and self._in_head:  # the parser tells of a header only once it is complete
            self._head_fed += len(data)
            if self._head_fed > self._context.settings.head_bytes:
                self._refuse(431, "a header of the request is too large")

    def connection_lost(self, _exc: Exception | None) -> None:
        """Give up what was under way; a client that ends its half of the connection has left."""
        self._deaf = True
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Hold the answering machine back."""
        if self._active is not None:
            self._active.pause_answer(True)

    def resume_writing(self) -> None:
        """Let the answering machine go on."""
        if self._active is not None:
            self._active.pause_answer(False)

    # -- what an exchange needs (see ClientSide) ---------------------------------------------

    def inform(self, answer: AnswerHead) -> None:
        """Send an interim answer (1xx)."""
        self._write(informational_lines(answer))

    def start_answer(
        self,
        request: RequestHead,
        answer: AnswerHead,
        identity: bytes,
        body: bytes,
        *,
        whole: bool,
        keep: bool,
    ) -> bool:
        """Send the head of an answer and what there is of its body, in one piece."""
        framing = answer_framing(request, answer)
        if not keep:
            framing = dataclasses.replace(framing, close=True)
        self._chunked = framing.chunked
        parts = [answer_lines(request, answer, framing, identity)]
        if body and framing.body:
            parts.extend(chunk(body) if framing.chunked else (body,))
        if whole and framing.chunked:
            parts.append(_LAST_CHUNK)
        self._write(b"".join(parts))
        return not framing.close

    def send_body(self, data: bytes) -> None:
        """Send more of the body."""
        self._write(b"".join(chunk(data)) if self._chunked else data)

    def end_body(self) -> None:
        """Send the end of the body, where its framing has one."""
        if self._chunked:
            self._write(_LAST_CHUNK)

    def hold(self, reason: str, held: bool) -> None:
        """Stop reading from the client for ``reason``, or no longer for that reason."""
        before = bool(self._holds)
        (self._holds.add if held else self._holds.discard)(reason)
        if bool(self._holds) == before or self._transport.is_closing():
            return
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def tunnel(self, sink: Callable[[bytes], None]) -> None:
        """Give ``sink`` whatever the client sends from now on, and what has come since its head."""
        if self._early:
            sink(self._early)
        self._early, self._sink = None, sink
        self.hold("upgrade", False)

    def abort(self) -> None:
        """Break the connection: the answer cannot be completed."""
        self._deaf = True
        self._transport.abort()

    def exchange_over(self, *, keep: bool) -> None:
        """Take the next request, or close the connection."""
        self._active = self._task = None
        if not keep:
            self._queue.clear()
            self._close()
        elif self._queue:
            self._start(self._queue.popleft())
        elif self._deaf:
            self._close()
        else:
            self.hold("queue", False)
            self.deadline_s = self._loop.time() + self._context.settings.client_idle_s

    # -- httptools ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head = True
        self._head_size = self._head_fed = 0
        self._target, self._headers = b"", []
        if self._active is None:
            self.deadline_s = self._loop.time() + self._context.settings.head_timeout_s

    def on_url(self, part: bytes) -> None:
        """Take part of the target."""
        self._target += part
        self._grow(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer, which comes after the head, is left out."""
        if self._in_head:
            self._headers.append((name, value))
            self._grow(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """Begin to serve the request; its body may still be coming."""
        self._in_head = False
        parser, settings = self._parser, self._context.settings
        head = RequestHead(
            method=parser.get_method(),
            target=_origin_form(self._target),
            version=parser.get_http_version(),
            headers=self._headers,
            keep_alive=parser.should_keep_alive() and not parser.should_upgrade(),
        )
        if parser.should_upgrade():
            wanted = find(self._headers, b"upgrade") or b""
            # HTTP/2 would be a matter between client and edge, and this one speaks HTTP/1.1
            if wanted.lower() not in (b"h2c", b"h2", b""):
                head.upgrade, self._early = wanted, b""
        sized = find(self._headers, b"content-length") not in (None, b"0")
        if head.method == b"CONNECT" or (parser.should_upgrade() and (sized or head.chunked)):
            raise BadRequestError(501, "an edge neither tunnels nor upgrades a request with a body")
        if find(self._headers, b"host") is None:
            if head.version == "1.1":
                raise BadRequestError(400, "the request has no Host header")
            self._headers.append((b"Host", f"{self._context.app}.fly.dev".encode()))
        self._body = RequestBody.of(
            head, settings.replay_body_bytes, lambda held: self.hold("body", held)
        )
        exchange = EdgeExchange(self._context, self, head, self._body)
        if self._active is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)
            self.hold("queue", True)

    def on_body(self, data: bytes) -> None:
        """Pass part of the body on."""
        assert self._body is not None
        self._body.feed(data)

    def on_message_complete(self) -> None:
        """End the request."""
        assert self._body is not None
        self._body.finish()

    # -- inside ------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _grow(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._context.settings.head_bytes:
            raise BadRequestError(
                431, f"the head of the request exceeds {self._context.settings.head_bytes} bytes"
            )

    def _start(self, exchange: EdgeExchange) -> None:
        self.deadline_s = math.inf
        self._active = exchange
        self._task = self._loop.create_task(exchange.run())

    def _refuse(self, status: int, sentence: str) -> None:
        self._deaf = True
        self._in_head = False
        self._context.tally.errors += 1
        if self._active is not None:  # an earlier request is being answered: nothing fits between
            self.abort()
            return
        answer, body = error_answer(status, "", sentence)
        self.start_answer(_UNREADABLE, answer, b"", body, whole=True, keep=False)
        self._close(unread=True)

    def _close(self, *, unread: bool = False) -> None:
        if self._transport.is_closing():
            return
        self._deaf = True
        sending = unread or self._in_head or (self._body is not None and not self._body.complete)
        if not sending or self._secure:
            self._transport.close()
            return
        # To close on a client that is still sending would reset the answer it has not read yet.
        for reason in list(self._holds):
            self.hold(reason, False)
        self._transport.write_eof()
        self.deadline_s = self._loop.time() + _LINGER_S


def _origin_form(target: bytes) -> bytes:
    if target.startswith(b"/") or target == b"*" or b"://" not in target:
        return target
    path = target.split(b"://", 1)[1].partition(b"/")
    return b"/" + path[2]
