"""
One keep-alive connection of HTTP/1.1, and the stamps of what passes over it.

The waiting user is switched to only when its response is complete, or, of a body that is read as it
comes, when there is more of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gevent import getcurrent

from loadtest.engine.client.bodies import BodyFramer, Http1Body
from loadtest.engine.client.dial import Dialer
from loadtest.engine.client.framer import Framer
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.parser import FramingError, ResponseFramer
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.stamped import StampedSocket
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import WRITE, Expired, Failure, blamed, why
from loadtest.records.kinds import HTTP_1
from loadtest.units import NS_PER_S, NS_PER_US

SEND_NS: Final = 50 * NS_PER_US
"""
What send() takes at most when nothing interrupts it.  The moment of handing over lies between the
call and the return; where they are further apart the process was paused, and the earlier moment
counts: a paused generator may make a wait look longer, never shorter.
"""

_monotonic_ns = time.monotonic_ns


class HttpConnection(StampedSocket):
    """
    An open connection.

    Args:
        line: A dialled line, whose socket the connection takes over.
        address: Where it leads to.
        limits: Sizes.
        instruments: The hub's shared parts.
        framer: Follows what comes; None for one request's answer after the other's.
    """

    protocol = HTTP_1

    def __init__(
        self,
        line: Dialer,
        address: str,
        limits: Limits,
        instruments: Instruments,
        framer: Framer | None = None,
    ) -> None:
        self.framer: Framer = framer or ResponseFramer()
        self._body: Http1Body | None = None
        self._send_began = 0
        self._failure: Failure | None = None
        super().__init__(line, address, limits, instruments)

    def ready(self) -> bool:
        """Tell whether the next request may be sent on it."""
        return self.usable

    # One request and its response.

    def exchange(
        self, request: bytes, sample: RequestSample, *, bodiless: bool, read_ns: int, send_ns: int
    ) -> None:
        """
        Send a request and wait for its whole response; stamps and outcome go into the sample.

        Args:
            request: Head and body.
            sample: Gets every field from send_ns to timing_header.
            bodiless: The request is a HEAD.
            read_ns: Time from the last request byte to the last response byte.
            send_ns: Time to hand the request to the kernel.

        Raises:
            Failure: There is no complete response; the sample holds what there was.
        """
        framer = self.framer
        framer.start(bodiless=bodiless)
        self._sample = sample
        self._failure = None
        self._over = False
        self.pieces = []
        self.received = 0
        self.usable = False
        try:
            self._send_request(request, sample, send_ns)
            if not self._over:
                self._await_response(sample, read_ns)
        finally:
            self._sample = None
            self._over = True
            self.cookies = framer.cookies
            sample.bytes = self.received
            sample.status = framer.status
            sample.region_header = framer.region
            sample.timing_header = framer.timing
        if self._failure is not None:
            raise self._failure
        self.usable = framer.keep_alive and not framer.surplus

    def _send_request(self, request: bytes, sample: RequestSample, send_ns: int) -> None:
        if self._tls is not None:
            self._tls.session.write(request)
            request = self._tls.outgoing.read()
        self._send_began = began = _monotonic_ns()
        try:
            sent = self._socket.send(request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            sample.send_ns = _monotonic_ns() - ready_ns(sample)
            kind = blamed(error.errno, "send")
            raise Failure(kind, f"cannot send: {why(error)}", unanswered=kind == "send") from None
        now = _monotonic_ns()
        if sent != len(request):
            now = self._send_rest(memoryview(request)[sent:], sample, send_ns)
        elif now - began > SEND_NS:
            now = began + SEND_NS
        sample.sent_ns = now
        # the phases are made to add up: sending begins where the phase before it ended
        sample.send_ns = now - sample.start_ns - sample.dns_ns - sample.connect_ns - sample.tls_ns

    def _send_rest(self, view: memoryview, sample: RequestSample, send_ns: int) -> int:
        """
        Send what the socket's buffer did not take at once; an early response ends it.

        Returns:
            When the kernel had the last byte.
        """
        deadline_ns = _monotonic_ns() + send_ns
        while view and not self._over:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                try:
                    self.wait(self._socket.fileno(), WRITE, deadline_ns)
                except Expired:
                    sample.send_ns = _monotonic_ns() - ready_ns(sample)
                    raise Failure("send", f"{len(view)} bytes were not taken in time") from None
            except OSError as error:
                sample.send_ns = _monotonic_ns() - ready_ns(sample)
                kind = blamed(error.errno, "send")
                raise Failure(kind, f"cannot send: {why(error)}") from None
        if view:
            self.framer.keep_alive = False  # the server will never see the end of this request
        return _monotonic_ns()

    def _await_response(self, sample: RequestSample, read_ns: int) -> None:
        self.deadline_ns = sample.sent_ns + read_ns
        self._greenlet = getcurrent()
        watchdog = self._instruments.watchdog
        watchdog.add(self)
        try:
            while not self._over:
                self._hub.switch()
        except Expired:
            sample.break_off(_monotonic_ns())
            done = "no byte" if not self.received else f"{self.received} bytes"
            self._failure = Failure(
                "read-timeout", f"{done} within {read_ns / NS_PER_S:g} s of the request"
            )
        finally:
            watchdog.discard(self)
            self._greenlet = None

    # In the hub.

    def _came_early(self) -> None:
        self._settle(Failure("closed-early", "bytes came unasked", unanswered=True))

    def _take_unasked(self, data: bytes) -> None:
        if self._body is not None:
            self._body.take(data)
            return
        self.framer.surplus = True
        self._on_closed("data that nobody asked for", orderly=False)

    def _take(self, data: bytes, now: int, arrival: int) -> None:
        sample = self._sample
        framer = self.framer
        assert sample is not None
        self.received = received = self.received + len(data)
        begun = framer.begun
        failure = None
        done = False
        try:
            done = framer.feed(data)
        except FramingError as error:
            failure = Failure("protocol", f"malformed response: {error}")
        if framer.begun != begun or not sample.first_ns:
            # this piece brought the first byte of a response head; interim heads are overwritten
            sample.first_user_ns = now
            sample.kernel = arrival != 0
            sample.first_ns = arrival or now
            if sample.first_ns < sample.sent_ns:  # it came before send() returned
                sample.send_ns -= sample.sent_ns - self._send_began
                sample.sent_ns = self._send_began
        sample.last_ns = arrival if arrival and sample.kernel else now
        if received <= self._limits.keep_bytes:
            self.pieces.append(data)
        if done or failure is not None:
            self._settle(failure)
        elif self._body is not None and framer.head_done:
            self._settle(None)
        elif received > self._limits.head_bytes:
            self._check_size(received, self._limits)

    def _check_size(self, received: int, limits: Limits) -> None:
        if not self.framer.head_done:
            self._settle(Failure("too-large", f"head of more than {limits.head_bytes} bytes"))
        elif received > limits.head_bytes + limits.body_bytes:
            self._settle(Failure("too-large", f"body of more than {limits.body_bytes} bytes"))

    def _on_closed(self, why: str, *, orderly: bool) -> None:
        self._watcher.stop()
        if self._over:
            self.usable = False
            if self._body is not None:
                self._body.end(why, orderly=orderly)
        elif orderly and self.framer.end_of_stream():
            self._settle(None)
        else:
            sample = self._sample
            assert sample is not None
            sample.break_off(_monotonic_ns())
            unanswered = self.received == 0
            got = "before any response byte" if unanswered else f"after {self.received} bytes"
            self._settle(Failure("closed-early", f"{got}: {why}", unanswered=unanswered))

    def _settle(self, failure: Failure | None) -> None:
        if self._over:
            self.usable = False
            return
        self._failure = failure
        self._over = True

    # A body that is read as it comes.

    def open(
        self, request: bytes, sample: RequestSample, *, bodiless: bool, read_ns: int, send_ns: int
    ) -> Http1Body:
        """
        Do what ``exchange`` does, up to the end of the head of the answer.

        Returns:
            What gives the body.

        Raises:
            Failure: There is no answer.
        """
        framer = self.framer = BodyFramer()
        body = self._body = Http1Body(self, framer, sample, self._limits)
        try:
            self.exchange(request, sample, bodiless=bodiless, read_ns=read_ns, send_ns=send_ns)
        except BaseException:
            self._body = None
            raise
        return body

    def wait_until(self, there: Callable[[], bool], timeout_ns: int) -> bool:
        """
        Wait for what comes without being asked for.

        Args:
            there: Tells whether it has come.
            timeout_ns: Longest time to wait.

        Returns:
            Whether it has; False also when nothing can come any more.
        """
        if there():
            return True
        self.guard(_monotonic_ns() + timeout_ns)
        try:
            while not there() and self._may_come():
                self._hub.switch()
        except Expired:
            pass
        finally:
            self.unguard()
        return there()

    def _may_come(self) -> bool:
        return self._watcher is not None

    def hold_up(self, *, held: bool) -> None:
        """Read nothing for a while, so that the server is held up; or read on."""
        if self._watcher is not None and held == self._watcher.active:
            if held:
                self._watcher.stop()
            else:
                self._watcher.start(self._on_readable)

    def let_go(self) -> None:
        """Read no more of the body; where it was at its end the next request may be sent."""
        self._body = None
        framer = self.framer
        self.usable = framer.keep_alive and not framer.surplus and self._failure is None
        if self.usable:
            framer.dispose()
            self.framer = ResponseFramer()

    # The end.

    def close(self) -> None:
        """Close; harmless when closed."""
        if self._socket is not None:
            super().close()
            self.framer.dispose()


def ready_ns(sample: RequestSample) -> int:
    """Return when the connection was there to be sent on."""
    return sample.start_ns + sample.dns_ns + sample.connect_ns + sample.tls_ns
