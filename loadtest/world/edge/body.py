"""The body of a request on its way: streamed to one machine, kept while a replay may need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from loadtest.world.edge.http import RequestHead, chunk, find

_LAST_CHUNK = b"0\r\n\r\n"


class BodySink(Protocol):
    """Where a body goes."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...


class RequestBody:
    """
    What a client sends after the head.

    Up to ``limit`` bytes are kept, so that another machine can be sent the same; beyond that the
    body only passes through, and :attr:`replayable` is False.

    Args:
        limit: Bytes kept.
        chunked: The body goes in chunks, as its length is unknown.
        hold: Called with True when the client must wait because no machine takes the body yet,
            with False when it may go on.
        length: How long the client says that it is; None where it does not.  What is going to be
            too long is so from the start, however little of it has come.
    """

    def __init__(
        self,
        limit: int,
        *,
        chunked: bool,
        hold: Callable[[bool], None],
        length: int | None = None,
    ) -> None:
        self.complete = False
        self.replayable = length is None or length <= limit
        self._limit = limit
        self._chunked = chunked
        self._hold = hold
        self._size = 0
        self._kept: list[bytes] = []
        self._sink: BodySink | None = None

    @classmethod
    def of(cls, head: RequestHead, limit: int, hold: Callable[[bool], None]) -> RequestBody:
        """Return the body that follows a head; arguments as above."""
        told = find(head.headers, b"content-length") or b""
        length = int(told) if told.isdigit() else None
        return cls(limit, chunked=head.chunked, hold=hold, length=length)

    def feed(self, data: bytes) -> None:
        """Take more of the body."""
        self._size += len(data)
        over = self._size > self._limit
        if self._sink is not None:
            self._sink.write(self._framed(data))
            if over:
                self.replayable = False
                self._kept.clear()
            elif self.replayable:
                self._kept.append(data)
            return
        self._kept.append(data)
        if over:
            self.replayable = False
            self._hold(True)

    def finish(self) -> None:
        """Take the end of the body."""
        self.complete = True
        if self._sink is not None and self._chunked:
            self._sink.write(_LAST_CHUNK)

    def send_to(self, sink: BodySink, head: bytes) -> None:
        """Send ``head`` and what has come of the body to ``sink``, and the rest as it comes."""
        parts = [head, *(self._framed(data) for data in self._kept)]
        if self.complete and self._chunked:
            parts.append(_LAST_CHUNK)
        self._sink = sink
        sink.write(b"".join(parts))
        if not self.replayable:
            self._kept.clear()
            self._hold(False)

    def detach(self) -> None:
        """Send nothing more to the machine at hand; what comes is kept for the next one."""
        self._sink = None

    def _framed(self, data: bytes) -> bytes:
        return b"".join(chunk(data)) if self._chunked else data
