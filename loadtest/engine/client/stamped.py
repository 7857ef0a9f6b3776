"""
An open socket, plain or TLS, and the stamps of what it receives.

It is read in a hub callback the moment it becomes readable, before any other greenlet runs.  The
watcher of the socket stays started for its life, so a request costs one send and one recvmsg.
Under TLS the encrypted bytes are read the same way and decrypted through memory BIOs, so the stamp
of the packet that carried the first application byte is at hand.
"""

from __future__ import annotations

import ssl
import time
from abc import ABC, abstractmethod
from typing import Any, Final

from loadtest.engine.client.dial import Dialer, Tls
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import READ, Failure, HubWaiter, why
from loadtest.kernel.stamps import ANCILLARY_BYTES, TcpInfo, receive_stamp_ns, tcp_info
from loadtest.units import NS_PER_US

_READ_BYTES: Final = 64 * 1024
_CLOCK_SLACK_NS: Final = 20 * NS_PER_US  # what two stamps of one moment may differ by

_monotonic_ns = time.monotonic_ns


class StampedSocket(HubWaiter, ABC):
    """
    Such a socket; who derives from it says what the bytes mean.

    Args:
        line: A dialled line, whose socket it takes over.
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
        self.cookies: list[bytes] | None = None
        """Set-Cookie headers of the latest response; None for none."""
        self.received = 0
        """Bytes of the latest response, head and body."""
        self._limits = limits
        self._offset = instruments.offset
        self._alarm = instruments.alarm
        self._sample: RequestSample | None = None
        """Of the request under way; of several, that of the oldest one."""
        self._over = True
        """No request is under way."""
        self._socket: Any = line.socket
        self._tls = line.tls
        instruments.opened(self)
        self._watcher: Any = self._hub.loop.io(self._socket.fileno(), READ)
        self._watcher.start(self._on_readable)

    protocol: str
    """What is spoken on it."""
    shared = False
    """Several requests of a user may be under way on it."""

    @property
    def busy(self) -> bool:
        """Whether there are such requests."""
        return False

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether the next request may be sent on it."""

    # What the bytes mean.

    @abstractmethod
    def _take(self, data: bytes, now: int, arrival: int) -> None:
        """Take response bytes that arrived at ``arrival`` (0: unknown) and were read at ``now``."""

    @abstractmethod
    def _take_unasked(self, data: bytes) -> None:
        """Take bytes that came while no request was in flight."""

    @abstractmethod
    def _came_early(self) -> None:
        """Judge bytes that were here before the request was made: they answer something else."""

    @abstractmethod
    def _on_closed(self, why: str, *, orderly: bool) -> None:
        """The peer closed, or spoilt the connection."""

    @abstractmethod
    def _settle(self, failure: Failure | None) -> None:
        """The outcome of what is under way is known; who waits goes on after the callback."""

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
