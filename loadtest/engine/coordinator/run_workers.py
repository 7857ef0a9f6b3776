"""The workers of a run: what each was given, what it has said, whether it is still there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from gevent.event import Event

from loadtest.engine.coordinator.collector import Collector
from loadtest.engine.coordinator.roster import Roster, WorkerEntry
from loadtest.engine.wire import protocol
from loadtest.engine.wire.messages import (
    FailedMessage,
    FinMessage,
    HealthMessage,
    ReadyMessage,
    WorkerCounts,
    heard,
)
from loadtest.errors import EngineError, RecordsError
from loadtest.records.facts import (
    FINISHED,
    ClockFacts,
    HealthFacts,
    MomentFacts,
    NameMove,
    SelfCheckFacts,
)
from loadtest.records.failures import FailureExample

logger = logging.getLogger(__name__)

M = TypeVar("M")
Send = Callable[[str, dict[str, object], str], None]
"""Sends a message to one worker: kind, data, client id."""


@dataclass(slots=True)
class Member:
    """One worker's part in a run."""

    entry: WorkerEntry
    index: int
    workers: int
    state: str = "asked"
    """asked, ready, running, finished, stopped, lost"""
    segments: list[int] = field(default_factory=list)
    scheduled: int = 0
    """Arrivals of its share of the schedule, over all segments."""
    sent: int = 0
    self_check: SelfCheckFacts | None = None
    clock: ClockFacts | None = None
    health: HealthFacts | None = None
    failures: tuple[FailureExample, ...] = ()
    moves: tuple[NameMove, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)
    timeline: list[MomentFacts] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Whether something is still to come from this worker in this segment."""
        return self.state in ("asked", "ready", "running")


class RunWorkers:
    """
    Hears what the run's workers say.

    Args:
        run_id: The run.
        collector: Takes their rows.
        roster: Knows when each was last heard.
        send: Sends a message to one of them.
    """

    def __init__(self, run_id: str, collector: Collector, roster: Roster, send: Send) -> None:
        self.members: dict[str, Member] = {}
        """Workers that took part in any segment, by client id."""
        self.segment = 0
        self.open = False
        """Whether rows are taken."""
        self._run_id = run_id
        self._collector = collector
        self._roster = roster
        self._send = send
        self._changed = Event()
        self._failure = ""

    def gather(self, segment: int, present: dict[str, list[WorkerEntry]], wanted: int) -> None:
        """Give every region's first ``wanted`` workers their part in a segment."""
        self.segment, self.open, self._failure = segment, True, ""
        for entries in present.values():
            for index, entry in enumerate(entries[:wanted]):
                member = self.members.setdefault(entry.client_id, Member(entry, index, wanted))
                member.index, member.workers, member.state = index, wanted, "asked"
                member.segments.append(segment)

    def active(self) -> list[Member]:
        """Return the members that still have something to do or to say."""
        return [member for member in self.members.values() if member.active]

    def mark_lost(self) -> None:
        """Give up on members that have been silent for too long."""
        for member in self.active():
            if self._roster.silent(member.entry.client_id):
                member.state = "lost"
                logger.warning("worker %s (%s) is lost", member.entry.name, member.entry.region)

    def tell(self, member: Member, kind: str, data: Mapping[str, object] | None = None) -> None:
        """Send one member a message about this segment."""
        key = {"run_id": self._run_id, "segment": self.segment}
        self._send(kind, {**key, **(data or {})}, member.entry.client_id)

    def tell_all(self, kind: str) -> None:
        """Send every member a message about this segment."""
        for member in self.members.values():
            self.tell(member, kind)

    def fail(self, sentence: str) -> None:
        """Let whoever waits next raise an EngineError; the first sentence counts."""
        self._failure = self._failure or sentence
        self._changed.set()

    def wait(self, timeout_s: float) -> None:
        """
        Wait for news, at most ``timeout_s``.

        Raises:
            EngineError: Something failed that ends the run.
        """
        self._changed.wait(timeout_s)
        self._changed.clear()
        if self._failure:
            raise EngineError(self._failure)

    def on_ready(self, client_id: str, data: dict[str, object]) -> None:
        """A worker is prepared, and says so until it is told when to start."""
        member = self._member(client_id, data)
        if member is None:
            return
        # what it said last may be as old as the segment before, when it was running
        member.entry.state = "ready"
        if member.state == "asked":
            if (ready := self._heard(ReadyMessage, data, member)) is None:
                return
            member.self_check, member.clock = ready.self_check, ready.clock
            member.state = "ready"
            self._changed.set()

    def on_failed(self, client_id: str, data: dict[str, object]) -> None:
        """A worker cannot; the run fails with its sentence."""
        member = self._member(client_id, data)
        if member is not None and member.active:
            member.state = "stopped"
            if (failed := self._heard(FailedMessage, data, member)) is not None:
                self._fail_for(member, failed.error[:2000])

    def on_batch(self, client_id: str, data: dict[str, object]) -> None:
        """Rows came: keep and acknowledge them."""
        member = self._member(client_id, data)
        if member is None or not self.open:
            return
        if self._collector.take(member.entry.name, member.entry.region, data):
            self.tell(member, protocol.ACK, {"numbers": [data["seq"]]})

    def on_health(self, client_id: str, data: dict[str, object]) -> None:
        """A second of a worker's life."""
        member = self._member(client_id, data)
        if member is None or (told := self._heard(HealthMessage, data, member)) is None:
            return
        member.timeline.append(told.moment)
        self._take_counts(member, told.counts)

    def on_fin(self, client_id: str, data: dict[str, object]) -> None:
        """A worker has nothing more to send; repeat the release to one that asks again."""
        member = self._member(client_id, data)
        if member is None or (fin := self._heard(FinMessage, data, member)) is None:
            return
        self._take_counts(member, fin.counts)
        if member.active:
            member.state = "stopped" if fin.stopped else FINISHED
            self._changed.set()
        self.tell(member, protocol.RELEASE)

    @staticmethod
    def _take_counts(member: Member, counts: WorkerCounts) -> None:
        member.sent = max(member.sent, counts.sent)
        member.clock, member.health = counts.clock, counts.health
        member.failures, member.moves, member.left = counts.failures, counts.moves, counts.left

    def _heard(self, kind: type[M], data: dict[str, object], member: Member) -> M | None:
        """Return what a member says; the run fails with its name where that cannot be read."""
        try:
            return heard(kind, data)
        except RecordsError as error:
            self._fail_for(member, str(error))
            return None

    def _fail_for(self, member: Member, sentence: str) -> None:
        self.fail(f"worker {member.entry.name} ({member.entry.region}): {sentence}")

    def _member(self, client_id: str, data: dict[str, object]) -> Member | None:
        if (data.get("run_id"), data.get("segment")) != (self._run_id, self.segment):
            return None
        return self.members.get(client_id)
