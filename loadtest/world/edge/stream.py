"""One stream of a client that speaks HTTP/2: a request, its answer, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from loadtest.world.edge.body import RequestBody
from loadtest.world.edge.exchange import EdgeExchange
from loadtest.world.edge.hop import EdgeContext
from loadtest.world.edge.http import (
    AnswerHead,
    Caller,
    Headers,
    RequestHead,
    answer_framing,
    answer_headers,
    find,
    informational_headers,
)

_MOST_UNSENT = 262_144
"""Bytes of an answer that may wait for a client that does not read."""


class FrameSender(Protocol):
    """The connection, as its streams see it."""

    caller: Caller

    def send_head(self, number: int, fields: Headers, *, last: bool) -> None:
        """Send a HEADERS frame."""
        ...

    def send_data(self, number: int, data: bytes, *, last: bool) -> int:
        """Send as much as the client's windows allow; return how many bytes that was."""
        ...

    def took(self, number: int, size: int) -> None:
        """Let the client send as many bytes more."""
        ...

    def reset(self, number: int, *, failed: bool) -> None:
        """End a stream: because its answer cannot be completed, or the request no longer counts."""
        ...

    def flush(self) -> None:
        """Hand what was sent to the socket."""
        ...

    def stream_over(self, number: int) -> None:
        """Forget a stream."""
        ...


class EdgeStream:
    """
    A stream, which is to its exchange what a whole connection is in HTTP/1.1.

    Args:
        context: The edge and the app that was called.
        connection: What sends its frames.
        number: Its identifier.
        head: The request.
    """

    def __init__(
        self, context: EdgeContext, connection: FrameSender, number: int, head: RequestHead
    ) -> None:
        self.caller = connection.caller
        self._connection = connection
        self._number = number
        self._holds: set[str] = set()
        self._untaken = 0
        self._unsent = bytearray()
        self._ending = self._ended = self._paused = False
        self._left = False  # its exchange is over
        self._body = RequestBody.of(
            head, context.settings.replay_body_bytes, lambda held: self.hold("body", held)
        )
        self._exchange = EdgeExchange(context, self, head, self._body)
        self._task: asyncio.Task[None] | None = None

    # -- what the connection tells ------------------------------------------------------------

    def begin(self) -> None:
        """Begin to serve the request; its body may still be coming."""
        self._task = asyncio.get_running_loop().create_task(self._exchange.run())

    def feed(self, data: bytes, size: int) -> None:
        """
        Take more of the request's body.

        Args:
            data: The bytes.
            size: What they count for the window, padding included.
        """
        self._body.feed(data)
        self._untaken += size
        self._take()

    def finish(self) -> None:
        """Take the end of the request."""
        self._body.finish()

    def cancel(self) -> None:
        """Give up: the client wants no answer any more."""
        self._ended = True
        self._unsent.clear()
        if self._task is not None:
            self._task.cancel()

    def push(self) -> None:
        """Send what the windows allow by now."""
        if self._ended or not (self._unsent or self._ending):
            return
        sent = self._connection.send_data(self._number, bytes(self._unsent), last=self._ending)
        del self._unsent[:sent]
        if self._ending and not self._unsent:
            self._ended = True
            self._settle()
        waits = len(self._unsent) > _MOST_UNSENT
        if waits != self._paused:
            self._paused = waits
            self._exchange.pause_answer(waits)

    # -- what an exchange needs (see ClientSide) ---------------------------------------------

    def inform(self, answer: AnswerHead) -> None:
        """Send an interim answer (1xx)."""
        self._send_head(answer.status, informational_headers(answer), last=False)
        self._connection.flush()

    def start_answer(
        self,
        request: RequestHead,
        answer: AnswerHead,
        identity: bytes,
        body: bytes,
        *,
        whole: bool,
        keep: bool,  # noqa: ARG002 - a stream carries one request whatever became of it
    ) -> bool:
        """Send the head of an answer and what there is of its body, in one piece."""
        framing = answer_framing(request, answer)
        self._ending = whole
        if framing.body:
            self._unsent += body
        self._ended = whole and not self._unsent
        sized = find(answer.headers, b"transfer-encoding") is None
        headers = answer_headers(answer, identity, sized=sized)
        self._send_head(answer.status, headers, last=self._ended)
        self.push()
        self._connection.flush()
        return True

    def send_body(self, data: bytes) -> None:
        """Send more of the body."""
        self._unsent += data
        self.push()
        self._connection.flush()

    def end_body(self) -> None:
        """Send the end of the body."""
        self._ending = True
        self.push()
        self._connection.flush()

    def hold(self, reason: str, held: bool) -> None:
        """Let the client send no more than its window for ``reason``, or no longer for it."""
        (self._holds.add if held else self._holds.discard)(reason)
        self._take()

    def tunnel(self, sink: Callable[[bytes], None]) -> None:  # noqa: ARG002 - never called
        """Raise: a stream asks for no upgrade, so no machine can agree to one (RFC 9113, 8.6)."""
        raise AssertionError("an upgrade on a stream of HTTP/2")

    def abort(self) -> None:
        """End the stream: the answer cannot be completed."""
        if not self._ended:
            self._ended = True
            self._unsent.clear()
            self._connection.reset(self._number, failed=True)

    def exchange_over(self, *, keep: bool) -> None:  # noqa: ARG002 - the connection is kept anyway
        """Let the stream go, once the client has been sent all of it."""
        self._left = True
        self._settle()

    # -- inside ------------------------------------------------------------------------------

    def _settle(self) -> None:
        if self._left and self._ended:
            if not self._body.complete:  # answered before it was asked in full
                self._connection.reset(self._number, failed=False)
            self._connection.stream_over(self._number)

    def _take(self) -> None:
        if not self._holds and self._untaken and not self._ended:
            size, self._untaken = self._untaken, 0
            self._connection.took(self._number, size)

    def _send_head(self, status: int, headers: Headers, *, last: bool) -> None:
        fields = [(b":status", b"%d" % status)]
        fields += [(name.lower(), value) for name, value in headers]
        self._connection.send_head(self._number, fields, last=last)
