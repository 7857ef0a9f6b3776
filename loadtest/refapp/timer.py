"""
A timer that wakes when it was asked to.

An event loop on epoll rounds its time-outs up to whole milliseconds, so `asyncio.sleep` is late
by 0.6 ms on average and by up to 1.3 ms.  On Linux a timerfd is a file that becomes readable at
the moment itself; elsewhere the loop's own timer has to do.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import os
import sys
import time

_NS_PER_S = 1_000_000_000
_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec`` of timerfd_settime(2)."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class PreciseTimer:
    """
    Wakes coroutines at moments of CLOCK_MONOTONIC.

    One kernel timer serves all who wait, set to the earliest of them.  Belongs to the event loop
    that runs when it is made; `close` returns its file.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._file = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            flags = os.O_NONBLOCK | os.O_CLOEXEC
            self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        if self._file >= 0:
            self._loop.add_reader(self._file, self._expired)

    async def sleep_until(self, due_ns: int) -> None:
        """
        Sleep until a moment of `time.monotonic_ns`; return at once if it has passed.

        Args:
            due_ns: The moment, in nanoseconds.
        """
        remaining_ns = due_ns - time.monotonic_ns()
        if remaining_ns <= 0:
            return
        if self._file < 0:
            await asyncio.sleep(remaining_ns / _NS_PER_S)
            return
        future: asyncio.Future[None] = self._loop.create_future()
        heapq.heappush(self._waiting, (due_ns, next(self._order), future))
        if self._waiting[0][2] is future:
            self._arm(due_ns)
        await future

    def close(self) -> None:
        """Close the kernel timer; whoever still waits is cancelled."""
        for _, _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _arm(self, due_ns: int) -> None:
        """Set the kernel timer; a moment in the past fires at once."""
        seconds, nanoseconds = divmod(due_ns, _NS_PER_S)
        spec = _TimerSpec(0, 0, seconds, nanoseconds)
        self._libc.timerfd_settime(self._file, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)

    def _expired(self) -> None:
        """Wake everyone who is due, and set the timer for the next."""
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return  # set anew between expiry and this call
        now_ns = time.monotonic_ns()
        while self._waiting and self._waiting[0][0] <= now_ns:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
        if self._waiting:
            self._arm(self._waiting[0][0])
