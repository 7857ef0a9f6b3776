"""
Server-sent events of one user: time to the first one, as a row, and the others as they come.

Source: WHATWG HTML, section 9.2 (the format, and what a reader does with it).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from loadtest.engine.client.apart import take_apart
from loadtest.engine.client.bodies import BodyFramer
from loadtest.engine.client.codings import StreamDecoder
from loadtest.engine.client.headers import Headers
from loadtest.engine.client.long_connection import LongConnection
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.tolerant import FramingError
from loadtest.engine.hub.wait import Failure
from loadtest.errors import LoadtestError
from loadtest.units import NS_PER_S

_MARK: Final = b"\xef\xbb\xbf"
CONTENT_TYPE: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """
    One event.

    Args:
        data: What it says.
        event: Its kind.
        id: The last id that the server gave, for a reader who comes back.
    """

    data: str
    event: str = "message"
    id: str = ""


class EventReader:
    """
    Reads events out of a text that comes in pieces.

    Args:
        most: Bytes that one event may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._first = True
        self._after_cr = False
        self._data: list[str] = []
        self._event = self._id = ""
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """
        Return the events that are whole by now.

        Raises:
            FramingError: One is too large.
        """
        if self._after_cr and data:  # half of a line's end
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r") if data else self._after_cr
        text = self._rest + data
        if self._first and (len(text) >= 3 or not _MARK.startswith(text)):
            self._first, text = False, text.removeprefix(_MARK)
        lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()
        self._size += len(data)
        found = [event for line in lines if (event := self._take(line)) is not None]
        if self._size > self._most:
            raise FramingError(f"an event of more than {self._most} bytes")
        return found

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            data, self._data = self._data, []
            kind, self._event, self._size = self._event or "message", "", 0
            return ServerEvent("\n".join(data), kind, self._id) if data else None
        field, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._event = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None


class EventFramer(BodyFramer):
    """
    Follows an answer whose body is events; it may be as odd as any answer.

    Args:
        most: Bytes that one event may have, and all that nobody has read yet.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.failure: Failure | None = None
        self.inbox: deque[ServerEvent] = deque()
        self.came = 0
        self.streams = False
        """The head of an answer that may have events is there."""
        self._most = most
        self._reader = EventReader(most)
        self._decoder: StreamDecoder | None = None
        self._raw: list[bytes] = []

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.done

    def feed(self, data: bytes) -> bool:
        """
        Take bytes.

        Returns:
            True when the first event is there, or nothing more will come.

        Raises:
            FramingError: They are no HTTP/1.1, or no events.
        """
        if not self.head_done:
            self._raw.append(data)
        super().feed(data)
        if self.head_done and self._decoder is None:
            self._decoder = self._begin()
        if self._decoder is not None and self.streams:
            self._take(self._decoder)
        self.body.clear()
        self.keep_alive = self.streams and not self.done  # for what follows, no further request
        self._note_end()
        return self.came > 0 or self.done

    def end_of_stream(self) -> bool:
        """Return whether the server's closing ends an answer that has no length."""
        ended = super().end_of_stream()
        self._note_end()
        return ended

    def outgoing(self) -> bytes:
        """Return nothing: a reader of events says nothing."""
        return b""

    def _begin(self) -> StreamDecoder:
        """Look at the head, once."""
        pairs, _ = take_apart(self._raw, bodiless=True)
        self._raw.clear()
        headers = Headers(pairs)
        kind = headers.get("content-type", "none").partition(";")[0].strip().lower()
        if self.status == 200 and kind != CONTENT_TYPE:
            raise FramingError(f"content-type {kind!r}, where {CONTENT_TYPE} was asked for")
        self.streams = self.status == 200
        return StreamDecoder(headers.get("content-encoding", ""), "the events")

    def _take(self, decoder: StreamDecoder) -> None:
        try:
            events = self._reader.feed(decoder.decode(b"".join(self.body)))
        except LoadtestError as error:
            raise FramingError(str(error)) from None
        self.came += len(events)
        self.inbox.extend(events)
        if sum(len(event.data) for event in self.inbox) > self._most:
            raise FramingError(f"more than {self._most} bytes of events that nobody reads")

    def _note_end(self) -> None:
        if self.done and self.streams and not self.came:
            self.failure = Failure("closed-early", "the answer ended without an event")


class EventStream:
    """
    Events as a scenario sees them; make it with ``self.client.events(path)``.

    Iterating waits for the next event as long as the client waits for an answer.

    Args:
        connection: Its connection; None where none came to be.
        framer: What follows it.
        sample: That of the answer.
        error: What went wrong with it, or with its first event; empty for nothing.
        read_ns: How long an event may take.
    """

    def __init__(
        self,
        connection: LongConnection | None,
        framer: EventFramer,
        sample: RequestSample,
        error: str,
        read_ns: int,
    ) -> None:
        self._connection = connection
        self._framer = framer
        self._read_ns = read_ns
        self.sample = sample
        self.error = error

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[ServerEvent]:
        while (event := self.next()) is not None:
            yield event

    @property
    def status_code(self) -> int:
        """Status of the answer; 0 when none came."""
        return self.sample.status

    @property
    def lives(self) -> bool:
        """Whether there is a connection to close."""
        return self._connection is not None

    def next(self, *, timeout: float | None = None) -> ServerEvent | None:
        """
        Return the next event, None when none came in time or none will.

        Args:
            timeout: Seconds to wait for it; None takes the client's own.
        """
        if self._connection is None:
            return None
        inbox = self._framer.inbox
        timeout_ns = self._read_ns if timeout is None else int(timeout * NS_PER_S)
        there = self._connection.wait_until(lambda: bool(inbox), timeout_ns)
        return inbox.popleft() if there else None

    def close(self) -> None:
        """Close; harmless when closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
