"""
One keep-alive connection, plain or TLS, and the stamps of what passes over it.

The socket is read in a hub callback the moment it becomes readable, before any other greenlet runs;
the waiting user is switched to only when its response is complete.  The watcher of the socket stays
started for the connection's life, so a request costs one send and one recvmsg.  Under TLS the
encrypted bytes are read the same way and decrypted through memory BIOs, so the stamp of the packet
that carried the first application byte is at hand.
"""

from __future__ import annotations

import ssl
import time
from typing import Any, Final

from gevent import getcurrent

from loadtest.engine.client.dial import Dialer, Tls
from loadtest.engine.client.framer import Framer
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.parser import FramingError, ResponseFramer
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import READ, WRITE, Expired, Failure, HubWaiter, blamed, why
from loadtest.kernel.stamps import ANCILLARY_BYTES, TcpInfo, receive_stamp_ns, tcp_info
from loadtest.records.kinds import HTTP_1
from loadtest.units import NS_PER_S, NS_PER_US

_READ_BYTES: Final = 64 * 1024
_CLOCK_SLACK_NS: Final = 20 * NS_PER_US  # what two stamps of one moment may differ by
SEND_NS: Final = 50 * NS_PER_US
"""
What send() takes at most when nothing interrupts it.  The moment of handing over lies between the
call and the return; where they are further apart the process was paused, and the earlier moment
counts: a paused generator may make a wait look longer, never shorter.
"""

_monotonic_ns = time.monotonic_ns


class HttpConnection(HubWaiter):
    """
    An open connection.

    Args:
        line: A dialled line, whose socket the connection takes over.
        address: Where it leads to.
        limits: Sizes.
        instruments: The hub's shared parts.
    """

    def __init__(
        self, line: Dialer, address: str, limits: Limits, instruments: Instruments
    ) -> None:
        super().__init__(instruments)
        self.address = address
        self.usable = True
        """Whether another request may be sent on it."""
        self.pieces: list[bytes] = []
        """Raw bytes of the latest response, up to ``limits.keep_bytes``."""
        self.received = 0
        """Bytes of the latest response, head and body."""
        self.framer: Framer = self._new_framer(limits, secure=line.tls is not None)
        self._limits = limits
        self._offset = instruments.offset
        self._alarm = instruments.alarm
        self._send_began = 0
        self._sample: RequestSample | None = None
        self._over = True
        self._failure: Failure | None = None
        self._socket: Any = line.socket
        self._tls = line.tls
        instruments.opened(self)
        self._watcher: Any = self._hub.loop.io(self._socket.fileno(), READ)
        self._watcher.start(self._on_readable)

    protocol = HTTP_1

    def _new_framer(self, limits: Limits, *, secure: bool) -> Framer:  # noqa: ARG002 - for HTTP/2
        return ResponseFramer()

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
            sample.bytes = self.received
            sample.status = framer.status
            sample.region_header = framer.region
            sample.timing_header = framer.timing
        self._conclude()

    def _conclude(self) -> None:
        """Note whether another request may be sent, and raise what went wrong."""
        if (failure := self._failure) is not None:
            self.usable = self._outlives(failure)
            raise failure
        self.usable = self.framer.keep_alive and not self.framer.surplus

    def _outlives(self, failure: Failure) -> bool:  # noqa: ARG002 - HTTP/2 has streams
        """Tell whether the next request may be sent after a failure: its answer may come still."""
        return False

    def ready(self) -> bool:
        """Tell whether the next request may be sent on it."""
        return self.usable

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
        sample.send_ns = now - ready_ns(sample)

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
            now = _monotonic_ns()
            if not sample.first_ns:
                sample.first_ns = sample.first_user_ns = now
            sample.last_ns = now
            done = "no byte" if not self.received else f"{self.received} bytes"
            self._failure = Failure(
                "read-timeout", f"{done} within {read_ns / NS_PER_S:g} s of the request"
            )
        finally:
            watchdog.discard(self)
            self._greenlet = None

    # In the hub.

    def _on_readable(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._on_closed(why(error), orderly=False)
        else:
            now = _monotonic_ns()
            if self._alarm.due_ns <= now:
                self._alarm.fire()  # an arrival is not to wait until a burst of answers is read
            tls = self._tls
            if not data:
                # under TLS an end without close_notify may be anybody's: it ends no body
                # (RFC 8446, 6.1)
                self._on_closed("closed by the server", orderly=tls is None)
            elif tls is not None:
                self._decrypt(tls, data, now, 0 if self._over else self._arrival_ns(ancillary, now))
            elif self._over:
                self._take_unasked(data)
            else:
                arrival = self._arrival_ns(ancillary, now)
                if not self._over:
                    self._take(data, now, arrival)
        if self._over and self._greenlet is not None:
            self._greenlet.switch()  # the last thing to do here: the user may send again

    def _decrypt(self, tls: Tls, data: bytes, now: int, arrival: int) -> None:
        session, incoming = tls.session, tls.incoming
        incoming.write(data)
        try:
            while plain := session.read(_READ_BYTES):
                if self._over:
                    self._take_unasked(plain)
                else:
                    self._take(plain, now, arrival)
                if not incoming.pending and not session.pending():
                    break
            else:
                self._on_closed("closed by the server", orderly=True)
        except ssl.SSLWantReadError:
            pass  # no application data in it, or half a record
        except ssl.SSLError as error:
            self._settle(Failure("tls", f"broken TLS record: {why(error)}"))
        if tls.outgoing.pending and self._socket is not None:  # the answer to a key update
            try:
                self._socket.send(tls.outgoing.read())
            except OSError:
                self.usable = False

    def _arrival_ns(self, ancillary: Any, now: int) -> int:
        """Return when the kernel received it, monotonic; 0 where there is no stamp to believe."""
        wall_ns = receive_stamp_ns(ancillary)
        if not wall_ns:
            return 0
        sample = self._sample
        assert sample is not None
        offset = self._offset
        arrival = wall_ns - offset.offset_ns
        began = sample.start_ns
        if (
            began - _CLOCK_SLACK_NS <= arrival <= now + _CLOCK_SLACK_NS
            and offset.stepped_ns < began
        ):
            return arrival if arrival < now else now
        stepped = offset.refresh() or offset.stepped_ns >= began
        if not stepped and arrival < began and not self.received:
            # it was here before the request was made, so it answers something else
            self._came_early()
        return 0  # the clock was set under this request: nobody knows by how much

    def _came_early(self) -> None:
        """Judge bytes that were here before the request was made: they answer something else."""
        self._settle(Failure("closed-early", "bytes came unasked", unanswered=True))

    def _take_unasked(self, data: bytes) -> None:  # noqa: ARG002 - what they are matters in HTTP/2
        """Take bytes that came while no request was in flight."""
        self.framer.surplus = True
        self._on_closed("data that nobody asked for", orderly=False)

    def _take(self, data: bytes, now: int, arrival: int) -> None:
        """Take response bytes that arrived at ``arrival`` (0: unknown) and were read at ``now``."""
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
        elif received > self._limits.head_bytes:
            self._check_size(received, self._limits)

    def _check_size(self, received: int, limits: Limits) -> None:
        if not self.framer.head_done:
            self._settle(Failure("too-large", f"head of more than {limits.head_bytes} bytes"))
        elif received > limits.head_bytes + limits.body_bytes:
            self._settle(Failure("too-large", f"body of more than {limits.body_bytes} bytes"))

    def _on_closed(self, why: str, *, orderly: bool) -> None:
        """The peer closed, or spoilt the connection while nobody waited."""
        self._watcher.stop()
        if self._over:
            self.usable = False
        elif orderly and self.framer.end_of_stream():
            self._settle(None)
        else:
            sample = self._sample
            assert sample is not None
            sample.last_ns = _monotonic_ns()
            if not sample.first_ns:
                sample.first_ns = sample.first_user_ns = sample.last_ns
            unanswered = self.received == 0
            got = "before any response byte" if unanswered else f"after {self.received} bytes"
            self._settle(Failure("closed-early", f"{got}: {why}", unanswered=unanswered))

    def _settle(self, failure: Failure | None) -> None:
        """The request's outcome is known; its greenlet goes on when the callback is through."""
        if self._over:
            self.usable = False
            return
        self._failure = failure
        self._over = True

    # The end.

    def tcp_info(self) -> TcpInfo | None:
        """Return the kernel's counts of this connection, or None."""
        return tcp_info(self._socket) if self._socket is not None else None

    def close(self) -> None:
        """Close; harmless when closed."""
        self.usable = False
        if self._socket is None:
            return
        self._watcher.stop()
        self._watcher.close()
        self._watcher = None
        self._instruments.closing(self)
        self._socket.close()
        self._socket = None
        self.framer.dispose()


def ready_ns(sample: RequestSample) -> int:
    """Return when the connection was there to be sent on."""
    return sample.start_ns + sample.dns_ns + sample.connect_ns + sample.tls_ns
