"""A stream of HTTP/2 and who waits for what comes on it."""

from __future__ import annotations

from typing import Any, Protocol

from loadtest.engine.client.http2_stream import Http2Stream
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.hub.wait import Expired


class Turn(Http2Stream):
    """
    A stream, and the greenlet that waits for it.

    Args:
        sample: Gets stamps and outcome.
        bodiless: The request is a HEAD.
        keep_bytes: Bytes of the answer that are kept.
        held: The body is read piece by piece.

    Attributes:
        sending: Its request waits to be handed over.
        handed_ns: When the kernel had the last byte of the request.
    """

    greenlet: Any = None
    deadline_ns = send_began = handed_ns = 0
    sending = False

    def __init__(
        self, sample: RequestSample, *, bodiless: bool, keep_bytes: int, held: bool = False
    ) -> None:
        super().__init__(bodiless=bodiless, keep_bytes=keep_bytes, held=held)
        self.sample = sample

    def expire(self) -> None:
        """Watchdog: end the wait of whoever waits."""
        if self.greenlet is not None:
            self.greenlet.throw(Expired)


class StreamCarrier(Protocol):
    """The connection that a stream is one of."""

    def read(self, turn: Turn, timeout_ns: int) -> bytes:
        """Return what has come of a body, or comes next."""
        ...

    def finish(self, turn: Turn) -> None:
        """Give a stream up if it is not over."""
        ...


class Http2Body:
    """
    The body of an answer in HTTP/2, read as it comes; see ``bodies.Body``.

    Args:
        carrier: The connection.
        turn: The stream.
    """

    def __init__(self, carrier: StreamCarrier, turn: Turn) -> None:
        self._carrier, self._turn = carrier, turn

    @property
    def whole(self) -> bool:
        """Whether its end is here, read or not."""
        return self._turn.done

    def read(self, timeout_ns: int) -> bytes:
        """Return what has come, or comes next, as ``Body.read`` does."""
        return self._carrier.read(self._turn, timeout_ns)

    def let_go(self) -> None:
        """Read no more: a stream that is not over is given up."""
        self._carrier.finish(self._turn)
