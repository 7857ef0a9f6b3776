"""
A timer of the kernel that becomes readable at an absolute nanosecond.

Event loops round their sleeps to milliseconds and wake 0.6 to 0.8 ms late on average; a timerfd
among the descriptors they watch wakes them within tens of microseconds.

Source: timerfd_create(2).  Python has it from 3.13 on; ctypes serves every version alike.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1
_NS_PER_S: Final = 1_000_000_000


class TimerFd:
    """
    One kernel timer on CLOCK_MONOTONIC, as a descriptor to watch for reading.

    Raises:
        OSError: The kernel refused it (descriptors used up).
    """

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = (ctypes.c_long * 4)()

    def arm(self, at_ns: int) -> None:
        """
        Become readable at a moment, instead of any moment armed before.

        Args:
            at_ns: CLOCK_MONOTONIC; the past fires at once, 0 disarms.

        Raises:
            OSError: The kernel refused.
        """
        self._spec[2], self._spec[3] = divmod(at_ns, _NS_PER_S)
        if self._libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, self._spec, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> bool:
        """Make the descriptor quiet; False when it was armed anew since it fired."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Free the descriptor; once is enough, twice does no harm."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_timerfd() -> TimerFd | None:
    """Return a kernel timer, or None where the platform has none."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "timerfd_create"):
        return None
    try:
        return TimerFd(libc)
    except OSError:
        return None
