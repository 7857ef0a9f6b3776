"""The load of a run: one segment after the other, until the gate is decided or nothing is left."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.errors import EngineError, WorldError
from loadtest.frozen import to_json
from loadtest.plan.order import RunOrder, Targets
from loadtest.records.folder import PARTS
from loadtest.records.load_status import LoadStatus
from loadtest.run import pilot
from loadtest.run.bending import PlannedFaults
from loadtest.run.between_looks import BetweenLooks
from loadtest.run.coordinator import CoordinatorClient
from loadtest.run.cost import Budget, segment_s
from loadtest.run.judge import load_early, undecided
from loadtest.run.kept_run import KeptRun
from loadtest.run.progress import Progress
from loadtest.run.recording import PartStore
from loadtest.run.viewing import LoadViewer
from loadtest.run.watching import LoadWatch
from loadtest.units import format_usd

_STOPPABLE = ("waiting", "self-check", "warm-up", "steady")


@dataclass
class StopSwitch:
    """Whether the load is to end before its time, which a signal or the budget may ask for."""

    asked: bool = False
    loading: bool = False
    """The first order is out: what was measured is kept from here on."""


class SegmentedLoad:
    """
    The load of one run.

    Args:
        kept: The run that it is the load of.
        coordinator: Takes the orders.
        targets: What workers of each region find their deployments at.
        watch: Of the place, over the load.
        faults: Those of the plan.
        budget: What may be spent.
        viewer: Shows how far the load is.
        progress: Told in words.
        stop: Whether to end before the time.
        between: What becomes of the arms between two segments.
    """

    def __init__(
        self,
        kept: KeptRun,
        coordinator: CoordinatorClient,
        targets: Targets,
        *,
        watch: LoadWatch,
        faults: PlannedFaults,
        budget: Budget,
        viewer: LoadViewer,
        progress: Progress,
        stop: StopSwitch,
        between: BetweenLooks,
    ) -> None:
        self._kept = kept
        self._coordinator = coordinator
        self._targets = targets
        self._watch = watch
        self._faults = faults
        self._budget = budget
        self._viewer = viewer
        self._progress = progress
        self._stop = stop
        self._between = between
        self._store = PartStore(coordinator, kept.run_id, kept.folder.path / PARTS)

    def run(self) -> None:
        """
        Order one segment after the other until the gate is decided or the plan's cap is met.

        Raises:
            EngineError: A segment failed; what it measured is in the folder.
            WorldError: The place failed, or the budget was spent before any load.
        """
        if self._budget.exhausted():
            raise WorldError(
                f"--budget: {format_usd(self._budget.limit_usd)} were as good as spent before any "
                "load began; raise it, or look why it took so long to deploy"
            )
        if pilot.is_wanted(self._kept.plan):
            self._progress.step("a pilot: what the targets carry")
            attempt = pilot.attempts_with(self._coordinator, self._kept.run_id, self._targets)
            self._kept.plan = pilot.prepare(self._kept.plan, attempt, self._progress)
        blocks = 0
        for segment in range(self._kept.plan.gate.max_looks):
            if segment:
                self._targets = self._between.renew()
            blocks = self._measure(segment, blocks)
            last = segment + 1 == self._kept.plan.gate.max_looks
            if self._stop.asked or last or not self._measure_on(look=segment + 1):
                return

    def _measure(self, segment: int, first_block: int) -> int:
        """Play a segment and bring all of it home; return how many blocks there are by now."""
        kept, coordinator = self._kept, self._coordinator
        order = RunOrder(
            run_id=kept.run_id,
            plan=kept.plan,
            segment=segment,
            first_block=first_block,
            targets=self._targets,
        )
        self._stop.loading = True
        if not kept.began:
            self._faults.begin()
        with self._watch.segment():
            coordinator.submit(order)
            if not kept.began:
                kept.begin()
            status = coordinator.follow(kept.run_id, segment, self.tick)
        self._store.fetch_new()
        engine = coordinator.engine(kept.run_id)
        kept.folder.save_json("engine.json", to_json(engine))
        if status.state == "failed" or (status.state == "stopped" and not self._stop.asked):
            raise EngineError(status.error or f"the run {status.state}, and nobody said why")
        self._progress.done(f"measured: {status.rows} requests, all accounted for")
        return sum(told.blocks for told in engine.segments)

    def _measure_on(self, look: int) -> bool:
        """Judge what there is; tell whether it wants another segment, and may have one."""
        self._kept.folder.merge_parts(keep=True)
        self._kept.save_world(self._watch.tell(self._kept.world, over=False))
        if look >= self._between.least_looks:
            with self._viewer.judging():
                if not undecided(self._kept.folder, look=look):
                    return False
            self._progress.warn("the gate is undecided: measuring on")
        if self._budget.exhausted(segment_s(self._kept.plan)):
            self._progress.warn("another segment is over the budget")
            return False
        return True

    def tick(self, status: LoadStatus) -> None:
        """Show how far a segment is, bring home what it has, end it where that was asked for."""
        self._viewer.show(status)
        if status.state == "warm-up":
            load_early()
        self._faults.on_status(status, self._coordinator, self._kept.run_id)
        self._store.fetch_new()
        if not self._stop.asked and self._budget.exhausted():
            self._stop.asked = True
            self._progress.warn(
                f"the budget of {format_usd(self._budget.limit_usd)} is reached: ending the run"
            )
        if self._stop.asked and status.state in _STOPPABLE:
            self._coordinator.stop(self._kept.run_id)
