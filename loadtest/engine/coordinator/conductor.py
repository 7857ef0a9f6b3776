"""
Conducts one run: gathers workers, lets them get ready, starts them together, collects, reconciles.

A worker that falls silent is lost for its segment: its rows so far are kept, its load is given to
nobody, the others do not notice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent
from gevent.event import Event

from loadtest.engine.coordinator.collector import Collector
from loadtest.engine.coordinator.roster import Roster, WorkerEntry
from loadtest.engine.coordinator.run_workers import Member, RunWorkers, Send
from loadtest.engine.hub.wait import Breath
from loadtest.engine.wire import protocol
from loadtest.engine.wire.clocksync import Timeline
from loadtest.errors import EngineError, LoadtestError
from loadtest.plan.order import RunOrder
from loadtest.plan.schedule import Digest, RegionSchedule, digest_schedules
from loadtest.records.facts import SegmentFacts
from loadtest.records.writer import Call
from loadtest.units import NS_PER_S, NS_PER_US, US_PER_MS

logger = logging.getLogger(__name__)

GATHER_S = 60.0
READY_S = 60.0
DRAIN_S = 70.0
PART_EVERY_S = 2.0

_LEAD_S = 0.4
_TICK_S = 0.1
_STOP_PATIENCE_S = 10.0

FINAL_STATES = frozenset({"done", "failed", "stopped"})


class SegmentConductor:
    """
    One run, over its segments.

    Args:
        order: The first segment's order.
        roster: Known workers.
        send: Sends a message to one worker: kind, data, client id.
        spawn_drivers: Asks Locust to put a driver on every worker that has none.
        timeline: The coordinator's time line.
        call: Runs Arrow's work.
    """

    def __init__(
        self,
        order: RunOrder,
        roster: Roster,
        *,
        send: Send,
        spawn_drivers: Callable[[], None],
        timeline: Timeline,
        call: Call,
    ) -> None:
        self.order = order
        self.run_id = order.run_id
        self.state = "waiting"
        self.error = ""
        self.epoch_ns = 0
        self.start_ns = self._ended_ns = 0
        self.collector = Collector(call)
        self.workers = RunWorkers(order.run_id, self.collector, roster, send)
        self.segments: list[SegmentFacts] = []
        self.digests: list[Digest] = []
        self.stop_asked = Event()
        self._roster = roster
        self._spawn_drivers = spawn_drivers
        self._timeline = timeline
        self.schedules = _schedules(order)
        """The schedule of every client region that measures anything, in this segment."""

    @property
    def final(self) -> bool:
        """Whether the segment has ended, one way or another."""
        return self.state in FINAL_STATES

    @property
    def total_s(self) -> float:
        """Planned length of the segment."""
        return max(s.total_ns for s in self.schedules.values()) / NS_PER_S

    @property
    def elapsed_s(self) -> float:
        """Seconds since the segment's start; 0 before."""
        if not self.start_ns:
            return 0.0
        return max(0.0, ((self._ended_ns or self._timeline.now_ns()) - self.start_ns) / NS_PER_S)

    def next_segment(self, order: RunOrder) -> None:
        """Take on the next segment of the same run."""
        self.order, self.state, self.error = order, "waiting", ""
        self.start_ns = self._ended_ns = 0
        self.schedules = _schedules(order)
        self.stop_asked.clear()

    def stop(self, reason: str = "") -> None:
        """End the load; what was measured is drained and kept."""
        if not self.final and not self.stop_asked.is_set():
            self.error = reason
            self.stop_asked.set()

    def conduct(self) -> None:
        """Do the whole segment; never raises, ends in a final state."""
        over = Event()
        flusher = gevent.spawn(self._flush_parts, over)
        digester = gevent.spawn(self._digest)
        try:
            self._gather()
            self._prepare()
            if not self.stop_asked.is_set():
                self._play()
            self._drain()
            digester.get(timeout=DRAIN_S)
            self._count_shares()
            end = "stopped" if self.stop_asked.is_set() else "done"
        except LoadtestError as error:
            self.error, end = str(error), "failed"
        except Exception as error:
            logger.exception("run %s", self.run_id)
            self.error, end = f"coordinator: {type(error).__name__}: {error}", "failed"
        over.set()
        flusher.join()  # not killed: it may be writing a part, whose rows nobody else has
        digester.kill()
        self._finish(end)

    def _finish(self, end: str) -> None:
        self.workers.open = False
        if end == "failed":
            self.workers.tell_all(protocol.STOP)
        self.workers.tell_all(protocol.RELEASE)
        for member in self.workers.active():
            member.state = "stopped"
        try:
            self.collector.flush()
        except LoadtestError as error:
            self.error, end = str(error), "failed"
        blocks = max((s.blocks for s in self.schedules.values()), default=0)
        self.segments.append(SegmentFacts(self.order.segment, blocks))
        self._ended_ns = self._timeline.now_ns()
        self.state = end

    # The phases of a segment, in order.

    def _gather(self) -> None:
        """Wait for every region's workers and give each its share."""
        wanted = self.order.plan.generator.workers_per_region
        end = self._now_s() + GATHER_S
        while True:
            present = {region: self._roster.present(region) for region in self.schedules}
            if all(len(workers) >= wanted for workers in present.values()):
                break
            if self.stop_asked.is_set():
                return
            if self._now_s() > end:
                raise EngineError(self._absent(present, wanted))
            gevent.sleep(_TICK_S / 2)
        self.workers.gather(self.order.segment, present, wanted)

    def _absent(self, present: dict[str, list[WorkerEntry]], wanted: int) -> str:
        short = ", ".join(
            f"{r} ({len(w)} of {wanted})" for r, w in present.items() if len(w) < wanted
        )
        refused = "; ".join(f"{name} {why}" for name, why in self._roster.refused.items())
        return f"workers did not come within {GATHER_S:g} s: {short}" + (
            f"; {refused}" if refused else "; look at the logs of their machines"
        )

    def _prepare(self) -> None:
        """Let every worker load the scenario, check itself and set its clock."""
        self.state = "self-check"
        asked_s = -protocol.REPEAT_S
        end = self._now_s() + READY_S
        while waiting := [m for m in self.workers.active() if m.state == "asked"]:
            if self.stop_asked.is_set():
                return
            if self._now_s() > end:
                names = ", ".join(f"{m.entry.name} ({m.entry.region})" for m in waiting)
                raise EngineError(f"workers not ready within {READY_S:g} s: {names}")
            if self._now_s() - asked_s >= protocol.REPEAT_S:
                asked_s = self._now_s()
                self._spawn_drivers()
                for member in waiting:
                    self._send_order(member)
            self.workers.wait(_TICK_S)
            for member in waiting:
                if self._roster.silent(member.entry.client_id):
                    raise EngineError(
                        f"worker {member.entry.name} ({member.entry.region}) fell silent while it "
                        "got ready; look at its machine's log"
                    )
        self._judge_self_checks()

    def _judge_self_checks(self) -> None:
        limit_us = self.order.plan.generator.self_check_bias_ms * US_PER_MS
        for member in self.workers.active():
            bias_us = member.self_check.bias_p99_us if member.self_check else 0.0
            if bias_us > limit_us:
                raise EngineError(
                    f"worker {member.entry.name} ({member.entry.region}) reads known delays wrong "
                    f"by {bias_us / US_PER_MS:.2f} ms at p99; allowed is "
                    f"{limit_us / US_PER_MS:g} ms (generator.self_check_bias_ms): "
                    "give the generator a quieter machine"
                )

    def _play(self) -> None:
        """Start all workers at one moment and watch them until the schedule ends."""
        clocks = [member.clock for member in self.workers.active() if member.clock is not None]
        slowest_us = max((clock.bound_us for clock in clocks), default=0.0)
        lead_ns = int(_LEAD_S * NS_PER_S + 6 * slowest_us * NS_PER_US)
        self.start_ns = self._timeline.now_ns() + lead_ns
        self.epoch_ns = self.epoch_ns or self.start_ns
        for member in self.workers.active():
            member.state = "running"
        start = {"start_ns": self.start_ns, "epoch_ns": self.epoch_ns}
        next_tell_s, warm_s = 0.0, max(s.warmup_ns for s in self.schedules.values()) / NS_PER_S
        while (
            self.elapsed_s < self.total_s and self.workers.active() and not self.stop_asked.is_set()
        ):
            self.state = "warm-up" if self.elapsed_s < warm_s else "steady"
            if self._now_s() >= next_tell_s:
                next_tell_s = self._now_s() + protocol.REPEAT_S / 2
                for member in self.workers.active():
                    if member.entry.state != "running":
                        self.workers.tell(member, protocol.START, start)
            self.workers.mark_lost()
            self.workers.wait(_TICK_S)

    def _drain(self) -> None:
        """Wait until every worker has said that all its rows are acknowledged."""
        self.state = "draining"
        patience_s = self.order.plan.load.timeout_s + DRAIN_S
        if self.stop_asked.is_set():
            patience_s = _STOP_PATIENCE_S + DRAIN_S
        end = self._now_s() + patience_s
        next_stop_s = 0.0
        while self.workers.active():
            if self._now_s() > end:
                for member in self.workers.active():
                    member.state = "lost"
                return
            if self.stop_asked.is_set() and self._now_s() >= next_stop_s:
                next_stop_s = self._now_s() + protocol.REPEAT_S
                for member in self.workers.active():
                    self.workers.tell(member, protocol.STOP)
            self.workers.mark_lost()
            self.workers.wait(_TICK_S)

    def _count_shares(self) -> None:
        """Add up what every member of this segment was to send."""
        schedules, per_arm = self.schedules, self.digests[-1].per_arm
        for member in self.workers.members.values():
            if self.order.segment in member.segments:
                region = member.entry.region
                member.scheduled += schedules[region].share_of(
                    per_arm[region], member.index, member.workers
                )

    def _send_order(self, member: Member) -> None:
        share = {"index": member.index, "workers": member.workers}
        self.workers.tell(member, protocol.PREPARE, {"order": self.order.to_json(), **share})

    def _now_s(self) -> float:
        return self._timeline.now_ns() / NS_PER_S

    def _flush_parts(self, over: Event) -> None:
        due_s = self._now_s() + PART_EVERY_S
        while not over.wait(_TICK_S):
            if self.collector.full or self._now_s() >= due_s:
                due_s = self._now_s() + PART_EVERY_S
                try:
                    self.collector.flush()
                except LoadtestError as error:
                    self.workers.fail(str(error))
                    return

    def _digest(self) -> None:
        """Hash the schedule in the background; a long one takes seconds."""
        digest = digest_schedules(list(self.schedules.values()), pause=Breath())
        self.digests.append(digest)


def _schedules(order: RunOrder) -> dict[str, RegionSchedule]:
    return {
        region: RegionSchedule(order.plan, region, order.segment, order.first_block)
        for region in order.plan.regions
        if order.plan.arms_in(region)
    }
