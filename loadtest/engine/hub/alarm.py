"""
Calls back when a moment is due, as soon after it as a busy loop can.

A timer alone is not enough.  Setting one costs a microsecond on bare metal but ten and more where a
hypervisor programs the hardware, and a timer that fires while the loop works through a burst of
answers is seen when the burst is done.  So the moment is watched in three ways:

- whoever takes a time stamp anyway compares it with ``due_ns``, and fires what is due;
- a timer is set only when the loop is about to sleep, never while it has work;
- a moment nearer than a timer is worth is waited for by polling, sockets first.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from gevent.hub import Hub

from loadtest.engine.hub.timer import HubTimer
from loadtest.units import NS_PER_US

NEVER: Final = sys.maxsize
"""Nanoseconds: a moment that does not come."""

_WORTH = 3  # a sleep costs arming its timer, and about twice that for falling asleep and waking
_CALIBRATION_ARMS = 16
_CALIBRATION_AHEAD_NS = 200 * NS_PER_US
_LONGEST_POLLING_NS = 60 * NS_PER_US
_LONGEST_TURN_NS = 10 * NS_PER_US  # an empty turn takes two; in a longer one the process was paused


class Timer(Protocol):
    """What is asked of a timer; ``HubTimer`` is one."""

    def arm(self, deadline_ns: int) -> None:
        """Fire at a moment, CLOCK_MONOTONIC, instead of any armed before."""
        ...

    def disarm(self) -> None:
        """Forget the moment."""
        ...

    def close(self) -> None:
        """Stop for good."""
        ...


class Alarm:
    """
    One moment at a time, for one hub.

    Args:
        hub: The gevent hub to live in.
        monotonic_ns: The clock.
        make_timer: Makes the timer that wakes a sleeping loop.
    """

    def __init__(
        self,
        hub: Hub,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        make_timer: Callable[[Callable[[], object]], Timer] = HubTimer,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._make_timer = make_timer
        self.due_ns = NEVER
        """The moment watched, CLOCK_MONOTONIC; compare with it, and ``fire`` when it has come."""
        self.polled_ns = 0
        """Time spent in turns of the loop that found nothing to do: CPU used, but not needed."""
        self._ring: Callable[[], int] = _nothing
        self._turn_ns = 0
        self._timer: Timer | None = None
        self._armed_ns = NEVER
        self._polling = False
        self._polling_ns = 0
        # ref=False: an alarm alone is no reason for the loop to go on
        self._prepare: Any = hub.loop.prepare(ref=False)
        self._idle: Any = hub.loop.idle(ref=False)

    def set(self, due_ns: int, ring: Callable[[], int]) -> None:
        """
        Watch a moment, instead of any watched before.

        Args:
            due_ns: CLOCK_MONOTONIC nanoseconds.
            ring: Called in the hub when the moment has come, must not block; returns the next
                moment, or NEVER.
        """
        if self._timer is None:
            self._timer = self._make_timer(self.fire)
            self._polling_ns = _WORTH * _cost_of_arming(self._timer, self._monotonic_ns)
        self.due_ns, self._ring = due_ns, ring
        if not self._prepare.active:
            self._prepare.start(self._before_sleep)
        self._arm()  # the loop may be past the point where it decides how to wait

    def fire(self) -> None:
        """Ring if the moment has come.  Runs in the hub."""
        if self.due_ns <= self._monotonic_ns():
            self.due_ns = NEVER  # whatever runs inside must not ring again
            self.due_ns = self._ring()

    def clear(self) -> None:
        """Watch nothing; costs nothing until ``set`` again."""
        self.due_ns, self._ring = NEVER, _nothing
        self._prepare.stop()
        self._idle.stop()
        self._polling = False
        if self._timer is not None:
            self._timer.close()
        self._timer, self._armed_ns = None, NEVER

    def _before_sleep(self) -> None:
        """Decide how to wait.  The loop calls this before it waits for its sockets."""
        now = self._monotonic_ns()
        if self.due_ns <= now:
            self.fire()
            now = self._monotonic_ns()
        if self.due_ns - now < self._polling_ns:
            self._turn_ns = now
            if not self._polling:
                self._polling = True
                self._idle.start(self._on_empty_turn)  # while it is on, the loop does not sleep
            return
        if self._polling:
            self._polling = False
            self._idle.stop()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None and self.due_ns not in (self._armed_ns, NEVER):
            self._armed_ns = self.due_ns
            self._timer.arm(self.due_ns)

    def _on_empty_turn(self) -> None:
        """Count a turn of the loop in which nothing else was called."""
        self.polled_ns += min(self._monotonic_ns() - self._turn_ns, _LONGEST_TURN_NS)


def _nothing() -> int:
    return NEVER


def _cost_of_arming(timer: Timer, monotonic_ns: Callable[[], int]) -> int:
    """
    Return what setting the timer costs here, in nanoseconds: the median of a few.

    It is a microsecond on most machines, ten to thirty where a hypervisor has to be asked.
    """
    costs = []
    for _ in range(_CALIBRATION_ARMS):
        began = monotonic_ns()
        timer.arm(began + _CALIBRATION_AHEAD_NS)
        costs.append(monotonic_ns() - began)
    timer.disarm()
    return min(sorted(costs)[_CALIBRATION_ARMS // 2], _LONGEST_POLLING_NS // _WORTH)
