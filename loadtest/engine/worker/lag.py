"""Measures how late the event loop wakes."""

from __future__ import annotations

import time

from loadtest.engine.hub.timer import HubTimer
from loadtest.engine.worker.health import LAG_EVERY_NS, HealthMonitor


class LagProbe:
    """
    Asks the loop to be on time, again and again, and tells health how late it was.

    Args:
        health: Told of every answer.
    """

    def __init__(self, health: HealthMonitor) -> None:
        self._health = health
        self._due_ns = time.monotonic_ns() + LAG_EVERY_NS
        self._timer = HubTimer(self._fired)
        self._timer.arm(self._due_ns)

    def _fired(self) -> None:
        now = time.monotonic_ns()
        self._health.on_lag(now - self._due_ns)
        self._due_ns = max(self._due_ns + LAG_EVERY_NS, now)
        self._timer.arm(self._due_ns)

    def close(self) -> None:
        """Ask no more."""
        self._timer.close()
