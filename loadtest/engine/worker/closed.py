"""Plays the closed model: each user sends its next request when its last one is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event

from loadtest.engine.hub.timer import HubTimer
from loadtest.engine.user import TTFBUser
from loadtest.engine.worker.player import Player, Seat
from loadtest.engine.worker.recorder import Recorder
from loadtest.plan.schedule import RegionSchedule


class ClosedPlayer(Player):
    """
    A fixed number of users per arm, each in its own loop; ``wait_time`` of the class is honoured.

    An arrival is due when its user is ready, so there is no lateness and nothing is dropped: a
    stall of the target hides the requests that it prevented.  That is why the open model is the
    default.

    Args:
        schedule: Says where warm-up ends, which block a moment belongs to, and when all ends.
        share: This worker's index among those of its region, and their number.
        classes: User classes of the scenario.
        recorder: Takes rows of tasks that raised.
        make_user: Makes an equipped user of a class for the arm of that index.
        arms: As for `Player`.
        seed: Decides which task of several is played.
    """

    def __init__(
        self,
        schedule: RegionSchedule,
        share: tuple[int, int],
        classes: Sequence[type[TTFBUser]],
        recorder: Recorder,
        make_user: Callable[[type[TTFBUser], int], TTFBUser],
        *,
        arms: Sequence[Sequence[str]],
        seed: int,
    ) -> None:
        super().__init__(iter(()), classes, recorder, make_user, arms=arms, seed=seed)
        self._schedule = schedule
        self._share = share
        self._begun = Event()
        self._end_timer = HubTimer(self.stop)
        self._arm_of: dict[int, int] = {}

    def start(self, start_ns: int, epoch_us: int) -> None:
        """Let all users go at ``start_ns``, and end at the end of the schedule."""
        self._start_ns, self._epoch_us = start_ns, epoch_us
        self._end_timer.arm(start_ns + self._schedule.total_ns)
        gevent.spawn_later(max(0, start_ns - time.monotonic_ns()) / 1e9, self._begun.set)

    def close(self, grace_s: float) -> None:
        """Wait for what is in flight, then end every user."""
        super().close(grace_s)
        self._end_timer.close()

    def _await_arrival(self, seat: Seat, idle: list[Seat]) -> tuple[int, int]:
        if not self._begun.is_set():
            self._arm_of[id(seat)] = self._schedule.arms.index(seat.user.deployment)
            idle.append(seat)
            self._begun.wait()
        elif (pause_s := _pause_s(seat.user)) > 0:
            gevent.sleep(pause_s)
        if self._stopped:
            self._hub.switch()  # parked for good: only the end of the run comes back here
        now = time.monotonic_ns()
        elapsed = max(0, now - self._start_ns)
        index, workers = self._share
        number = self._schedule.first_arrival + self.played * workers + index
        self.played += 1
        seat.arrival = (
            number,
            self._schedule.block_at(elapsed),
            0 if elapsed < self._schedule.warmup_ns else 1,
            self._arm_of[id(seat)],
            seat.scenario,
            self._epoch_us + elapsed // 1000,
        )
        return now, 0


def _pause_s(user: Any) -> float:
    return float(user.wait_time())
