"""
Plays the closed model: each user lives as Locust lets it, and sends when it is ready.

Locust's own TaskSets choose tasks and wait between them.  One run of one task is one arrival; in a
locustfile, whose tasks may go on for minutes, every further request of a task is one as well.  What
a user sends outside of tasks, as in ``on_start``, belongs to none.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gevent
from gevent import Greenlet, GreenletExit
from gevent.event import Event
from gevent.lock import Semaphore
from locust import User
from locust.exception import InterruptTaskSet, RescheduleTask, StopTest, StopUser
from locust.user.task import LOCUST_STATE_RUNNING, DefaultTaskSet, TaskSet

from loadtest.engine.hub.timer import HubTimer
from loadtest.engine.locustfile.session import UserClients
from loadtest.engine.worker.failure_log import sentence_of
from loadtest.engine.worker.player import STARTING_AT_ONCE
from loadtest.engine.worker.recorder import NO_ARRIVAL, Arrival, Recorder
from loadtest.errors import EngineError
from loadtest.plan.crowd import NOBODY, Change
from loadtest.plan.schedule import RegionSchedule
from loadtest.records.kinds import ERROR_CHECK, TASK_NAME, UNASKED_NAME
from loadtest.units import NS_PER_S

logger = logging.getLogger(__name__)

_DIRECTIONS = (InterruptTaskSet, RescheduleTask, StopUser, StopTest)
"""What a task raises to say where its user goes on; no failure."""

_LIVES = "_loadtest_life"
"""Attribute of a user that leads from Locust's TaskSets to its life here."""

OpenUser = Callable[[type[User], int], tuple[User, Any]]
"""Makes a user of a class for the arm of that index, and what begins and closes its clients."""


class Life:
    """One user from its start to its end, in a greenlet of its own."""

    __slots__ = ("arm", "arrival", "clients", "greenlet", "kind", "user")

    def __init__(self, kind: int, arm: int) -> None:
        self.kind = kind
        self.arm = arm
        self.user: User | None = None
        self.clients: Any = None
        self.arrival: Arrival | None = None
        self.greenlet: Greenlet | None = None


class ClosedPlayer:
    """
    Users that come and go as the plan says, each in its own loop.

    An arrival is due when its user is ready, so there is no lateness and nothing is dropped: a
    stall of the target hides the requests that it prevented.  That is why the open model is the
    default.

    Args:
        schedule: Says where warm-up ends, which block a moment belongs to, and when all ends.
        share: This worker's index among those of its region, and their number.
        classes: User classes of the scenario.
        recorder: Takes rows of tasks that raised.
        open_user: Makes a user; called in the greenlet that the user lives in.
        crowds: Of every arm, the starts and stops of this worker's users, in order of time.
        complete_s: Whoever starts before is of the first crowd.
    """

    def __init__(
        self,
        schedule: RegionSchedule,
        share: tuple[int, int],
        classes: Sequence[type[User]],
        recorder: Recorder,
        open_user: OpenUser,
        *,
        crowds: Sequence[Sequence[Change]],
        complete_s: float = math.inf,
    ) -> None:
        self.in_flight = 0
        self.played = 0
        self.finished = Event()
        self._schedule = schedule
        self._share = share
        self._classes = classes
        self._recorder = recorder
        self._open_user = open_user
        self._coming = sorted(
            ((change, arm) for arm, crowd in enumerate(crowds) for change in crowd),
            key=lambda entry: entry[0].at_s,
        )
        self.spawned: Callable[[int], object] = bool
        """Told how many users there are once the first crowd has started."""
        self._lives: dict[tuple[int, int], Life] = {}
        self._ready = self._started = 0
        self._first_crowd = sum(entry[0].at_s < complete_s for entry in self._coming)
        self._throttle = Semaphore(STARTING_AT_ONCE)
        self._begun = Event()
        self._never = Event()
        self._stopped = False
        self._crier: Greenlet | None = None
        self._end_timer = HubTimer(self.stop)
        self._start_ns = self._epoch_us = 0
        count_tasks(TaskSet)

    @property
    def users(self) -> int:
        """Users that are there now."""
        return len(self._lives)

    def prepare(self, deadline_s: float = 30.0, *, patient: bool = False) -> None:
        """
        Start the users that are there from the first moment, and let each run its ``on_start``.

        Args:
            deadline_s: How long all of ``on_start`` may take.
            patient: Begin the load even so when it takes longer: a locustfile may wait in
                ``on_start`` for what happens under load.

        Raises:
            EngineError: One of them could not start, or not in time.
        """
        first = [entry for entry in self._coming if entry[0].at_s <= 0]
        self._coming = self._coming[len(first) :]
        for change, arm in first:
            self._change(change, arm)
        self._tell_spawned()
        end = time.monotonic() + deadline_s
        while self._ready < len(first):
            for life in self._lives.values():
                if life.greenlet is not None and life.greenlet.dead:
                    failure = life.greenlet.value
                    why = sentence_of(failure) if failure is not None else "it ended itself"
                    raise EngineError(f"start of {self._classes[life.kind].__name__}: {why}")
            if time.monotonic() > end:
                if patient:
                    return
                raise EngineError(
                    f"on_start of {self._classes[0].__name__} has not ended for all users after "
                    f"{deadline_s:g} s; is the target reachable from this region?"
                )
            gevent.sleep(0.002)

    def _tell_spawned(self) -> None:
        """Say so, once, when the first crowd is complete."""
        if self._started == self._first_crowd:
            tell, self.spawned = self.spawned, bool
            tell(self.users)

    def start(self, start_ns: int, epoch_us: int) -> None:
        """
        Let the users go at ``start_ns``, and end at the end of the schedule.

        Args:
            start_ns: Monotonic moment that all times count from.
            epoch_us: The same moment on the run's time line, in microseconds from its epoch.
        """
        self._start_ns, self._epoch_us = start_ns, epoch_us
        self._end_timer.arm(start_ns + self._schedule.total_ns)
        self._crier = gevent.spawn(self._call_users)

    def stop(self) -> None:
        """Begin no task any more; what is in flight goes on."""
        self._stopped = True
        self.finished.set()

    def close(self, grace_s: float) -> None:
        """
        Wait for what is in flight, then end every user.

        Args:
            grace_s: How long to wait; what is still under way then is recorded as cancelled.
        """
        self._stopped = True
        end = time.monotonic() + grace_s
        while self.in_flight and time.monotonic() < end:
            gevent.sleep(0.01)
        greenlets = [self._crier, *(life.greenlet for life in self._lives.values())]
        gevent.killall([g for g in greenlets if g is not None], block=True, timeout=5)
        self._lives.clear()
        self._end_timer.close()

    def take_lateness(self) -> list[int]:
        """Return nothing: nobody is late who is not expected."""
        return []

    def _call_users(self) -> None:
        """Let the first users go, then start and stop the others at their time."""
        gevent.sleep(max(0, self._start_ns - time.monotonic_ns()) / NS_PER_S)
        self._begun.set()
        while self._coming:
            change, arm = self._coming[0]
            due_ns = self._start_ns + int(change.at_s * NS_PER_S)
            gevent.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
            if self._stopped:
                return
            del self._coming[0]
            self._change(change, arm)
            self._tell_spawned()

    def _change(self, change: Change, arm: int) -> None:
        self._started += 1
        before = self._lives.pop((arm, change.number), None)
        if before is not None and before.greenlet is not None:
            gevent.spawn(before.greenlet.kill)
        if change.kind != NOBODY:
            life = self._lives[(arm, change.number)] = Life(change.kind, arm)
            life.greenlet = gevent.spawn(self._live, life)

    def _live(self, life: Life) -> BaseException | None:
        """One user's life; returns what ended it, if that was a failure."""
        try:
            with self._throttle:
                life.user, life.clients = self._open_user(self._classes[life.kind], life.arm)
                setattr(life.user, _LIVES, (self, life))
                life.clients.begin(0, self._nowhere(life))
                if isinstance(life.clients, UserClients):
                    life.clients.again = partial(self._again, life)
                life.user._state = LOCUST_STATE_RUNNING
                tasks = life.user._taskset_instance = DefaultTaskSet(life.user)
                life.user.on_start()
            self._ready += 1
            self._begun.wait()
            tasks.run()  # type: ignore[no-untyped-call]
        except (GreenletExit, StopUser):
            pass
        except StopTest:
            self.stop()
        except (Exception, SystemExit, gevent.Timeout) as error:
            if self._begun.is_set():
                life.arrival = self._next_arrival(life, time.monotonic_ns())
                self._failed(life, error)
            return error
        finally:
            self._end(life)
        return None

    def play(self, life: Life, tasks: TaskSet, task: Any) -> None:
        """Run one task of a user as one arrival."""
        if self._stopped:
            self._never.wait()  # parked for good: only the end of the run comes back here
        now_ns = time.monotonic_ns()  # one stamp: when it was due and where its queue begins
        arrival = life.arrival = self._next_arrival(life, now_ns)
        life.clients.begin(now_ns, arrival)
        self.in_flight += 1
        try:
            tasks.execute_task(task)  # type: ignore[no-untyped-call]
        except _DIRECTIONS:
            raise
        except (Exception, SystemExit, gevent.Timeout) as error:
            self._failed(life, error)
            fire = life.user.environment.events.user_error.fire  # type: ignore[union-attr]
            fire(user_instance=life.user, exception=error, tb=error.__traceback__)
        finally:
            self.in_flight -= 1
            life.arrival = None
            life.clients.begin(0, self._nowhere(life))

    def _again(self, life: Life) -> None:
        """Begin another arrival within a task; after the end of the load, wait to be ended."""
        if life.arrival is None:
            return
        if self._stopped:
            self.in_flight -= 1
            try:
                self._never.wait()
            finally:
                self.in_flight += 1
        now_ns = time.monotonic_ns()
        life.arrival = self._next_arrival(life, now_ns)
        life.clients.begin(now_ns, life.arrival)

    def _next_arrival(self, life: Life, now_ns: int) -> Arrival:
        elapsed = max(0, now_ns - self._start_ns)
        index, workers = self._share
        number = self._schedule.first_arrival + self.played * workers + index
        self.played += 1
        return (
            number,
            self._schedule.block_at(elapsed),
            0 if elapsed < self._schedule.warmup_ns else 1,
            life.arm,
            life.kind,
            self._epoch_us + elapsed // 1000,
        )

    @staticmethod
    def _nowhere(life: Life) -> Arrival:
        return NO_ARRIVAL, NO_ARRIVAL, 0, life.arm, life.kind, 0

    def _failed(self, life: Life, error: BaseException) -> None:
        """Record a task that raised: a row and a counted sentence, never the end of the run."""
        assert life.arrival is not None
        name = self._classes[life.kind].__name__
        row = TASK_NAME if life.clients is not None and life.clients.asked else UNASKED_NAME
        said = f"{name}: {sentence_of(error)}"
        self._recorder.failures.note(ERROR_CHECK, life.arm, life.kind, row, said)
        logger.debug("task of %s failed", name, exc_info=error)
        if self._recorder.failed is not life.arrival:  # else a request has a row that says so
            self._recorder.fail(life.arrival, time.monotonic_ns(), ERROR_CHECK, row)

    def _end(self, life: Life) -> None:
        try:
            if life.user is not None:
                life.user.on_stop()  # type: ignore[no-untyped-call]
        except Exception as error:
            logger.warning("on_stop of %s: %s", self._classes[life.kind].__name__, error)
        finally:
            if life.clients is not None:
                life.clients.close()


def count_tasks(tasks: Any) -> None:
    """Let every task of a user that lives here be one arrival; nested sets run as they are."""
    tasks.execute_next_task = _execute_next_task


def _execute_next_task(tasks: Any) -> None:
    task = tasks._task_queue.popleft()
    player, life = getattr(tasks.user, _LIVES, (None, None))
    if player is None or isinstance(task, type):
        tasks.execute_task(task)
    else:
        player.play(life, tasks, task)
