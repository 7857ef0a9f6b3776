"""
One keep-alive connection, plain or TLS, and the stamps of what passes over it.

The socket is read in a hub callback the moment it becomes readable, before any other greenlet runs;
the waiting user is switched to only when its response is complete.  The watcher of the socket stays
started for the connection's life, so a request costs one send and one recvmsg.  Under TLS the
encrypted bytes are read the same way and decrypted through memory BIOs, so the stamp of the packet
that carried the first application byte is at hand.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from typing import Any, Final

from gevent import getcurrent
from gevent.monkey import get_original

from loadtest.engine.instruments import Instruments
from loadtest.engine.limits import Limits
from loadtest.engine.origin import Address, Origin, Resolver
from loadtest.engine.parser import FramingError, ResponseFramer
from loadtest.engine.sample import Sample
from loadtest.engine.stamps import (
    ANCILLARY_BYTES,
    TcpInfo,
    enable_receive_stamps,
    receive_stamp_ns,
    tcp_info,
)
from loadtest.units import NS_PER_S, NS_PER_US

_READ: Final = 1  # libev's EV_READ and EV_WRITE
_WRITE: Final = 2
_READ_BYTES: Final = 64 * 1024
_CLOCK_SLACK_NS: Final = 20 * NS_PER_US  # what two stamps of one moment may differ by
_SEND_NS: Final = 50 * NS_PER_US
"""
What send() takes at most when nothing interrupts it.  The moment of handing over lies between the
call and the return; where they are further apart the process was paused, and the earlier moment
counts: a paused generator may make a wait look longer, never shorter.
"""

_monotonic_ns = time.monotonic_ns


class Failure(Exception):  # noqa: N818 - it is an outcome, and is recorded as one
    """
    A request that did not get its answer.

    Args:
        kind: One of ``records.kinds.ERROR_KINDS``.
        detail: A sentence for a person.
        unanswered: No byte of a response came: a server may have closed before it saw the request.
    """

    def __init__(self, kind: str, detail: str, *, unanswered: bool = False) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.unanswered = unanswered


class _Expired(BaseException):
    """Thrown into a greenlet whose deadline passed; never leaves this module."""


class Connection:
    """
    A connection to one origin.

    Args:
        origin: Where to.
        limits: Time-outs and sizes.
        instruments: The hub's shared parts.
    """

    def __init__(self, origin: Origin, limits: Limits, instruments: Instruments) -> None:
        self.origin = origin
        self.address = ""
        self.usable = False
        """Whether another request may be sent on it."""
        self.pieces: list[bytes] = []
        """Raw bytes of the latest response, up to ``limits.keep_bytes``."""
        self.received = 0
        """Bytes of the latest response, head and body."""
        self.framer = ResponseFramer()
        self.deadline_ns = 0
        self._send_began = 0
        self._limits = limits
        self._instruments = instruments
        self._hub = instruments.hub
        self._offset = instruments.offset
        self._greenlet: Any = None
        self._sample: Sample | None = None
        self._over = True
        self._failure: Exception | None = None
        self._socket: Any = None
        self._watcher: Any = None
        self._tls: ssl.SSLObject | None = None
        self._incoming = self._outgoing = None  # type: ssl.MemoryBIO | None

    # Opening.

    def open(self, sample: Sample, resolver: Resolver, cap_s: float | None) -> None:
        """
        Resolve, connect, shake hands; the phases' times go into the sample.

        Args:
            sample: Gets dns_ns, connect_ns, tls_ns, address, connect_rtt_us.
            resolver: Addresses of names.
            cap_s: Lowers every phase's time-out that is longer; None for none.

        Raises:
            Failure: A phase failed; its time until then is in the sample.
        """
        limits = self._limits
        start = _monotonic_ns()
        try:
            addresses = self._resolve(resolver, _lower(limits.dns_s, cap_s))
        finally:
            resolved = _monotonic_ns()
            sample.dns_ns = resolved - start
        try:
            self._connect(
                addresses, resolved + int(_lower(limits.connect_s, cap_s) * NS_PER_S), sample
            )
        finally:
            connected = _monotonic_ns()
            sample.connect_ns = connected - resolved
        if self.origin.context is not None:
            try:
                self._shake_hands(connected + int(_lower(limits.tls_s, cap_s) * NS_PER_S))
            finally:
                sample.tls_ns = _monotonic_ns() - connected
        on_readable = self._on_readable if self._tls is None else self._on_readable_tls
        self._watcher = self._hub.loop.io(self._socket.fileno(), _READ)
        self._watcher.start(on_readable)
        self.usable = True

    def _resolve(self, resolver: Resolver, timeout_s: float) -> list[Address]:
        host, port = self.origin.name, self.origin.port
        self._guard(_monotonic_ns() + int(timeout_s * NS_PER_S))
        try:
            return resolver.addresses(host, port)
        except _Expired:
            raise Failure("dns", f"no answer for {host!r} within {timeout_s:g} s") from None
        except OSError as error:
            raise Failure("dns", f"cannot resolve {host!r}: {_why(error)}") from None
        finally:
            self._unguard()

    def _connect(self, addresses: list[Address], deadline_ns: int, sample: Sample) -> None:
        failure = Failure("connect", f"{self.origin.name!r} has no address")
        for index, address in enumerate(addresses):
            now = _monotonic_ns()
            share_ns = (deadline_ns - now) // (len(addresses) - index)
            sample.address = address.host
            try:
                self._connect_to(address, now + share_ns)
            except Failure as error:
                failure = error
                self._drop()
                continue
            if (info := tcp_info(self._socket)) is not None:
                sample.connect_rtt_us = info.rtt_us
            self.address = address.host
            return
        raise failure

    def _connect_to(self, address: Address, deadline_ns: int) -> None:
        where = f"{address.host} port {self.origin.port}"
        # the platform's own socket: waiting is done here, whatever Locust has patched
        original: type[socket.socket] = get_original("socket", "socket")
        try:
            sock = original(address.family, socket.SOCK_STREAM)
        except OSError as error:
            raise Failure("connect", f"no socket for {where}: {_why(error)}") from None
        self._socket = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._instruments.keeper.active:
            enable_receive_stamps(sock)
        self._instruments.opened(self)
        code = sock.connect_ex(address.sockaddr)
        if code == errno.EINPROGRESS:
            try:
                self._wait(_WRITE, deadline_ns)
            except _Expired:
                raise Failure("connect-timeout", f"no answer from {where} in time") from None
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.ECONNREFUSED:
            raise Failure("connect-refused", f"{where} refused the connection")
        if code == errno.ETIMEDOUT:
            raise Failure("connect-timeout", f"no answer from {where}")
        if code:
            raise Failure("connect", f"cannot connect to {where}: {os.strerror(code)}")

    def _shake_hands(self, deadline_ns: int) -> None:
        context = self.origin.context
        assert context is not None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=self.origin.server_name
        )
        try:
            while not self._handshake_step(deadline_ns):
                pass
        except _Expired:
            raise Failure("tls", "the TLS handshake was not finished in time") from None
        except ssl.SSLCertVerificationError as error:
            raise Failure("tls", f"certificate refused: {error.verify_message}") from None
        except OSError as error:  # ssl.SSLError is one
            raise Failure("tls", f"TLS handshake failed: {_why(error)}") from None
        except ValueError as error:  # a name that no certificate can carry
            raise Failure("tls", f"TLS handshake failed: {error}") from None

    def _handshake_step(self, deadline_ns: int) -> bool:
        assert self._tls is not None
        assert self._incoming is not None
        try:
            self._tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        except ssl.SSLError:
            self._flush()
            raise
        self._send_all(self._outgoing_bytes(), deadline_ns)
        if done:
            return True
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
                break
            except BlockingIOError:
                self._wait(_READ, deadline_ns)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the server closed during the handshake")
        self._incoming.write(data)
        return False

    def _flush(self) -> None:
        """Send what TLS itself has to say, an alert or a key update, if the socket takes it."""
        try:
            self._socket.send(self._outgoing_bytes())
        except OSError:
            self.usable = False

    def _outgoing_bytes(self) -> bytes:
        assert self._outgoing is not None
        return self._outgoing.read()

    # Waiting.

    def _guard(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self._greenlet = getcurrent()
        self._instruments.watchdog.add(self)

    def _unguard(self) -> None:
        self._instruments.watchdog.discard(self)
        self._greenlet = None

    def expire(self) -> None:
        """Watchdog: end the wait of whoever waits on this connection."""
        if self._greenlet is not None:
            self._greenlet.throw(_Expired)

    def _wait(self, events: int, deadline_ns: int) -> None:
        """Wait until the socket is ready; for everything but responses."""
        watcher = self._hub.loop.io(self._socket.fileno(), events)
        self._guard(deadline_ns)
        watcher.start(self._greenlet.switch)
        try:
            self._hub.switch()
        finally:
            self._unguard()
            watcher.stop()
            watcher.close()

    def _send_all(self, data: bytes, deadline_ns: int) -> None:
        """Send while no response is expected."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                self._wait(_WRITE, deadline_ns)

    # One request and its response.

    def exchange(
        self, request: bytes, sample: Sample, *, bodiless: bool, read_ns: int, send_ns: int
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
        if self._failure is not None:
            raise self._failure
        self.usable = framer.keep_alive and not framer.surplus

    def _send_request(self, request: bytes, sample: Sample, send_ns: int) -> None:
        if self._tls is not None:
            self._tls.write(request)
            request = self._outgoing_bytes()
        self._send_began = began = _monotonic_ns()
        try:
            sent = self._socket.send(request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            sample.send_ns = _monotonic_ns() - _ready_ns(sample)
            raise Failure("send", f"cannot send: {_why(error)}", unanswered=True) from None
        now = _monotonic_ns()
        if sent != len(request):
            now = self._send_rest(memoryview(request)[sent:], sample, send_ns)
        elif now - began > _SEND_NS:
            now = began + _SEND_NS
        sample.sent_ns = now
        # the phases are made to add up: sending begins where the phase before it ended
        sample.send_ns = now - _ready_ns(sample)

    def _send_rest(self, view: memoryview, sample: Sample, send_ns: int) -> int:
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
                    self._wait(_WRITE, deadline_ns)
                except _Expired:
                    sample.send_ns = _monotonic_ns() - _ready_ns(sample)
                    raise Failure("send", f"{len(view)} bytes were not taken in time") from None
            except OSError as error:
                sample.send_ns = _monotonic_ns() - _ready_ns(sample)
                raise Failure("send", f"cannot send: {_why(error)}") from None
        if view:
            self.framer.keep_alive = False  # the server will never see the end of this request
        return _monotonic_ns()

    def _await_response(self, sample: Sample, read_ns: int) -> None:
        self.deadline_ns = sample.sent_ns + read_ns
        self._greenlet = getcurrent()
        watchdog = self._instruments.watchdog
        watchdog.add(self)
        try:
            while not self._over:
                self._hub.switch()
        except _Expired:
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
            self._on_closed(_why(error), orderly=False)
            return
        if not data or self._over:
            self._on_closed("closed by the server", orderly=not data)
        else:
            now = _monotonic_ns()
            arrival = self._arrival_ns(ancillary, now)
            if not self._over:
                self._take(data, now, arrival)
        if self._over:
            self._resume()

    def _on_readable_tls(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._on_closed(_why(error), orderly=False)
        else:
            if data:
                now = _monotonic_ns()
                arrival = 0 if self._over else self._arrival_ns(ancillary, now)
                self._decrypt(data, now, arrival)
            else:
                # an end without close_notify may be anybody's: it ends no body (RFC 8446, 6.1)
                self._on_closed("closed by the server without a TLS close", orderly=False)
        if self._over:
            self._resume()

    def _decrypt(self, data: bytes, now: int, arrival: int) -> None:
        tls, incoming, outgoing = self._tls, self._incoming, self._outgoing
        assert tls is not None
        assert incoming is not None
        assert outgoing is not None
        incoming.write(data)
        try:
            while plain := tls.read(_READ_BYTES):
                if self._over:
                    self.framer.surplus = True
                    self.usable = False
                else:
                    self._take(plain, now, arrival)
                if not incoming.pending and not tls.pending():
                    break
            else:
                self._on_closed("closed by the server", orderly=True)
        except ssl.SSLWantReadError:
            pass  # no application data in it, or half a record
        except ssl.SSLError as error:
            self._settle(Failure("tls", f"broken TLS record: {_why(error)}"))
        if outgoing.pending:
            self._flush()  # the answer to a key update

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
            self._settle(Failure("closed-early", "bytes came unasked", unanswered=True))
        return 0  # the clock was set under this request: nobody knows by how much

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
            self._check_size(received)

    def _check_size(self, received: int) -> None:
        limits = self._limits
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

    def _settle(self, failure: Exception | None) -> None:
        """The request's outcome is known; its greenlet is resumed when the callback is through."""
        if self._over:
            self.usable = False
            return
        self._failure = failure
        self._over = True

    def _resume(self) -> None:
        """Switch to the waiting user: the last thing a callback does, for it may send again."""
        if self._greenlet is not None:
            self._greenlet.switch()

    # The end.

    def tcp_info(self) -> TcpInfo | None:
        """Return the kernel's counts of this connection, or None."""
        return tcp_info(self._socket) if self._socket is not None else None

    def close(self) -> None:
        """Close; harmless when closed."""
        self._drop()
        self.framer.dispose()

    def _drop(self) -> None:
        self.usable = False
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._socket is not None:
            self._instruments.closing(self)
            self._socket.close()
            self._socket = None


def _lower(limit_s: float, cap_s: float | None) -> float:
    return limit_s if cap_s is None or cap_s > limit_s else cap_s


def _ready_ns(sample: Sample) -> int:
    """Return when the connection was there to be sent on."""
    return sample.start_ns + sample.dns_ns + sample.connect_ns + sample.tls_ns


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
