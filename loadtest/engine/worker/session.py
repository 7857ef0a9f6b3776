"""One segment of a run on one worker: get ready, play, drain, report."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from locust import User

from loadtest.engine.client.names import AddressResolver
from loadtest.engine.hub.instruments import Instruments, TcpTotals
from loadtest.engine.hub.wait import Breath
from loadtest.engine.locustfile.load import Locustfile, load_locustfile
from loadtest.engine.locustfile.runner import environment_of_scenario
from loadtest.engine.wire.clocksync import ClockSync, Timeline
from loadtest.engine.wire.messages import (
    FinMessage,
    HealthMessage,
    ReadyMessage,
    WorkerCounts,
    spoken,
)
from loadtest.engine.wire.protocol import BATCH, FIN, HEALTH, READY, REPEAT_S
from loadtest.engine.worker.closed import ReadyArrivals
from loadtest.engine.worker.health import HealthMonitor
from loadtest.engine.worker.lag import LagProbe
from loadtest.engine.worker.player import Player
from loadtest.engine.worker.recorder import Recorder
from loadtest.engine.worker.run_state import RunState
from loadtest.engine.worker.scenario import load_scenario
from loadtest.engine.worker.selfcheck import self_check
from loadtest.engine.worker.shipping import Shipper
from loadtest.engine.worker.sources import source_of
from loadtest.engine.worker.users import UserOpener, scenario_name
from loadtest.errors import EngineError
from loadtest.frozen import Signed
from loadtest.plan.order import RunOrder
from loadtest.records.facts import NameMove
from loadtest.units import NS_PER_S, NS_PER_US, US_PER_MS

logger = logging.getLogger(__name__)

FLUSH_S = 0.15
"""How often held rows are encoded and sent: the sweet spot between stalls and overhead."""

_LATENESS_STEP = 512
"""Values of lateness counted at once: twenty microseconds of work."""

_DRAIN_S = 60.0
_STOP_GRACE_S = 1.0
_START_WITHIN_S = 90.0
_LOCUST_START_S = 5.0
"""How long the load waits for the first users of a locustfile to start."""

Send = Callable[[str, dict[str, object]], None]


class SegmentSession:
    """
    One segment.

    Args:
        order: What to do.
        share: This worker's index among those of its region, and their number.
        region: This worker's region.
        send: Sends a message to the coordinator.
        clocks: Collected exchanges with the coordinator.
        timeline: This worker's time line.
    """

    def __init__(
        self,
        order: RunOrder,
        share: tuple[int, int],
        *,
        region: str,
        send: Send,
        clocks: ClockSync,
        timeline: Timeline,
    ) -> None:
        self.order = order
        self.state = "preparing"
        self.start_ns = 0
        """Coordinator's moment of the segment's start; 0 until it is told."""
        self.epoch_ns = 0
        self.told_start = Event()
        self.released = Event()
        self._over = Event()
        self.stop_asked = False
        self._share = share
        self._region = region
        self._send = send
        self._clocks = clocks
        self._timeline = timeline
        self._arms = order.plan.arms_in(region)
        self._load = order.plan.load
        self._player: Player | None = None
        self._locustfile: Locustfile | None = None
        self._run: RunState | None = None

    @property
    def key(self) -> dict[str, object]:
        """What every message about this segment begins with."""
        return {"run_id": self.order.run_id, "segment": self.order.segment}

    def run(self, previous: RunState | None) -> RunState:
        """
        Do the whole segment; returns when the coordinator has every row, or has gone.

        Args:
            previous: State of the same run's segment before this one.

        Raises:
            EngineError: Getting ready failed; the sentence is for the person who started the run.
        """
        classes = self._load_classes()
        names = tuple(scenario_name(cls) for cls in classes)
        state = self._run = previous or RunState(
            self.order.run_id,
            Recorder(self._arms, names, self._ship),
            Shipper(self._send_batch),
            HealthMonitor(int(self.order.plan.validity.late_after_ms * US_PER_MS)),
            Instruments.here().tcp_totals(),
            AddressResolver(self.order.plan.client.lookups, self.order.plan.client.resolve),
        )
        state.recorder.redirect(self._ship)
        state.shipper.redirect(self._send_batch)
        if state.self_check is None:
            state.self_check = self_check()
        player = self._player = self._make_player(classes, state)
        try:
            self._prepare(player)
            gc.collect()  # now, for it takes a tenth of a second: many workers may share a machine
            if self._await_start():
                self._play(player)
        finally:
            player.close(0.0)
        self._fire("quitting")
        self._drain(state)
        return state

    def _load_classes(self) -> list[type[User]]:
        """Load the scenario, ours or Locust's."""
        plan = self.order.plan
        if plan.locustfile is None:
            return list(load_scenario(plan.scenario, insecure=plan.client.insecure))
        urls = [plan.deployment(arm).url.rstrip("/") for arm in self._arms]
        host = f"{urls[0]}{plan.locustfile.base_path}" if urls and urls[0] else ""
        loaded = self._locustfile = load_locustfile(plan.scenario, plan.locustfile, host)
        if self.order.segment == 0:
            runner = loaded.runner
            vars(loaded.environment.parsed_options).update(
                num_users=self._load.users,
                spawn_rate=plan.locustfile.spawn_rate,
                run_time=round(self._load.warmup_s + self._load.duration_s),
            )
            loaded.fire("init", environment=loaded.environment, runner=runner, web_ui=None)
        return list(loaded.classes)

    def _prepare(self, player: Player) -> None:
        """Get the users ready; the listeners of a locustfile's start come first."""
        loaded, source = self._locustfile, player.source
        if loaded is None or not isinstance(source, ReadyArrivals):
            player.prepare()
            return
        loaded.runner.crowd = lambda: player.users
        loaded.runner.end = self.stop
        index, workers = self._share
        loaded.runner.target_user_count = len(self._arms) * len(
            range(index, self._load.users, workers)
        )
        loaded.fire("test_start", environment=loaded.environment)
        loaded.runner.begin()
        source.spawned = self._tell_spawned
        player.prepare(_LOCUST_START_S, patient=True)

    def _tell_spawned(self, users: int) -> None:
        """Tell a locustfile that its users have started."""
        self._fire("spawning_complete", user_count=users)

    def _fire(self, event: str, **facts: Any) -> None:
        """Call a locustfile's listeners once there is load: what they raise cannot undo it."""
        if (loaded := self._locustfile) is None:
            return
        try:
            loaded.fire(event, **(facts or {"environment": loaded.environment}))
        except EngineError as error:
            logger.warning("%s", error)

    def stop(self) -> None:
        """End the load now; what was measured is still drained."""
        self.stop_asked = True
        self.told_start.set()
        if self._player is not None:
            self._player.stop()

    def _make_player(self, classes: list[type[User]], state: RunState) -> Player:
        targets = self.order.targets.get(self._region, {})
        absent = [arm for arm in self._arms if arm not in targets]
        if absent:
            raise EngineError(f"order: no target for {', '.join(absent)} in {self._region}")
        opener = UserOpener(
            self.order, self._arms, self._region, targets=targets, record=state.recorder.record,
            resolver=state.names,
            environment=environment_of_scenario(self.stop), locustfile=self._locustfile,
        )  # fmt: skip
        source = source_of(self.order, self._region, self._share, classes, state.recorder)
        return Player(source, classes, state.recorder, opener.open_user)

    def _await_start(self) -> bool:
        """Say that we are ready until the start is told; False when there will be none."""
        assert self._run is not None
        assert self._run.self_check is not None
        self.state = "ready"
        end = time.monotonic() + _START_WITHIN_S
        while not self.told_start.is_set() and time.monotonic() < end:
            self._say(READY, ReadyMessage(self._run.self_check, self._clocks.report()))
            self.told_start.wait(REPEAT_S)
        return self.start_ns != 0 and not self.stop_asked

    def _play(self, player: Player) -> None:
        """
        Play the share of the schedule from the moment that the coordinator named.

        Raises:
            EngineError: The scenario asks the client for what that cannot do.
        """
        assert self._run is not None
        offset_ns = self._clocks.settle()
        start_ns = self._timeline.to_monotonic_ns(self.start_ns - offset_ns)
        recorder = self._run.recorder
        recorder.begin(self._timeline.to_monotonic_ns(self.epoch_ns - offset_ns))
        gc.freeze()  # what is here now stays for the run: later collections need not look at it
        health = self._run.health
        health.start(recorder.epoch_ns, time.monotonic_ns(), Instruments.here().alarm.polled_ns)
        lag = LagProbe(health)
        player.start(start_ns, (self.start_ns - self.epoch_ns) // NS_PER_US)
        self.state = "running"
        housekeeping = gevent.spawn(self._keep_house, player)
        try:
            player.finished.wait()
            self.state = "draining"
            at_once = self.stop_asked or player.fault
            grace_s = _STOP_GRACE_S if at_once else self._load.timeout_s + 1.0
            player.close(grace_s)
            self._fire("test_stop")
        finally:
            self._over.set()
            housekeeping.join()
            lag.close()
            self._beat(player)
            health.stop()
            gc.unfreeze()
        if player.fault:
            raise EngineError(f"the scenario asks for what cannot be measured: {player.fault}")

    def _keep_house(self, player: Player) -> None:
        """Ship rows every FLUSH_S and report health every second, in small steps."""
        assert self._run is not None
        due = time.monotonic() + 1.0
        recorder = self._run.recorder
        recorder.patient = True
        breathe = Breath()
        while not self._over.wait(FLUSH_S):
            recorder.flush(breathe)
            self._note_lateness(player, breathe)
            self._run.shipper.resend(time.monotonic_ns(), breathe=breathe)
            if time.monotonic() >= due:
                due += 1.0
                self._beat(player, breathe)
        recorder.patient = False

    def _note_lateness(self, player: Player, breathe: Callable[[], None]) -> None:
        assert self._run is not None
        lateness_us = player.take_lateness()
        for first in range(0, len(lateness_us), _LATENESS_STEP):
            self._run.health.on_lateness(lateness_us[first : first + _LATENESS_STEP])
            breathe()

    def _beat(self, player: Player, breathe: Callable[[], None] = lambda: None) -> None:
        assert self._run is not None
        self._note_lateness(player, breathe)
        moment = self._run.health.second(
            time.monotonic_ns(),
            in_flight=player.in_flight,
            polled_ns=Instruments.here().alarm.polled_ns,
            breathe=breathe,
        )
        if moment is not None:
            self._say(HEALTH, HealthMessage(moment, self._counts(breathe)))

    def _counts(self, breathe: Callable[[], None] = lambda: None) -> WorkerCounts:
        assert self._run is not None
        recorder, shipper = self._run.recorder, self._run.shipper
        tcp = _since(self._run.tcp, breathe)
        return WorkerCounts(
            sent=recorder.rows,
            lost=shipper.lost_rows,
            clock=self._clocks.report(),
            health=self._run.health.summary(tcp, shipper.resends, recorder.dropped),
            failures=tuple(recorder.failures.examples()),
            left=dict(recorder.left),
            moves=tuple(
                NameMove(Signed((at_ns - recorder.epoch_ns) / NS_PER_S), name, before, after)
                for at_ns, name, before, after in self._run.names.moves
            ),
        )

    def _drain(self, state: RunState) -> None:
        """Ship the rest, wait for its acknowledgement, then say ``fin`` until released."""
        self.state = "draining"
        state.recorder.flush()
        end = time.monotonic() + _DRAIN_S
        while not state.shipper.drained and time.monotonic() < end:
            state.shipper.resend(time.monotonic_ns())
            gevent.sleep(0.01)
        self.state = "finished"
        while not self.released.is_set() and time.monotonic() < end:
            self._say(FIN, FinMessage(stopped=self.stop_asked, counts=self._counts()))
            self.released.wait(REPEAT_S)

    def acknowledge(self, numbers: list[int]) -> None:
        """Take in the coordinator's acknowledgement of batches."""
        if self._run is not None:
            self._run.shipper.acknowledge(numbers, time.monotonic_ns())

    def _ship(self, chunk: dict[str, object]) -> None:
        assert self._run is not None
        self._run.shipper.add(chunk, time.monotonic_ns())

    def _say(self, kind: str, message: ReadyMessage | HealthMessage | FinMessage) -> None:
        self._send(kind, spoken(self.key, message))

    def _send_batch(self, batch: dict[str, object]) -> None:
        self._send(BATCH, {**self.key, **batch})


def _since(before: TcpTotals, breathe: Callable[[], None]) -> TcpTotals:
    now = Instruments.here().tcp_totals(breathe)
    return TcpTotals(
        now.retransmits - before.retransmits,
        now.segments_sent - before.segments_sent,
        now.connections - before.connections,
    )
