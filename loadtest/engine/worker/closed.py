"""
Arrivals of the closed model: each user lives as Locust lets it, and sends when it is ready.

Locust's own TaskSets choose tasks and wait between them.  One run of one task is one arrival; in a
locustfile, whose tasks may go on for minutes, every further request of a task is one as well.  What
a user sends outside of tasks, as in ``on_start``, belongs to none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gevent
from gevent import Greenlet
from gevent.event import Event
from locust.exception import InterruptTaskSet, RescheduleTask, StopTest, StopUser
from locust.user.task import LOCUST_STATE_RUNNING, DefaultTaskSet, TaskSet

from loadtest.engine.hub.timer import HubTimer
from loadtest.engine.locustfile.session import UserClients
from loadtest.engine.worker.arrivals import ArrivalSource, Visitor
from loadtest.engine.worker.recorder import Arrival
from loadtest.plan.crowd import NOBODY, Change
from loadtest.plan.schedule import RegionSchedule
from loadtest.units import NS_PER_S

_DIRECTIONS = (InterruptTaskSet, RescheduleTask, StopUser, StopTest)
"""What a task raises to say where its user goes on; no failure."""

_LIVES = "_loadtest_life"
"""Attribute of a user that leads from Locust's TaskSets to its life here."""


class ReadyArrivals(ArrivalSource):
    """
    Users that come and go as the plan says, each in its own loop.

    An arrival is due when its user is ready, so there is no lateness and nothing is dropped: a
    stall of the target hides the requests that it prevented.  That is why the open model is the
    default.

    Args:
        schedule: Says where warm-up ends, which block a moment belongs to, and when all ends.
        share: This worker's index among those of its region, and their number.
        crowds: Of every arm, the starts and stops of this worker's users, in order of time.
        complete_s: Whoever starts before is of the first crowd.
    """

    def __init__(
        self,
        schedule: RegionSchedule,
        share: tuple[int, int],
        *,
        crowds: Sequence[Sequence[Change]],
        complete_s: float = math.inf,
    ) -> None:
        super().__init__()
        self._schedule = schedule
        self._share = share
        self._coming = sorted(
            ((change, arm) for arm, crowd in enumerate(crowds) for change in crowd),
            key=lambda entry: entry[0].at_s,
        )
        self.spawned: Callable[[int], object] = bool
        """Told how many users there are once the first crowd has started."""
        self._there: dict[tuple[int, int], Visitor] = {}
        self._started = 0
        self._first_crowd = sum(entry[0].at_s < complete_s for entry in self._coming)
        self._begun = Event()
        self._never = Event()
        self._crier: Greenlet | None = None
        self._end_timer = HubTimer(self.stop)
        count_tasks(TaskSet)

    def first(self) -> list[Visitor]:
        """Return the users that are there from the first moment."""
        first = [entry for entry in self._coming if entry[0].at_s <= 0]
        self._coming = self._coming[len(first) :]
        visitors = []
        for change, arm in first:
            visitor = Visitor(change.kind, arm)
            self._there[(arm, change.number)] = visitor
            visitors.append(visitor)
            self._count_start()
        return visitors

    def begin(self) -> None:
        """Let the users go, and end at the end of the schedule."""
        self._end_timer.arm(self.start_ns + self._schedule.total_ns)
        self._crier = gevent.spawn(self._call_users)

    def close(self) -> None:
        """Call nobody any more."""
        if self._crier is not None:
            self._crier.kill()
        self._end_timer.close()

    def _count_start(self) -> None:
        """Count a start or a stop; say so, once, when the first crowd is complete."""
        self._started += 1
        if self._started == self._first_crowd:
            tell, self.spawned = self.spawned, bool
            tell(len(self._there))

    def _call_users(self) -> None:
        """Let the first users go, then start and stop the others at their time."""
        gevent.sleep(max(0, self.start_ns - time.monotonic_ns()) / NS_PER_S)
        self._begun.set()
        while self._coming:
            change, arm = self._coming[0]
            due_ns = self.start_ns + int(change.at_s * NS_PER_S)
            gevent.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
            if self.stopped:
                return
            del self._coming[0]
            before = self._there.pop((arm, change.number), None)
            if before is not None:
                self.cast.dismiss(before)
            if change.kind != NOBODY:
                visitor = self._there[(arm, change.number)] = Visitor(change.kind, arm)
                self.cast.admit(visitor)
            self._count_start()

    def seat(self, visitor: Visitor) -> None:
        """Give a user what Locust's own runner gives it."""
        user: Any = visitor.user
        setattr(user, _LIVES, (self, visitor))
        if isinstance(visitor.clients, UserClients):
            visitor.clients.again = partial(self._again, visitor)
        user._state = LOCUST_STATE_RUNNING
        user._taskset_instance = DefaultTaskSet(user)

    def live(self, visitor: Visitor) -> None:
        """Let Locust's task sets go on until the end."""
        self._begun.wait()
        user: Any = visitor.user
        user._taskset_instance.run()

    def stray(self, visitor: Visitor) -> Arrival | None:
        """Return an arrival of its own once the load has begun."""
        if not self._begun.is_set():
            return None
        return self._next_arrival(visitor, time.monotonic_ns())

    def play(self, visitor: Visitor, tasks: TaskSet, task: Any) -> None:
        """Run one task of a user as one arrival."""
        if self.stopped:
            self._never.wait()  # parked for good: only the end of the run comes back here
        now_ns = time.monotonic_ns()  # one stamp: when it was due and where its queue begins
        arrival = visitor.arrival = self._next_arrival(visitor, now_ns)
        visitor.clients.begin(now_ns, arrival)
        self.in_flight += 1
        try:
            tasks.execute_task(task)  # type: ignore[no-untyped-call]
        except _DIRECTIONS:
            raise
        except (Exception, SystemExit, gevent.Timeout) as error:
            self.cast.failed(visitor, error)
            fire = visitor.user.environment.events.user_error.fire  # type: ignore[union-attr]
            fire(user_instance=visitor.user, exception=error, tb=error.__traceback__)
        finally:
            self.in_flight -= 1
            visitor.arrival = None
            visitor.clients.begin(0, visitor.nowhere())

    def _again(self, visitor: Visitor) -> None:
        """Begin another arrival within a task; after the end of the load, wait to be ended."""
        if visitor.arrival is None:
            return
        if self.stopped:
            self.in_flight -= 1
            try:
                self._never.wait()
            finally:
                self.in_flight += 1
        now_ns = time.monotonic_ns()
        visitor.arrival = self._next_arrival(visitor, now_ns)
        visitor.clients.begin(now_ns, visitor.arrival, goes_on=True)

    def _next_arrival(self, visitor: Visitor, now_ns: int) -> Arrival:
        elapsed = max(0, now_ns - self.start_ns)
        index, workers = self._share
        number = self._schedule.first_arrival + self.played * workers + index
        self.played += 1
        return (
            number,
            self._schedule.block_at(elapsed),
            0 if elapsed < self._schedule.warmup_ns else 1,
            visitor.arm,
            visitor.kind,
            self.epoch_us + elapsed // 1000,
        )


def count_tasks(tasks: Any) -> None:
    """Let every task of a user that lives here be one arrival; nested sets run as they are."""
    tasks.execute_next_task = _execute_next_task


def _execute_next_task(tasks: Any) -> None:
    task = tasks._task_queue.popleft()
    source, visitor = getattr(tasks.user, _LIVES, (None, None))
    if source is None or isinstance(task, type):
        tasks.execute_task(task)
    else:
        source.play(visitor, tasks, task)
