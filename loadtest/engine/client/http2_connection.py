"""
A connection that speaks HTTP/2: the socket, TLS and stamps of ``HttpConnection``, frames inside.

A user has one request in flight on it at a time; each is a stream of its own.  What the server says
between requests (settings, pings, a farewell) is answered at once, in the hub.
"""

from __future__ import annotations

import time
from typing import Any, Final

from gevent import getcurrent

from loadtest.engine.client.connection import SEND_NS, HttpConnection, ready_ns
from loadtest.engine.client.dial import Dialer
from loadtest.engine.client.framer import Framer
from loadtest.engine.client.http2 import Http2Framer
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.tolerant import FramingError
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import WRITE, Expired, Failure, blamed, why
from loadtest.records.kinds import HTTP_2

_MOST_UNSENT: Final = 1 << 20
"""Bytes of replies that may wait for a server that asks and does not read."""

_monotonic_ns = time.monotonic_ns


class Http2Connection(HttpConnection):
    """
    An open connection whose server agreed to HTTP/2, or is known to speak it.

    Args:
        line: A dialled line, whose socket the connection takes over.
        address: Where it leads to.
        limits: Sizes.
        instruments: The hub's shared parts.
    """

    protocol = HTTP_2
    _h2: Http2Framer

    def __init__(
        self, line: Dialer, address: str, limits: Limits, instruments: Instruments
    ) -> None:
        self._unsent = bytearray()
        self._writer: Any = None
        self._sending = False
        self._handed_ns = 0
        self._split = (0, 0)  # when the piece was read, and arrived, that began a split frame
        super().__init__(line, address, limits, instruments)

    def _new_framer(self, limits: Limits, *, secure: bool) -> Framer:
        self._h2 = Http2Framer(
            secure=secure, head_bytes=limits.head_bytes, keep_bytes=limits.keep_bytes
        )
        return self._h2

    def _outlives(self, failure: Failure) -> bool:
        """Tell whether the stream alone is over: other streams know nothing of it."""
        framer = self._h2
        if failure.kind == "read-timeout" and self._socket is not None:
            framer.cancel()
            self.usable = True
            self._write(framer.outgoing())  # a fault of the socket takes that back
            return self.usable and not framer.leaving and not framer.surplus
        return failure is framer.failure and framer.keep_alive and not framer.surplus

    def ready(self) -> bool:
        """Tell whether the next request may be sent: after a time-out a sign of life is due."""
        return self.usable and not self._h2.asked_for_life

    # Sending.

    def _send_request(self, request: bytes, sample: RequestSample, send_ns: int) -> None:
        try:
            self._h2.request(request)
        except FramingError as error:
            raise Failure("protocol", f"no stream for the request: {error}") from None
        self._send_began = began = _monotonic_ns()
        self._write(self._h2.outgoing())
        self._handed_ns = _monotonic_ns()
        if not self._is_handed_over() and not self._over:
            self._await_room(sample, began + send_ns)
        elif self._handed_ns - began > SEND_NS:
            self._handed_ns = began + SEND_NS
        sample.sent_ns = self._handed_ns
        sample.send_ns = sample.sent_ns - ready_ns(sample)

    def _is_handed_over(self) -> bool:
        return self._h2.handed_over and not self._unsent

    def _await_room(self, sample: RequestSample, deadline_ns: int) -> None:
        """Wait until the server's windows and the socket have taken the whole body."""
        self._sending = True
        self.guard(deadline_ns)
        self._greenlet = getcurrent()
        try:
            while not self._over and not self._is_handed_over():
                self._hub.switch()
        except Expired:
            sample.send_ns = _monotonic_ns() - ready_ns(sample)
            raise Failure("send", "the body was not taken in time") from None
        finally:
            self._sending = False
            self.unguard()

    def _write(self, data: bytes) -> None:
        """Send bytes, or keep what the socket does not take; a fault ends the connection."""
        if self._tls is not None and data:
            self._tls.session.write(data)
            data = self._tls.outgoing.read()
        if not data:
            return
        self._unsent += data
        if self._writer is None:
            self._flush()

    def _flush(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._unsent.clear()
            kind = blamed(error.errno, "send")
            text = f"cannot send: {why(error)}"
            unanswered = kind == "send" and not self._h2.received
            self._settle(Failure(kind, text, unanswered=unanswered))
            return
        if self._unsent and self._writer is None:
            self._writer = self._hub.loop.io(self._socket.fileno(), WRITE)
            self._writer.start(self._on_writable)
        elif not self._unsent and self._writer is not None:
            self._drop_writer()

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _on_writable(self) -> None:
        self._flush()
        self._handed_ns = _monotonic_ns()
        self._wake()

    def _wake(self) -> None:
        """Let the user go on whose request is handed over, or failed."""
        if self._sending and self._greenlet is not None and (self._over or self._is_handed_over()):
            self._greenlet.switch()

    # Receiving, in the hub.

    def _on_readable(self) -> None:
        super()._on_readable()
        self._wake()

    def _came_early(self) -> None:
        """Think nothing of it: settings and pings need no request."""

    def _take_unasked(self, data: bytes) -> None:
        try:
            self._h2.feed(data)
        except FramingError:
            self._h2.surplus = True
        self._reply()
        if self._h2.leaving or self._h2.surplus:
            self.usable = False

    def _reply(self) -> None:
        self._write(self._h2.outgoing())
        if len(self._unsent) > _MOST_UNSENT and not self._sending:
            self._h2.surplus = True
            self._on_closed("the server asks without reading", orderly=False)

    def _take(self, data: bytes, now: int, arrival: int) -> None:
        sample, framer = self._sample, self._h2
        assert sample is not None
        begun, failure, done = framer.begun, None, False
        try:
            done = framer.feed(data)
        except FramingError as error:
            failure = Failure("protocol", f"malformed response: {error}")
        self.received = framer.received
        self._reply()
        if self._sending and self._is_handed_over():
            self._handed_ns = _monotonic_ns()
        if framer.begun != begun:
            self._stamp(sample, *(self._split if framer.began_before else (now, arrival)))
        if framer.split_here:
            self._split = (now, arrival)
        if not framer.begun and (done or failure is not None):
            self._stamp(sample, now, arrival)  # refused without a head: there will be no more
        if sample.first_ns:
            sample.last_ns = arrival if arrival and sample.kernel else now
        self.pieces = framer.pieces
        if done or failure is not None:
            self._settle(failure or framer.failure)
        elif self.received > self._limits.head_bytes:
            self._check_size(self.received, self._limits)

    def _stamp(self, sample: RequestSample, now: int, arrival: int) -> None:
        """Note when the piece came that the head's frame began in; interim ones are overwritten."""
        sample.first_user_ns = now
        sample.kernel = arrival != 0
        sample.first_ns = arrival or now
        if sample.first_ns < sample.sent_ns:  # it came before send() returned
            sample.send_ns -= sample.sent_ns - self._send_began
            sample.sent_ns = self._send_began

    def close(self) -> None:
        """Close; harmless when closed."""
        self._drop_writer()
        super().close()
