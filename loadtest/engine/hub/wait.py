"""How a greenlet waits for a socket, and is told when it has waited too long."""

from __future__ import annotations

import errno
import time
from typing import Any, Final

from gevent import get_hub, getcurrent

from loadtest.engine.hub.instruments import Instruments
from loadtest.units import NS_PER_US

READ: Final = 1  # libev's EV_READ and EV_WRITE
WRITE: Final = 2


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


class Expired(BaseException):
    """Thrown into a greenlet whose deadline passed; never leaves the modules that guard."""


class HubWaiter:
    """
    Something that one greenlet at a time waits on, under the watchdog.

    Args:
        instruments: The hub's shared parts.
    """

    def __init__(self, instruments: Instruments) -> None:
        self.deadline_ns = 0
        self._instruments = instruments
        self._hub = instruments.hub
        self._greenlet: Any = None

    def guard(self, deadline_ns: int) -> None:
        """Have ``Expired`` thrown into the current greenlet at the deadline, until ``unguard``."""
        self.deadline_ns = deadline_ns
        self._greenlet = getcurrent()
        self._instruments.watchdog.add(self)

    def unguard(self) -> None:
        """Forget the deadline."""
        self._instruments.watchdog.discard(self)
        self._greenlet = None

    def expire(self) -> None:
        """Watchdog: end the wait of whoever waits."""
        if self._greenlet is not None:
            self._greenlet.throw(Expired)

    def wait(self, descriptor: int, events: int, deadline_ns: int) -> None:
        """
        Wait until a descriptor is ready, or something resumes the greenlet.

        Raises:
            Expired: The deadline came first.
        """
        watcher = self._hub.loop.io(descriptor, events)
        self.guard(deadline_ns)
        watcher.start(self._greenlet.switch)
        try:
            self._hub.switch()
        finally:
            self.unguard()
            watcher.stop()
            watcher.close()


class Breath:
    """
    Cuts a long work into slices, and lets the loop go round once after each.

    Call it between small steps.  ``gevent.sleep(0)`` would not do: it lets other greenlets run, but
    comes back before the loop has looked at its sockets, so the work would be one long stall.  Nor
    would a turn after every step: when the loop is full, each takes a millisecond, and the work is
    never done.

    Args:
        slice_ns: How long may be worked between two turns.
    """

    def __init__(self, slice_ns: int = 60 * NS_PER_US) -> None:
        self._slice_ns = slice_ns
        self._until_ns = time.monotonic_ns() + slice_ns

    def __call__(self) -> None:
        """Go on, or wait for the loop's next turn when the slice is used up."""
        if time.monotonic_ns() >= self._until_ns:
            hub = get_hub()
            with hub.loop.timer(0.0) as timer:
                hub.wait(timer)
            self._until_ns = time.monotonic_ns() + self._slice_ns


_OWN_LIMITS: Final = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)
)
"""Descriptors, buffers, memory or ports of this machine have run out: no answer of a target."""


def blamed(code: int | None, kind: str) -> str:
    """Return ``kind``, or that of the generator where an error number tells of its own limits."""
    return "generator" if code in _OWN_LIMITS else kind


def why(error: OSError) -> str:
    """Return an operating system's error in words."""
    return error.strerror or str(error) or type(error).__name__
