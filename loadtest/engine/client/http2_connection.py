"""
A connection that speaks HTTP/2: the socket, TLS and stamps of ``HttpConnection``, frames inside.

Requests of one user that are under way at the same time share it, each as a stream of its own.
What the server says between requests (settings, pings, a farewell) is answered at once, in the hub.
"""

from __future__ import annotations

import time
from typing import Any, Final

from gevent import getcurrent

from loadtest.engine.client.connection import SEND_NS, ready_ns
from loadtest.engine.client.dial import Dialer
from loadtest.engine.client.http2 import Http2Framer
from loadtest.engine.client.http2_turn import Http2Body, Turn
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.outbox import Outbox
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.stamped import StampedSocket
from loadtest.engine.client.tolerant import FramingError
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import Expired, Failure, blamed, why
from loadtest.records.kinds import HTTP_2
from loadtest.units import NS_PER_S

_MOST_UNSENT: Final = 1 << 20
"""Bytes of replies that may wait for a server that asks and does not read."""

_monotonic_ns = time.monotonic_ns


class Http2Connection(StampedSocket):
    """
    An open connection whose server agreed to HTTP/2, or is known to speak it.

    Args:
        line: A dialled line, whose socket the connection takes over.
        address: Where it leads to.
        limits: Sizes.
        instruments: The hub's shared parts.
    """

    protocol = HTTP_2
    shared = True

    def __init__(
        self, line: Dialer, address: str, limits: Limits, instruments: Instruments
    ) -> None:
        self._h2 = Http2Framer(secure=line.tls is not None, head_bytes=limits.head_bytes)
        self._retired = False
        self._split = (0, 0)  # when the piece was read, and arrived, that began a split frame
        self._awaited: list[Turn] = []
        super().__init__(line, address, limits, instruments)
        self._outbox = Outbox(
            self._hub.loop, self._socket, self._tls, self._on_moved, self._on_fault
        )

    def ready(self) -> bool:
        """Tell whether the next request may be sent: after a time-out a sign of life is due."""
        framer = self._h2
        return self.usable and not framer.asked_for_life and (not framer.streams or framer.has_room)

    @property
    def busy(self) -> bool:
        """Whether requests are under way on it."""
        return bool(self._h2.streams)

    # One request and its response.

    def exchange(
        self, request: bytes, sample: RequestSample, *, bodiless: bool, read_ns: int, send_ns: int
    ) -> None:
        """Do what ``HttpConnection.exchange`` does; a failure is that of one stream alone."""
        turn = Turn(sample, bodiless=bodiless, keep_bytes=self._limits.keep_bytes)
        try:
            self._ask(turn, request, send_ns)
            if not turn.done:
                self._await(turn, read_ns)
        finally:
            self.finish(turn)
        if turn.failure is not None:
            raise turn.failure

    def open(
        self, request: bytes, sample: RequestSample, *, bodiless: bool, read_ns: int, send_ns: int
    ) -> Http2Body:
        """Do what ``exchange`` does, up to the end of the head; return what gives the body."""
        turn = Turn(sample, bodiless=bodiless, keep_bytes=self._limits.keep_bytes, held=True)
        try:
            self._ask(turn, request, send_ns)
            if not turn.done:
                self._await(turn, read_ns)
            if turn.failure is not None:
                raise turn.failure
        except BaseException:
            self.finish(turn)
            raise
        self._note(turn)
        return Http2Body(self, turn)

    def read(self, turn: Turn, timeout_ns: int) -> bytes:
        """Return what has come of a body, or comes next, as ``Body.read`` does."""
        if not turn.pieces and not turn.done:
            self._guard(turn, _monotonic_ns() + timeout_ns)
            try:
                while not turn.pieces and not turn.done:
                    self._hub.switch()
            except Expired:
                after = f"no byte within {timeout_ns / NS_PER_S:g} s of {turn.received} bytes"
                turn.fail("read-timeout", after)
                self._give_up(turn, doubtful=True)
            finally:
                self._unguard(turn)
        data = b"".join(turn.pieces)
        turn.pieces.clear()
        if not turn.done:
            self._h2.catch_up(turn)
            self._outbox.send(self._h2.outgoing())
        if not data and turn.failure is not None:
            raise turn.failure
        return data

    def _note(self, turn: Turn) -> None:
        """Note what a stream has brought."""
        sample = turn.sample
        sample.bytes, sample.status = turn.received, turn.status
        sample.region_header, sample.timing_header = turn.region, turn.timing
        self.pieces, self.cookies = turn.pieces, turn.cookies

    def finish(self, turn: Turn) -> None:
        """Note what a stream has brought, and give it up if it is not over."""
        self._note(turn)
        if not turn.done:
            self._give_up(turn)
        if streams := self._h2.streams:
            oldest: Any = next(iter(streams.values()))
            self._sample = oldest.sample  # stamps are judged by its start
            return
        self._over, self._sample = True, None
        if self._retired:
            self.close()

    def _give_up(self, turn: Turn, *, doubtful: bool = False) -> None:
        self._h2.cancel(turn, doubtful=doubtful)
        if self._socket is not None:
            self._outbox.send(self._h2.outgoing())  # a fault of the socket ends the connection

    # Sending.

    def _ask(self, turn: Turn, request: bytes, send_ns: int) -> None:
        sample, framer = turn.sample, self._h2
        try:
            framer.request(turn, request)
        except FramingError as error:
            self.usable = False
            raise Failure("protocol", f"no stream for the request: {error}") from None
        if self._over:
            self._over, self._sample = False, sample
        turn.send_began = began = _monotonic_ns()
        self._outbox.send(framer.outgoing())
        turn.handed_ns = _monotonic_ns()
        if (turn.body or self._outbox.left) and not turn.done:
            self._await_room(turn, began + send_ns)
        elif turn.handed_ns - began > SEND_NS:
            turn.handed_ns = began + SEND_NS
        sample.sent_ns = turn.handed_ns
        sample.send_ns = sample.sent_ns - ready_ns(sample)

    def _await_room(self, turn: Turn, deadline_ns: int) -> None:
        """Wait until the server's windows and the socket have taken the whole body."""
        turn.sending = True
        self._awaited.append(turn)
        self._guard(turn, deadline_ns)
        try:
            while not turn.done and (turn.body or self._outbox.left):
                self._hub.switch()
        except Expired:
            turn.sample.send_ns = _monotonic_ns() - ready_ns(turn.sample)
            self._give_up(turn, doubtful=True)
            raise Failure("send", "the body was not taken in time") from None
        finally:
            turn.sending = False
            if turn in self._awaited:
                self._awaited.remove(turn)
            self._unguard(turn)

    def _guard(self, turn: Turn, deadline_ns: int) -> None:
        turn.deadline_ns = deadline_ns
        turn.greenlet = getcurrent()
        self._instruments.watchdog.add(turn)

    def _unguard(self, turn: Turn) -> None:
        self._instruments.watchdog.discard(turn)
        turn.greenlet = None

    def _await(self, turn: Turn, read_ns: int) -> None:
        sample = turn.sample
        self._guard(turn, sample.sent_ns + read_ns)
        try:
            while not (turn.done or (turn.held and turn.head_done)):
                self._hub.switch()
        except Expired:
            sample.break_off(_monotonic_ns())
            done = "no byte" if not turn.received else f"{turn.received} bytes"
            turn.fail("read-timeout", f"{done} within {read_ns / NS_PER_S:g} s of the request")
            self._give_up(turn, doubtful=True)
        finally:
            self._unguard(turn)

    def _on_fault(self, error: OSError) -> None:
        kind = blamed(error.errno, "send")
        self._end_all(kind, f"cannot send: {why(error)}")

    def _on_moved(self) -> None:
        self._note_handed()
        self._wake()

    def _note_handed(self) -> None:
        """Note the moment for requests whose last byte the kernel has now."""
        if self._outbox.left:
            return
        now = _monotonic_ns()
        for turn in self._awaited:
            if turn.sending and not turn.body:
                turn.handed_ns = now

    def _wake(self) -> None:
        """Let those go on whose request is handed over, or whose answer is here or will not be."""
        if not self._awaited:
            return
        awaited, self._awaited = self._awaited, []
        for turn in awaited:
            if turn.sending and self._is_held_up(turn):
                self._awaited.append(turn)
            elif turn.greenlet is not None:
                turn.greenlet.switch()

    def _is_held_up(self, turn: Turn) -> bool:
        return not turn.done and bool(turn.body or self._outbox.left)

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
            self.usable = False
        self._reply()
        if self._h2.leaving:
            self.usable = False

    def _reply(self) -> None:
        if not (data := self._h2.outgoing()):
            return
        self._outbox.send(data)
        if len(self._outbox.left) > _MOST_UNSENT and not any(
            turn.sending for turn in self._awaited
        ):
            self._on_closed("the server asks without reading", orderly=False)

    def _take(self, data: bytes, now: int, arrival: int) -> None:
        framer, limits = self._h2, self._limits
        try:
            framer.feed(data)
        except FramingError as error:
            framer.end_all("protocol", f"malformed response: {error}")
        over, begun, touched = framer.over, framer.begun, framer.touched
        self._reply()
        if self._awaited:
            self._note_handed()
        turn: Any
        for turn in begun:
            self._stamp(turn, *(self._split if turn.began_before else (now, arrival)))
        if framer.split_here:
            self._split = (now, arrival)
        for turn in touched:
            sample = turn.sample
            if sample.first_ns:
                sample.last_ns = arrival if arrival and sample.kernel else now
            if turn.received > limits.head_bytes and not turn.done:
                self._check_stream(turn, limits)
            if turn.held and not turn.done:
                sample.bytes = turn.received
                self._awaited.append(turn)
        for turn in over:
            if not turn.begun:
                self._stamp(turn, now, arrival)  # refused without a head: there will be no more
                turn.sample.last_ns = turn.sample.first_ns
        self._awaited += over  # type: ignore[arg-type]  # those of this connection are turns
        if framer.leaving:
            self.usable = False

    def _check_stream(self, turn: Turn, limits: Limits) -> None:
        if turn.received > limits.head_bytes + limits.body_bytes:
            turn.fail("too-large", f"body of more than {limits.body_bytes} bytes")
            self._give_up(turn)
            self._awaited.append(turn)

    def _stamp(self, turn: Turn, now: int, arrival: int) -> None:
        """Note when the piece came that the head's frame began in; interim ones are overwritten."""
        sample = turn.sample
        sample.first_user_ns = now
        sample.kernel = arrival != 0
        sample.first_ns = arrival or now
        if sample.first_ns < sample.sent_ns:  # it came before send() returned
            sample.send_ns -= sample.sent_ns - turn.send_began
            sample.sent_ns = turn.send_began

    def _on_closed(self, why: str, *, orderly: bool) -> None:  # noqa: ARG002 - it ends no answer
        """The peer closed, or spoilt the connection: no stream will be answered."""
        self._watcher.stop()
        now = _monotonic_ns()
        turn: Any
        for turn in self._h2.streams.values():
            turn.sample.break_off(now)
        self._end_all("closed-early", why)

    def _settle(self, failure: Failure | None) -> None:
        """A fault of the socket or of TLS ends every stream."""
        if failure is not None:
            self._end_all(failure.kind, failure.detail)

    def _end_all(self, kind: str, detail: str) -> None:
        self.usable = False
        self._awaited += self._h2.end_all(kind, detail)  # type: ignore[arg-type]  # turns, as above
        self._hub.loop.run_callback(self._wake)  # nobody else may come by here any more

    # The end.

    def close(self) -> None:
        """Close, at once or when the last request under way has ended; harmless when closed."""
        self.usable = False
        if self._h2.streams:
            self._retired = True
            return
        self._outbox.close()
        super().close()
