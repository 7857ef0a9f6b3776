"""
Waiting for sockets and for a moment, as exactly as the machine allows.

epoll alone rounds up to a millisecond; a timerfd beside the sockets fires within tens of
microseconds.  Elsewhere the platform's own selector has to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import selectors
import socket
import sys
import time
from typing import Any, Protocol

from loadtest.kernel.stamps import (
    RealtimeOffset,
    StampKeeper,
    enable_receive_stamps,
    receive_stamp_ns,
)
from loadtest.kernel.timerfd import TimerFd, open_timerfd

READ = 1
WRITE = 4
BROKEN = 8 | 16

_PR_SET_TIMERSLACK = 29
_NS_PER_S = 1_000_000_000
_EVENTS = 64
_NICER = -10
_RESAMPLE_NS = _NS_PER_S
_BELIEVED_NS = _NS_PER_S


class SocketWaiter(Protocol):
    """Watches sockets and one deadline."""

    def watch(self, fd: int, mask: int) -> None:
        """Report ``fd`` when it can do what ``mask`` (READ, WRITE) says; 0 stops watching."""
        ...

    def wait(self, deadline_ns: int | None) -> list[tuple[int, int]]:
        """
        Return what happened, as pairs of descriptor and mask; empty once the deadline has come.

        Args:
            deadline_ns: CLOCK_MONOTONIC; None waits for a descriptor only.
        """
        ...

    def close(self) -> None:
        """Let go of the kernel's objects."""
        ...


class EpollWaiter:
    """Linux: epoll with an absolute timerfd in the same set."""

    def __init__(self, timer: TimerFd) -> None:
        self._epoll = select.epoll()
        self._masks: dict[int, int] = {}
        self._timer = timer
        self._armed_ns = 0
        self._epoll.register(timer.fd, READ)

    def watch(self, fd: int, mask: int) -> None:
        """See :class:`SocketWaiter`; epoll masks no hang-up: what is not watched leaves the set."""
        known = self._masks.get(fd, 0)
        if mask == known:
            return
        if not mask:
            self._epoll.unregister(fd)
            del self._masks[fd]
            return
        if known:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._masks[fd] = mask

    def wait(self, deadline_ns: int | None) -> list[tuple[int, int]]:
        """See :class:`SocketWaiter`."""
        if deadline_ns is not None and deadline_ns <= time.monotonic_ns():
            return self._events(0)
        self._arm(deadline_ns or 0)
        return self._events(-1)

    def close(self) -> None:
        """See :class:`SocketWaiter`."""
        self._timer.close()
        self._epoll.close()

    def _events(self, timeout: int) -> list[tuple[int, int]]:
        events = self._epoll.poll(timeout, _EVENTS)
        for index, (fd, _) in enumerate(events):
            if fd == self._timer.fd:
                del events[index]
                self._armed_ns = -1  # fired: arming it again, or disarming it, makes it quiet
                break
        return events

    def _arm(self, at_ns: int) -> None:
        if at_ns == self._armed_ns:
            return
        self._timer.arm(at_ns)
        self._armed_ns = at_ns


class SelectorWaiter:
    """Any other system: the selector's own time-out."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._masks: dict[int, int] = {}

    def watch(self, fd: int, mask: int) -> None:
        """See :class:`SocketWaiter`."""
        known = self._masks.get(fd, 0)
        if mask == known:
            return
        wanted = (selectors.EVENT_READ if mask & READ else 0) | (
            selectors.EVENT_WRITE if mask & WRITE else 0
        )
        if not mask:
            self._selector.unregister(fd)
            del self._masks[fd]
            return
        if known:
            self._selector.modify(fd, wanted)
        else:
            self._selector.register(fd, wanted)
        self._masks[fd] = mask

    def wait(self, deadline_ns: int | None) -> list[tuple[int, int]]:
        """See :class:`SocketWaiter`."""
        timeout = None
        if deadline_ns is not None:
            timeout = max(0, deadline_ns - time.monotonic_ns()) / _NS_PER_S
        return [
            (
                key.fd,
                (READ if events & selectors.EVENT_READ else 0)
                | (WRITE if events & selectors.EVENT_WRITE else 0),
            )
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        """See :class:`SocketWaiter`."""
        self._selector.close()


def new_waiter() -> SocketWaiter:
    """Return the most exact waiter that this system has."""
    timer = open_timerfd()
    return EpollWaiter(timer) if timer is not None else SelectorWaiter()


def sharpen() -> str:
    """
    Ask the kernel to wake this process promptly; every refusal is harmless.

    Three busy neighbours on two cores delay an ordinary process by 3-9 ms at the 99th percentile, a
    real-time one by 0.2 ms; this one needs little of a core, and the kernel caps what it may take.

    Returns:
        ``realtime``, ``favoured`` or ``ordinary``: what the kernel granted.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        with contextlib.suppress(OSError):
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(1))
            return "realtime"
    with contextlib.suppress(OSError):
        os.nice(_NICER)
        return "favoured"
    return "ordinary"


class StampClock:
    """
    When bytes reached this machine, on the monotonic clock.

    The kernel stamps with CLOCK_REALTIME; its offset to CLOCK_MONOTONIC is read anew every second,
    and a step of the wall clock is noticed there.  A stamp that lies in the future or more than a
    second back is not believed.
    """

    def __init__(self) -> None:
        self._offset = RealtimeOffset()
        self._sampled_ns = 0
        self.kernel = False
        self._keeper = StampKeeper()

    def enable(self, sock: socket.socket) -> None:
        """Have the kernel stamp what ``sock`` receives, where it can."""
        enable_receive_stamps(sock)

    def resample(self, now_ns: int) -> None:
        """Read the offset between the clocks if the last reading is a second old."""
        if now_ns - self._sampled_ns >= _RESAMPLE_NS:
            self._sampled_ns = now_ns
            self._offset.refresh()

    def arrival_ns(self, ancillary: list[tuple[int, int, Any]], now_ns: int) -> int:
        """Return the kernel's stamp among ``ancillary``; ``now_ns`` where there is none."""
        wall_ns = receive_stamp_ns(ancillary)
        stamp = wall_ns - self._offset.offset_ns
        if wall_ns and now_ns - _BELIEVED_NS < stamp <= now_ns:
            self.kernel = True
            return stamp
        return now_ns

    def close(self) -> None:
        """Let go of the socket that keeps stamping on."""
        self._keeper.close()
