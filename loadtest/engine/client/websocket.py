"""
A WebSocket of one user: time to open it, and round trips of messages, as rows.

The protocol is the ``wsproto`` library's.  Source: RFC 6455.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final

from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from wsproto.connection import ConnectionState
from wsproto.utilities import ProtocolError

from loadtest.engine.client.long_connection import LongConnection
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.tolerant import FramingError
from loadtest.engine.hub.wait import Failure
from loadtest.text import one_line
from loadtest.units import NS_PER_S

OPEN: Final = 101
"""Status of an answer that opens a WebSocket."""

_NORMAL: Final = 1000

Message = str | bytes


class WebSocketFramer:
    """
    Follows a WebSocket, bytes in and messages out.

    Args:
        host: Host header.
        target: Path and query.
        headers: Sent besides those that open a WebSocket.
        subprotocols: Offered to the server, the best first.
        most: Bytes of messages that may wait to be read.
    """

    def __init__(
        self,
        host: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        subprotocols: Sequence[str],
        most: int,
    ) -> None:
        self.begun = 0
        self.cookies: list[bytes] | None = None
        self.keep_alive = self.surplus = False
        self.region = self.timing = b""
        self.status = 0
        self.failure: Failure | None = None
        self.subprotocol: str | None = None
        self.inbox: deque[Message] = deque()
        self.asked = 0
        """Messages that had come when the latest request was sent."""
        self.came = 0
        """Messages that came so far."""
        self._most = most
        self._held = 0
        self._parts: list[Any] = []
        self._rejected = False
        self._out = bytearray()
        self._ws = WSConnection(ConnectionType.CLIENT)
        request = ws.Request(
            host=host, target=target, extra_headers=list(headers), subprotocols=list(subprotocols)
        )
        self.hello: bytes = self._ws.send(request)

    @property
    def head_done(self) -> bool:
        """Whether the server's answer to the handshake is there."""
        return self.status != 0

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.failure is not None

    def start(self, *, bodiless: bool) -> None:  # noqa: ARG002 - messages have bodies
        """Expect the answer to the handshake, or to a message."""
        self.asked = self.came

    def feed(self, data: bytes) -> bool:
        """
        Take bytes.

        Returns:
            True when what was expected is there, or nothing more will come.

        Raises:
            FramingError: They are no WebSocket.
        """
        opening = not self.status
        if opening and not self.begun:
            self.begun = 1
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._take(event)
        except ProtocolError as error:
            raise FramingError(one_line(str(error)) or type(error).__name__) from None
        if opening:
            return self.status == OPEN or self._rejected
        return self.came > self.asked or self.failure is not None

    def outgoing(self) -> bytes:
        """Return what is to be sent back now: pongs, farewells."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def message(self, message: Message) -> bytes:
        """Return the frame of a message."""
        if isinstance(message, str):
            return self._send(ws.TextMessage(data=message))
        return self._send(ws.BytesMessage(data=message))

    def farewell(self, code: int) -> bytes:
        """Return the frame that says goodbye."""
        return self._send(ws.CloseConnection(code=code))

    def take(self, place: int = 0) -> Message:
        """Return a waiting message, by default the one that came first."""
        message = self.inbox[place]
        del self.inbox[place]
        self._held -= len(message)
        return message

    def end_of_stream(self) -> bool:
        """Return whether a refusal without a length ends so; a message never does."""
        return self.status not in (0, OPEN)

    def dispose(self) -> None:
        """Let go of what is kept."""
        self._parts.clear()

    def _send(self, event: ws.Event) -> bytes:
        frame: bytes = self._ws.send(event)
        return frame

    def _take(self, event: ws.Event) -> None:
        if isinstance(event, ws.Message):
            self._take_part(event)
        elif isinstance(event, ws.Ping):
            self._out += self._send(event.response())
        elif isinstance(event, ws.AcceptConnection):
            self.status, self.keep_alive, self.subprotocol = OPEN, True, event.subprotocol
            self._take_headers(event.extra_headers)
        elif isinstance(event, ws.RejectConnection):
            self.status = event.status_code
            self._rejected = not event.has_body
            self._take_headers(event.headers)
        elif isinstance(event, ws.RejectData):
            self._rejected = event.body_finished
        elif isinstance(event, ws.CloseConnection):
            if self._ws.state is ConnectionState.OPEN:  # nobody said so: a frame breaks the rules
                raise FramingError(one_line(event.reason or "") or f"a fault of code {event.code}")
            reason = f": {one_line(event.reason)}" if event.reason else ""
            self.failure = Failure("closed-early", f"the server said goodbye, {event.code}{reason}")
            self.keep_alive = False
            self._out += self._send(event.response())

    def _take_part(self, event: ws.Message[Any]) -> None:
        if not self._parts:
            self.begun += 1
        self._parts.append(event.data)
        self._held += len(event.data)
        if self._held > self._most:
            raise FramingError(f"more than {self._most} bytes of messages that nobody reads")
        if event.message_finished:
            empty = "" if isinstance(event.data, str) else b""
            self.inbox.append(empty.join(self._parts))
            self._parts.clear()
            self.came += 1

    def _take_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"fly-region":
                self.region = value
            elif name == b"server-timing":
                self.timing = value
            elif name == b"set-cookie":
                self.cookies = [*(self.cookies or ()), value]


class WebSocket:
    """
    A WebSocket as a scenario sees it; make it with ``self.client.websocket(path)``.

    Args:
        connection: Its connection; None where none came to be.
        framer: What follows it.
        opening: The sample of its handshake.
        new_sample: Makes the sample of a message's round trip.
        record: Called with samples.
        read_ns: How long an answer may take.
        send_ns: How long a message may take to be handed over.
    """

    def __init__(
        self,
        connection: LongConnection | None,
        framer: WebSocketFramer,
        opening: RequestSample,
        *,
        new_sample: Callable[[str, str], RequestSample],
        record: Callable[[RequestSample], object],
        read_ns: int,
        send_ns: int,
    ) -> None:
        self._connection = connection
        self._framer = framer
        self._new_sample = new_sample
        self._record = record
        self._read_ns, self._send_ns = read_ns, send_ns
        self.sample = opening

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def lives(self) -> bool:
        """Whether there is a connection to close."""
        return self._connection is not None

    @property
    def open(self) -> bool:
        """Whether messages may be sent and may come."""
        return self._connection is not None and self._connection.usable

    @property
    def status_code(self) -> int:
        """Status of the answer to the handshake, 101 when it opened; 0 when none came."""
        return self.sample.status

    @property
    def error(self) -> str:
        """What went wrong with the handshake, a kind of the records; empty for nothing."""
        return self.sample.error

    @property
    def subprotocol(self) -> str | None:
        """What the server chose of the subprotocols offered."""
        return self._framer.subprotocol

    def ask(
        self,
        message: Message,
        *,
        name: str | Callable[[Message | None], str] | None = None,
        timeout: float | None = None,
    ) -> Message | None:
        """
        Send a message and return the next one that comes: a round trip, and a row.

        Messages that had come before stay where `receive` finds them.

        Args:
            message: Text or bytes.
            name: Name in the tables, or what makes one of the answer; by default that of the
                handshake and ``message``.
            timeout: Seconds to the end of the answer; None takes the client's own.

        Returns:
            The answer; None when none came, which the row tells too.  Nothing is sent, and there is
            no row, on a WebSocket that is not open.
        """
        connection, framer = self._connection, self._framer
        if connection is None or not connection.usable:
            return None
        given = name if isinstance(name, str) else ""
        sample = self._new_sample(given or f"{self.sample.name} message", "MESSAGE")
        sample.reused, sample.address = True, connection.address
        sample.protocol = connection.protocol
        read_ns = self._read_ns if timeout is None else int(timeout * NS_PER_S)
        waiting = len(framer.inbox)
        try:
            connection.exchange(
                framer.message(message),
                sample,
                bodiless=False,
                read_ns=read_ns,
                send_ns=self._send_ns,
            )
        except Failure as failure:
            sample.error, sample.detail = failure.kind, failure.detail
        answer = framer.take(waiting) if len(framer.inbox) > waiting else None
        if callable(name):
            sample.name = str(name(answer))
        self._record(sample)
        return answer

    def send(self, message: Message) -> bool:
        """Send a message that nobody answers; return whether the WebSocket is open still."""
        if self._connection is None or not self._connection.usable:
            return False
        return self._connection.send(self._framer.message(message))

    def receive(self, *, timeout: float | None = None) -> Message | None:
        """
        Return the message that came first, or the next one; no row, as nobody asked for it.

        Args:
            timeout: Seconds to wait for it; None takes the client's own.

        Returns:
            The message; None when none came.
        """
        if self._connection is None:
            return None
        inbox = self._framer.inbox
        timeout_ns = self._read_ns if timeout is None else int(timeout * NS_PER_S)
        there = self._connection.wait_until(lambda: bool(inbox), timeout_ns)
        return self._framer.take() if there else None

    def close(self) -> None:
        """Say goodbye and close; harmless when closed."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.usable:
            connection.send(self._framer.farewell(_NORMAL))
        connection.close()
