"""
Bodies that are read as they come, for answers without an end.

What waits to be read is bounded: beyond that the server is held up, by TCP or by the stream's
window.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from loadtest.engine.client.limits import Limits
from loadtest.engine.client.parser import ResponseFramer
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.tolerant import FramingError, TolerantReader
from loadtest.engine.hub.wait import Failure
from loadtest.units import NS_PER_S

MOST_UNREAD: Final = 1 << 18
"""Bytes that wait to be read before the server is held up."""

_monotonic_ns = time.monotonic_ns


class BodyFramer(ResponseFramer):
    """Follows one response, and gives its body out as it comes: ``body`` has what is new."""

    __slots__ = ("_again", "body")

    _collects = True

    def start(self, *, bodiless: bool) -> None:
        """Expect the response, as ``ResponseFramer.start`` does."""
        super().start(bodiless=bodiless)
        self.body: list[bytes] = []
        self._again = 0

    def on_body(self, data: bytes) -> None:
        """Parser: part of the body."""
        if not self.done:
            self._again += len(data)
            self.body.append(data)

    def _feed_tolerant(self, reader: TolerantReader, data: bytes) -> bool:
        """Feed the reader, which begins anew: what was given out before is passed over."""
        done = super()._feed_tolerant(reader, data)
        fresh = b"".join(reader.body)
        reader.body.clear()
        known = min(self._again, len(fresh))
        self._again -= known
        if fresh[known:]:
            self.body.append(fresh[known:])
        return done


class Body(Protocol):
    """A body that is read as it comes."""

    @property
    def whole(self) -> bool:
        """Whether its end is here, read or not."""
        ...

    def read(self, timeout_ns: int) -> bytes:
        """
        Return what has come, or comes next; nothing where it has ended.

        Args:
            timeout_ns: How long to wait for it.

        Raises:
            Failure: It breaks off, is too large, or nothing came in time.
        """
        ...

    def let_go(self) -> None:
        """Read no more."""
        ...


class NoBody:
    """The body of an answer that never came."""

    whole = True

    def read(self, timeout_ns: int) -> bytes:  # noqa: ARG002 - as of any body
        """Return nothing."""
        return b""

    def let_go(self) -> None:
        """Do nothing."""


class BodyCarrier(Protocol):
    """The connection that such a body of HTTP/1.1 comes on."""

    def wait_until(self, there: Callable[[], bool], timeout_ns: int) -> bool:
        """Wait for what comes without being asked for; return whether it has come."""
        ...

    def hold_up(self, *, held: bool) -> None:
        """Read nothing for a while, or read on."""
        ...

    def let_go(self) -> None:
        """Let the connection see to the next request."""
        ...


class Http1Body:
    """
    The body of an answer in HTTP/1.1.

    Args:
        carrier: Its connection.
        framer: Follows the answer.
        sample: Gets the number of bytes, and when the last came.
        limits: How large it may become.
    """

    def __init__(
        self, carrier: BodyCarrier, framer: BodyFramer, sample: RequestSample, limits: Limits
    ) -> None:
        self._carrier = carrier
        self._framer = framer
        self._sample = sample
        self._most = limits.head_bytes + limits.body_bytes
        self._too_large = f"body of more than {limits.body_bytes} bytes"
        self._unread = 0
        self._failure: Failure | None = None

    @property
    def whole(self) -> bool:
        """Whether its end is here, read or not."""
        return self._framer.done

    def read(self, timeout_ns: int) -> bytes:
        """Return what has come, or comes next, as ``Body.read`` does."""
        pieces = self._framer.body
        if not self._carrier.wait_until(self._has_news, timeout_ns):
            after = f"no byte within {timeout_ns / NS_PER_S:g} s of {self._sample.bytes} bytes"
            self._failure = Failure("read-timeout", after)
        if not pieces and self._failure is not None:
            raise self._failure
        data = b"".join(pieces)
        pieces.clear()
        self._unread = 0
        self._carrier.hold_up(held=self._failure is not None)
        return data

    def let_go(self) -> None:
        """Read no more."""
        if not self._framer.done or self._failure is not None:
            self._framer.keep_alive = False
        self._carrier.let_go()

    def _has_news(self) -> bool:
        return bool(self._framer.body) or self._framer.done or self._failure is not None

    # What the connection calls.

    def take(self, data: bytes) -> None:
        """Take more of it."""
        sample, framer = self._sample, self._framer
        if self._failure is not None:
            return
        self._unread += len(data)
        sample.bytes += len(data)
        sample.last_ns = _monotonic_ns()
        try:
            framer.feed(data)
        except FramingError as error:
            self._failure = Failure("protocol", f"malformed response: {error}")
        if sample.bytes > self._most:
            self._failure = Failure("too-large", self._too_large)
        if self._unread > MOST_UNREAD or self._failure is not None:
            self._carrier.hold_up(held=True)

    def end(self, why: str, *, orderly: bool) -> None:
        """Take the peer's closing."""
        framer = self._framer
        if not framer.done and not (orderly and framer.end_of_stream()) and self._failure is None:
            self._failure = Failure("closed-early", f"after {self._sample.bytes} bytes: {why}")
