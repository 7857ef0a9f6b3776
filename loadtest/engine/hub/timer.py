"""
A timer that the gevent hub fires on time.

An event loop rounds its sleeps to milliseconds and wakes 0.6 to 0.8 ms late on average.  A timerfd
is a file descriptor that becomes readable at an absolute nanosecond, so the loop wakes on time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from gevent import get_hub

from loadtest.kernel.timerfd import open_timerfd
from loadtest.units import NS_PER_S

_READ: Final = 1  # libev's EV_READ


class HubTimer:
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
        self._kernel = open_timerfd()
        self._watcher: Any = None
        self._timer: Any = None
        if self._kernel is not None:
            self._watcher = self._hub.loop.io(self._kernel.fd, _READ)
            self._watcher.start(self._on_timerfd)
        else:
            self._timer = self._hub.loop.timer(0.0)

    @property
    def precise(self) -> bool:
        """Whether the kernel wakes the loop at the nanosecond asked for."""
        return self._kernel is not None

    def arm(self, deadline_ns: int) -> None:
        """
        Fire at a moment, instead of any moment armed before.

        Args:
            deadline_ns: CLOCK_MONOTONIC; a moment in the past fires at the loop's next turn.
        """
        if self._kernel is not None:
            self._kernel.arm(max(deadline_ns, 1))  # zero would disarm
            return
        self._timer.stop()
        self._timer.close()
        after_s = max(deadline_ns - time.monotonic_ns(), 0) / NS_PER_S
        self._timer = self._hub.loop.timer(after_s)
        self._timer.start(self._callback, update=True)

    def disarm(self) -> None:
        """Forget the moment armed last."""
        if self._kernel is not None:
            self._kernel.arm(0)
        elif self._timer is not None:
            self._timer.stop()

    def _on_timerfd(self) -> None:
        assert self._kernel is not None
        if self._kernel.clear():  # else it was armed again between the wake-up and here
            self._callback()

    def close(self) -> None:
        """Stop for good and free the descriptor."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
