"""
Plays a schedule: at the nanosecond an arrival is due, an idle user is switched to.

Nothing stands between alarm and user: the alarm's callback runs in the hub, takes a user that is
parked there and switches straight into it.  An arrival that finds no idle user is recorded as
dropped, one that leaves late is sent all the same and its lateness recorded: the load never
adapts to the target.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random

import gevent
from gevent import Greenlet, GreenletExit
from gevent.event import Event
from gevent.hub import get_hub
from gevent.lock import Semaphore
from locust import User
from locust.exception import InterruptTaskSet, RescheduleTask, StopUser

from loadtest.engine.hub.alarm import NEVER
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.user import TTFBUser
from loadtest.engine.worker.failure_log import sentence_of
from loadtest.engine.worker.recorder import NO_ARRIVAL, Arrival, Recorder
from loadtest.errors import EngineError
from loadtest.plan.schedule import STEADY, Chunk
from loadtest.records.kinds import ERROR_CHECK, TASK_NAME, UNASKED_NAME
from loadtest.units import NS_PER_S

logger = logging.getLogger(__name__)

_monotonic_ns = time.monotonic_ns
_BURST = 16
"""Arrivals released before the loop may look at its sockets again."""

STARTING_AT_ONCE = 16
"""Users that run ``on_start`` at the same time, so that getting ready is no attack."""

"""Name of the row of a task that raised without a request of its own to blame."""

_NORMAL_ENDS = (StopUser, RescheduleTask, InterruptTaskSet)


class Seat:
    """A user and the greenlet it lives in."""

    __slots__ = ("arrival", "greenlet", "scenario", "started_ns", "tasks", "user")

    def __init__(self, user: TTFBUser, scenario: int) -> None:
        self.user = user
        self.scenario = scenario
        self.tasks = type(user).playable_tasks()
        self.greenlet: Greenlet | None = None
        self.arrival: Arrival | None = None
        """The arrival being played; None when idle."""
        self.started_ns = 0


class Player:
    """
    Plays one worker's share of a segment.

    Args:
        chunks: The share, in order of time.
        classes: User classes of the scenario.
        recorder: Takes rows of arrivals that had no request.
        make_user: Makes an equipped user of a class for the arm of that index.
        arms: Of every arm the names of the scenarios that it plays; none means all.
        seed: Decides which task of several an arrival plays.
    """

    def __init__(
        self,
        chunks: Iterator[Chunk],
        classes: Sequence[type[TTFBUser]],
        recorder: Recorder,
        make_user: Callable[[type[TTFBUser], int], TTFBUser],
        *,
        arms: Sequence[Sequence[str]],
        seed: int,
    ) -> None:
        self.in_flight = 0
        self.played = 0
        self.lateness_us: list[int] = []
        """Lateness of every release since the last ``take_lateness``, in microseconds."""
        self.finished = Event()
        self._chunks = chunks
        self._classes = classes
        self._recorder = recorder
        self._make_user = make_user
        self._random = Random(seed).random
        self._idle: list[list[list[Seat]]] = [[[] for _ in classes] for _ in arms]
        self._seats: list[Seat] = []
        self._shares = [_weights_of(classes, names) for names in arms]
        self._edges = [_cumulative(shares) for shares in self._shares]
        self._hub = get_hub()
        self._alarm = Instruments.here().alarm
        self._chunk: Chunk | None = next(chunks, None)
        self._position = 0
        self._start_ns = self._epoch_us = 0
        self._stopped = False

    def prepare(self, users: int, deadline_s: float = 30.0) -> None:
        """
        Seat ``users`` users for every arm, and let each run its ``on_start``.

        Args:
            users: Users per arm, shared among the classes by weight; each class gets one at least.
            deadline_s: How long all of ``on_start`` may take.

        Raises:
            EngineError: An ``on_start`` failed or did not end in time.
        """
        throttle = Semaphore(STARTING_AT_ONCE)
        for arm in range(len(self._idle)):
            weights, total = self._shares[arm], self._edges[arm][-1]
            for scenario, user_class in enumerate(self._classes):
                if not weights[scenario]:
                    continue
                share = max(1, round(users * weights[scenario] / total))
                for _ in range(share):
                    seat = Seat(self._make_user(user_class, arm), scenario)
                    self._seats.append(seat)
                    seat.greenlet = gevent.spawn(self._live, seat, arm, throttle)
        ready = gevent.Timeout(deadline_s, False)
        with ready:
            while self._parked() < len(self._seats):
                self._raise_failed_start()
                gevent.sleep(0.002)
            return
        raise EngineError(
            f"on_start of {self._classes[0].__name__} has not ended for all users after "
            f"{deadline_s:g} s; is the target reachable from this region?"
        )

    def _parked(self) -> int:
        return sum(len(pool) for pools in self._idle for pool in pools)

    def _raise_failed_start(self) -> None:
        for seat in self._seats:
            assert seat.greenlet is not None
            if seat.greenlet.dead:
                raise EngineError(
                    f"on_start of {type(seat.user).__name__}: {seat.greenlet.exception!r}"
                )

    def start(self, start_ns: int, epoch_us: int) -> None:
        """
        Begin to release.

        Args:
            start_ns: Monotonic moment that due times count from.
            epoch_us: The same moment on the run's time line, in microseconds from its epoch.
        """
        self._start_ns, self._epoch_us = start_ns, epoch_us
        if self._chunk is None:
            self.finished.set()
        else:
            due_ns = start_ns + self._chunk.due_ns[0] if len(self._chunk) else start_ns
            self._alarm.set(due_ns, self._release)

    def stop(self) -> None:
        """Release nothing any more; what is in flight goes on."""
        self._stopped = True
        self._alarm.clear()
        self.finished.set()

    def close(self, grace_s: float) -> None:
        """
        Wait for what is in flight, then end every user.

        Args:
            grace_s: How long to wait; what is still under way then is recorded as cancelled.
        """
        end = _monotonic_ns() + int(grace_s * NS_PER_S)
        while self.in_flight and _monotonic_ns() < end:
            gevent.sleep(0.01)
        greenlets = [seat.greenlet for seat in self._seats if seat.greenlet is not None]
        gevent.killall(greenlets, block=True, timeout=5)
        self._alarm.clear()
        self._seats.clear()

    def take_lateness(self) -> list[int]:
        """Return and forget the lateness of recent releases."""
        taken, self.lateness_us = self.lateness_us, []
        return taken

    def _release(self) -> int:
        """Release what is due, and return when the next is.  Runs in the hub: must not block."""
        lateness = self.lateness_us
        due_ns = (
            self._start_ns
        )  # has passed: where only empty chunks are found, we are back at once
        for _ in range(_BURST):
            chunk = self._chunk
            if chunk is None or self._stopped:
                self.finished.set()
                return NEVER
            position = self._position
            if position == len(chunk.due_ns):
                self._chunk, self._position = next(self._chunks, None), 0
                continue
            due = chunk.due_ns[position]
            due_ns = self._start_ns + due
            late_ns = _monotonic_ns() - due_ns
            if late_ns < 0:
                break
            self._position = position + 1
            self.played += 1
            lateness.append(late_ns // 1000)
            arm = chunk.arms[position]
            pools = self._idle[arm]
            scenario = 0 if len(pools) == 1 else self._pick_scenario(arm)
            arrival = (
                chunk.arrivals[position],
                chunk.block,
                1 if chunk.stage is STEADY else 0,
                arm,
                scenario,
                self._epoch_us + due // 1000,
            )
            idle = pools[scenario]
            if idle:
                # In warm-up all take their turn, so that spare users have a connection open when a
                # stall seats them; later those who were here last, whose connections are fresh.
                seat = idle.pop() if chunk.stage is STEADY else idle.pop(0)
                seat.arrival = arrival
                seat.greenlet.switch((due_ns, chunk.cold[position]))  # type: ignore[union-attr]
            else:
                self._recorder.drop(arrival)
        return due_ns  # after a full burst it has passed: the loop looks at its sockets first

    def _pick_scenario(self, arm: int) -> int:
        edges = self._edges[arm]
        draw = self._random() * edges[-1]
        return next(index for index, edge in enumerate(edges) if draw < edge)

    def _live(self, seat: Seat, arm: int, throttle: Semaphore) -> None:
        """One user's life: on_start, arrivals, on_stop."""
        user, tasks, idle = seat.user, seat.tasks, self._idle[arm][seat.scenario]
        begin, close = user.client.begin, user.client.close
        if type(user).on_start is not User.on_start:
            with throttle:
                begin(0, (NO_ARRIVAL, NO_ARRIVAL, 0, arm, seat.scenario, 0))
                user.on_start()
        task = tasks[0]
        try:
            while True:
                due_ns, cold = self._await_arrival(seat, idle)
                seat.started_ns = due_ns
                self.in_flight += 1
                if cold:
                    close()  # what it kept open goes: its next request is a first visit
                begin(due_ns, seat.arrival, first_visit=bool(cold))
                if len(tasks) > 1:
                    task = tasks[int(self._random() * len(tasks))]
                try:
                    task(user)
                except _NORMAL_ENDS:
                    pass
                except (Exception, SystemExit, gevent.Timeout) as error:
                    self._failed(seat, error)
                self.in_flight -= 1
                seat.arrival = None
        except GreenletExit:
            if seat.arrival is not None:
                self.in_flight -= 1
            self._end(user)

    def _await_arrival(self, seat: Seat, idle: list[Seat]) -> tuple[int, int]:
        """Park until an arrival is handed over; return its due moment and its cold mark."""
        idle.append(seat)
        handed: tuple[int, int] = self._hub.switch()
        return handed

    def _failed(self, seat: Seat, error: BaseException) -> None:
        """Record a task that raised: a row and a counted sentence, never the end of the run."""
        assert seat.arrival is not None
        said = f"{type(seat.user).__name__}: {sentence_of(error)}"
        _, _, _, deployment, scenario, _ = seat.arrival
        name = TASK_NAME if seat.user.client.asked else UNASKED_NAME
        self._recorder.failures.note(ERROR_CHECK, deployment, scenario, name, said)
        logger.debug("task of %s failed", type(seat.user).__name__, exc_info=error)
        if self._recorder.failed is not seat.arrival:  # else a request has a row that says so
            self._recorder.fail(seat.arrival, _monotonic_ns(), ERROR_CHECK, name)

    def _end(self, user: TTFBUser) -> None:
        try:
            if type(user).on_stop is not User.on_stop:
                user.on_stop()  # type: ignore[no-untyped-call]
        except Exception as error:
            logger.warning("on_stop of %s: %s", type(user).__name__, error)
        finally:
            user.client.close()


def _weights_of(classes: Sequence[type[TTFBUser]], names: Sequence[str]) -> list[float]:
    """Return the weight of every class in an arm that plays the scenarios of some names."""
    played = [not names or cls.scenario_name() in names for cls in classes]
    return [float(cls.weight) if does else 0.0 for cls, does in zip(classes, played, strict=True)]


def _cumulative(weights: Sequence[float]) -> list[float]:
    edges: list[float] = []
    for weight in weights:
        edges.append((edges[-1] if edges else 0.0) + weight)
    return edges
