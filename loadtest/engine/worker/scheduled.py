"""
Arrivals of the open model: at the nanosecond one is due, an idle user is switched to.

Nothing stands between alarm and user: the alarm's callback runs in the hub, takes a user that is
parked there and switches straight into it.  An arrival that finds no idle user is recorded as
dropped, one that leaves late is sent all the same and its lateness recorded: the load never
adapts to the target.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from random import Random

import gevent
from gevent.hub import get_hub
from locust.exception import InterruptTaskSet, RescheduleTask, StopUser

from loadtest.engine.hub.alarm import NEVER
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.user import TTFBUser
from loadtest.engine.worker.arrivals import ArrivalSource, Visitor
from loadtest.engine.worker.recorder import Recorder
from loadtest.plan.schedule import STEADY, Chunk

_BURST = 16
"""Arrivals released before the loop may look at its sockets again."""
_NORMAL_ENDS = (StopUser, RescheduleTask, InterruptTaskSet)

_monotonic_ns = time.monotonic_ns


class ScheduledArrivals(ArrivalSource):
    """
    Plays one worker's share of a schedule.

    Args:
        chunks: The share, in order of time.
        classes: User classes of the scenario.
        recorder: Takes rows of arrivals for which no user was free.
        users: Users per arm, shared among the classes by weight; each class gets one at least.
        arms: Of every arm the names of the scenarios that it plays; none means all.
        seed: Decides which task of several an arrival plays.
    """

    def __init__(
        self,
        chunks: Iterator[Chunk],
        classes: Sequence[type[TTFBUser]],
        recorder: Recorder,
        *,
        users: int,
        arms: Sequence[Sequence[str]],
        seed: int,
    ) -> None:
        super().__init__()
        self._lateness_us: list[int] = []
        self._chunks = chunks
        self._tasks = [cls.playable_tasks() for cls in classes]
        self._recorder = recorder
        self._users = users
        self._random = Random(seed).random
        self._idle: list[list[list[Visitor]]] = [[[] for _ in classes] for _ in arms]
        self._shares = [_weights_of(classes, names) for names in arms]
        self._edges = [_cumulative(shares) for shares in self._shares]
        self._hub = get_hub()
        self._alarm = Instruments.here().alarm
        self._chunk: Chunk | None = next(chunks, None)
        self._position = 0

    def first(self) -> list[Visitor]:
        """Return all users there will be."""
        visitors = []
        for arm, weights in enumerate(self._shares):
            for scenario, weight in enumerate(weights):
                if weight:
                    share = max(1, round(self._users * weight / self._edges[arm][-1]))
                    visitors += [Visitor(scenario, arm) for _ in range(share)]
        return visitors

    def begin(self) -> None:
        """Release from now on what is due."""
        if self._chunk is None:
            self.finished.set()
        else:
            first_ns = self._chunk.due_ns[0] if len(self._chunk) else 0
            self._alarm.set(self.start_ns + first_ns, self._release)

    def stop(self) -> None:
        """Release nothing any more; what is in flight goes on."""
        self._alarm.clear()
        super().stop()

    def close(self) -> None:
        """Let go of the alarm."""
        self._alarm.clear()

    def take_lateness(self) -> list[int]:
        """Return and forget the lateness of recent releases."""
        taken, self._lateness_us = self._lateness_us, []
        return taken

    def _release(self) -> int:
        """Release what is due, and return when the next is.  Runs in the hub: must not block."""
        lateness = self._lateness_us
        start_ns = self.start_ns
        due_ns = start_ns  # has passed: where only empty chunks are found, we are back at once
        for _ in range(_BURST):
            chunk = self._chunk
            if chunk is None or self.stopped:
                self.finished.set()
                return NEVER
            position = self._position
            if position == len(chunk.due_ns):
                self._chunk, self._position = next(self._chunks, None), 0
                continue
            due = chunk.due_ns[position]
            due_ns = start_ns + due
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
                self.epoch_us + due // 1000,
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

    def live(self, visitor: Visitor) -> None:
        """Take one arrival after the other."""
        user, tasks = visitor.user, self._tasks[visitor.kind]
        idle = self._idle[visitor.arm][visitor.kind]
        begin, close = visitor.clients.begin, visitor.clients.close
        task = tasks[0]
        try:
            while True:
                due_ns, cold = self._await_arrival(visitor, idle)
                self.in_flight += 1
                if cold:
                    close()  # what it kept open goes: its next request is a first visit
                begin(due_ns, visitor.arrival, first_visit=bool(cold))
                if len(tasks) > 1:
                    task = tasks[int(self._random() * len(tasks))]
                try:
                    task(user)
                except _NORMAL_ENDS:
                    pass
                except (Exception, SystemExit, gevent.Timeout) as error:
                    self.cast.failed(visitor, error)
                except gevent.GreenletExit as error:
                    if self.stopped:
                        raise
                    self.cast.failed(visitor, error)  # its own, and its user stays
                self.in_flight -= 1
                visitor.arrival = None
        finally:
            if visitor.arrival is not None:
                self.in_flight -= 1

    def _await_arrival(self, visitor: Visitor, idle: list[Visitor]) -> tuple[int, int]:
        """Park until an arrival is handed over; return its due moment and its cold mark."""
        idle.append(visitor)
        handed: tuple[int, int] = self._hub.switch()
        return handed


def _weights_of(classes: Sequence[type[TTFBUser]], names: Sequence[str]) -> list[float]:
    """Return the weight of every class in an arm that plays the scenarios of some names."""
    played = [not names or cls.scenario_name() in names for cls in classes]
    return [float(cls.weight) if does else 0.0 for cls, does in zip(classes, played, strict=True)]


def _cumulative(weights: Sequence[float]) -> list[float]:
    edges: list[float] = []
    for weight in weights:
        edges.append((edges[-1] if edges else 0.0) + weight)
    return edges
