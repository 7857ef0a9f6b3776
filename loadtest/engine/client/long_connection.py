"""A connection that goes on after its request was answered: what comes then comes by itself."""

from __future__ import annotations

from typing import Protocol

from loadtest.engine.client.connection import HttpConnection
from loadtest.engine.client.dial import Dialer
from loadtest.engine.client.framer import Framer
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.tolerant import FramingError
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import Failure, why


class LongFramer(Framer, Protocol):
    """Follows what a server says after its answer, too."""

    failure: Failure | None
    """Why what was expected will not come; None while it may."""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        ...

    def outgoing(self) -> bytes:
        """Return what is to be sent back now."""
        ...


class LongConnection(HttpConnection):
    """
    Such a connection.

    Args:
        line: A dialled line, whose socket the connection takes over.
        address: Where it leads to.
        limits: Sizes.
        instruments: The hub's shared parts.
        framer: Reads what comes.
    """

    def __init__(
        self,
        line: Dialer,
        address: str,
        limits: Limits,
        instruments: Instruments,
        framer: LongFramer,
    ) -> None:
        self._long = framer
        self.taken_ns = 0
        """When the latest piece arrived that was read while a request was under way."""
        self.headed_ns = 0
        """When the piece arrived that completed the head of the answer."""
        super().__init__(line, address, limits, instruments, framer)

    def send(self, data: bytes) -> bool:
        """Send bytes that nobody waits on an answer to; return whether the connection lives."""
        if not data or self._socket is None:
            return self.usable
        if self._tls is not None:
            self._tls.session.write(data)
            data = self._tls.outgoing.read()
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._give_up(f"cannot send: {why(error)}")
            return False
        if sent != len(data):
            self._give_up("the server does not read")
        return self.usable

    def _may_come(self) -> bool:
        return self.usable

    # In the hub.

    def _came_early(self) -> None:
        """Think nothing of it: the server speaks when it likes."""

    def _take_unasked(self, data: bytes) -> None:
        try:
            self._long.feed(data)
        except FramingError as error:
            self._give_up(f"malformed: {error}")
        self.send(self._long.outgoing())
        if self._long.over:
            self.usable = False

    def _take(self, data: bytes, now: int, arrival: int) -> None:
        self.taken_ns = arrival or now
        headed = self._long.head_done
        super()._take(data, now, arrival)
        if self._long.head_done and not headed:
            self.headed_ns = self.taken_ns
        self.send(self._long.outgoing())

    def _settle(self, failure: Failure | None) -> None:
        super()._settle(failure or self._long.failure)

    def _give_up(self, reason: str) -> None:
        if self._long.failure is None:
            self._long.failure = Failure("closed-early", reason)
        self._settle(self._long.failure)
        self.usable = False
