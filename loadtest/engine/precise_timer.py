"""
A timer that the gevent hub fires on time.

An event loop rounds its sleeps to milliseconds and wakes 0.6 to 0.8 ms late on average.  A timerfd
is a file descriptor that becomes readable at an absolute nanosecond, so the loop wakes on time.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from gevent import get_hub

from loadtest.units import NS_PER_S

_CLOCK_MONOTONIC: Final = 1
_TFD_NONBLOCK: Final = 0o4000
_TFD_CLOEXEC: Final = 0o2000000
_TFD_TIMER_ABSTIME: Final = 1
_READ: Final = 1  # libev's EV_READ
_ITIMERSPEC: Final = struct.Struct("@llll")


class PreciseTimer:
    """
    Calls back in the hub at an absolute moment, once for each ``arm``.

    Args:
        callback: Called in the hub without arguments; must not block, may arm the timer again.

    ``precise`` tells whether a timerfd stands behind it (Linux); elsewhere the loop's own timer
    does, which is late by up to a millisecond.
    """

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._hub = get_hub()
        self._fd = -1
        self._watcher: Any = None
        self._timer: Any = None
        self._libc: Any = None
        if sys.platform.startswith("linux"):
            self._open_timerfd()
        if self._fd < 0:
            self._timer = self._hub.loop.timer(0.0)

    @property
    def precise(self) -> bool:
        """Whether the kernel wakes the loop at the nanosecond asked for."""
        return self._fd >= 0

    def _open_timerfd(self) -> None:
        # Python has os.timerfd_create from 3.13 on; ctypes serves every version alike
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            create, settime = libc.timerfd_create, libc.timerfd_settime
        except AttributeError:
            return
        settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._fd = create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            return
        self._libc = libc
        self._watcher = self._hub.loop.io(self._fd, _READ)
        self._watcher.start(self._on_timerfd)

    def arm(self, deadline_ns: int) -> None:
        """
        Fire at a moment, instead of any moment armed before.

        Args:
            deadline_ns: CLOCK_MONOTONIC; a moment in the past fires at the loop's next turn.
        """
        if self._fd >= 0:
            seconds, nanoseconds = divmod(max(deadline_ns, 1), NS_PER_S)  # zero would disarm
            self._set(_ITIMERSPEC.pack(0, 0, seconds, nanoseconds))
            return
        self._timer.stop()
        self._timer.close()
        after_s = max(deadline_ns - time.monotonic_ns(), 0) / NS_PER_S
        self._timer = self._hub.loop.timer(after_s)
        self._timer.start(self._callback, update=True)

    def disarm(self) -> None:
        """Forget the moment armed last."""
        if self._fd >= 0:
            self._set(_ITIMERSPEC.pack(0, 0, 0, 0))
        elif self._timer is not None:
            self._timer.stop()

    def _set(self, spec: bytes) -> None:
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, spec, None) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def _on_timerfd(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # armed again between the wake-up and here
        self._callback()

    def close(self) -> None:
        """Stop for good and free the descriptor."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
