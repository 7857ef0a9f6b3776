"""
Conducts one run from plan to verdict.

    run folder -> world up -> deploy -> measure links -> order to the coordinator -> records home
    -> world down -> summary, verdict, report

Plan and world are on disk when the coordinator has taken the first order, which it answers before
the first request; until then an earlier run's files stay.  Records are on disk before any analysis.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from loadtest.errors import EngineError, PlanError, RecordsError, WorldError
from loadtest.plan.headers import Headers
from loadtest.plan.model import Plan
from loadtest.plan.order import Targets, with_secrets
from loadtest.records.engine_account import read_engine
from loadtest.records.facts import FINISHED
from loadtest.records.folder import RunFolder
from loadtest.records.seal import seal
from loadtest.records.world_facts import OrderFacts, WorldFacts
from loadtest.run.advice import with_advice
from loadtest.run.bending import PlannedFaults
from loadtest.run.between_looks import BetweenLooks
from loadtest.run.coordinator import FIRST_ANSWER_S, connect, heard_by
from loadtest.run.cost import Agree, Budget, account, cost_sentence, ready_for_fly
from loadtest.run.deployment import deploy_all, destroy_all
from loadtest.run.interruptible import cancel_running
from loadtest.run.judge import LOADING_S, Judged, judge_folder, load_early
from loadtest.run.kept_run import KeptRun
from loadtest.run.link_words import link_faults, measure_links
from loadtest.run.looking import refuse_unknown_scenarios, scenario_looked_at
from loadtest.run.machine_logs import KeptLogs
from loadtest.run.mortal import with_lifeline
from loadtest.run.own_machines import OwnCoordinator, spare_workers
from loadtest.run.preflight import preflight, targets_from_here, told_from_here
from loadtest.run.progress import Progress
from loadtest.run.round_trips import measure_round_trips
from loadtest.run.run_deployment import RunDeployment, file_notes, orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import RunWorld, open_place
from loadtest.run.segments import SegmentedLoad, StopSwitch
from loadtest.run.standing import network_faults, still_to_deploy
from loadtest.run.viewing import LoadViewer, Watcher
from loadtest.run.watching import LoadWatch

REPORTS = "reports"
WORKERS_DEADLINE_S = 30.0
OWN_WORKERS_DEADLINE_S = 5.0
"""Workers of a person's own stand already; one whose link has just broken comes back within it."""
BEATS = 4
"""How often the coordinator hears of us within the silence that it allows."""


class RunConductor:
    """
    One run.

    Args:
        plan: Resolved plan.
        progress: Told what goes on.
        out: Run folder; None makes ``reports/<run id>``.
        world_url: A world that is up already; empty starts what the plan names.
        image: Image of the apps; empty takes what each fly.toml names.
        command: The command line, for the report.
        scratch: A folder that has to go with the run, should this process be killed.
        app_secrets: Environment of the apps that is stored and shown nowhere.
        agree: Asked before anything is ordered that costs money.
        watcher: Told in figures how far the load is.
        headers: What requests to each deployment carry; stored and shown nowhere.
        passphrase: Of the key of the client's certificate; stored and shown nowhere.
        own: A coordinator with workers on machines of a person's own, in place of any world.

    Raises:
        PlanError: The run folder cannot be written.
    """

    def __init__(
        self,
        plan: Plan,
        progress: Progress,
        *,
        out: Path | None = None,
        world_url: str = "",
        image: str = "",
        command: str = "",
        scratch: Path | None = None,
        app_secrets: Mapping[str, str] | None = None,
        agree: Agree = lambda _cost: None,
        watcher: Watcher | None = None,
        headers: Headers | None = None,
        passphrase: str = "",
        own: OwnCoordinator | None = None,
    ) -> None:
        self.plan = plan
        self.run_id = new_run_id()
        self.folder = _claimed(out if out is not None else Path(REPORTS) / self.run_id)
        self._kept = KeptRun(self.run_id, self.folder, plan)
        self._ours = out is None
        """The folder is in our own place, where ``latest`` is; a person's own folder has none."""
        self._progress = progress
        self._world_url = world_url
        self._image = image
        self._command = command
        self._scratch = scratch
        self._app_secrets = dict(app_secrets or {})
        self._agree = agree
        self._headers = headers or {}
        self._passphrase = passphrase
        self._own = own
        self._viewer = LoadViewer(plan, progress, watcher)
        self._stop = StopSwitch()

    def request_stop(self) -> None:
        """
        End the load and keep what was measured; before there is load, end at once.

        Raises:
            KeyboardInterrupt: Nothing has been measured yet, and nothing is waited for.
        """
        self._stop.asked = True
        if not self._stop.loading:
            self.request_end()

    def request_end(self) -> None:
        """
        End at once, whatever goes on.

        Raises:
            KeyboardInterrupt: Nothing is waited for that could be cancelled.
        """
        if not cancel_running():
            raise KeyboardInterrupt

    def run(self) -> Judged:
        """
        Do it all, once.

        Returns:
            What came of it, as the command line prints it.

        Raises:
            LoadtestError: The world, the engine or the records failed; whatever was measured
                until then is in the run folder, judged and marked partial.
        """
        try:
            with ExitStack() as afterwards:
                return self._run(afterwards)
        finally:
            self.folder.release()

    def _run(self, afterwards: ExitStack) -> Judged:
        plan, folder = self.plan, self.folder
        self._progress.step("asking for workers" if self._own else "starting the world")
        failure: EngineError | WorldError | None = None
        orders = orders_of(
            plan,
            self.run_id,
            keys := Secrets() if self._own is None else Secrets(token=self._own.token),
            image=self._image,
            app_secrets=self._app_secrets,
        )
        told = ("client.insecure: certificates are not verified",) if plan.client.insecure else ()
        for note in (*told, *file_notes(plan, orders)):
            self._progress.warn(note)
        if plan.world == "fly" and not self._world_url:
            preflight(plan, self._with_secrets(targets_from_here(plan)))
            orders = ready_for_fly(plan, orders, self._progress, self._agree)
        if self._own is not None:
            told_from_here(plan, self._with_secrets(targets_from_here(plan)), self._progress)
        logs = KeptLogs(folder, self._progress)
        with (
            scenario_looked_at(plan, self._app_secrets) as scenario,
            open_place(
                *(plan, orders, self._world_url, self._scratch, self._own), afterwards=afterwards
            ) as place,
            logs.of(place.extras),
        ):
            self._progress.done(place.greeting)
            if place.extras is None or plan.load.warmup_s < LOADING_S:
                load_early()
            if scenario is not None:
                refuse_unknown_scenarios(plan, scenario)
            with ExitStack() as stack:
                if place.own is None:
                    self._deploy(place, orders, keys, stack)
                self._kept.world = self._known_world(place, orders)
                try:
                    self._measure(place, orders, keys)
                except (EngineError, WorldError) as error:
                    failure = error
            if place.on_fly and self._kept.began:
                cost = account(place.ledger, plan.budget_usd)
                self._kept.save_world(replace(self._kept.world, cost=cost))
            self._progress.step("letting go" if place.own else "taking the world down")
        if failure is not None:
            logs.keep()
            if not self._kept.began:
                raise failure
        return self._concluded(failure, logs)

    def _concluded(self, failure: EngineError | WorldError | None, logs: KeptLogs) -> Judged:
        """Judge what was measured; raise what ended the run before its time."""
        folder = self.folder
        if not folder.file("plan.json").is_file():
            raise RecordsError(
                f"{folder.path}: was removed or moved while the run went on; what was measured "
                "until then went with it"
            )
        rows = folder.merge_parts()
        if rows == 0:
            folder.records.unlink(missing_ok=True)  # an empty one would look like a run
            if failure is not None:
                raise failure
            logs.keep()
            raise EngineError(f"no request was measured: {self._why_nothing()}")
        seal(folder.path)
        self._progress.step("analysing")
        judged = judge_folder(folder.path, command=self._command, interrupted=self._stop.asked)
        if self._ours:
            folder.point_latest()
        logs.keep_if_it_matters(judged)
        for note in judged.notes:
            self._progress.warn(note)
        if failure is not None:
            self._progress.warn(f"what was measured until then is in {judged.report}")
            raise failure
        return judged

    def _why_nothing(self) -> str:
        """Return why a run that came to its end has no row."""
        engine = read_engine(self.folder.load_json("engine.json"))
        lost = [f"{one.id} ({one.region})" for one in engine.workers if one.state != FINISHED]
        if lost:
            return f"worker {', '.join(lost)} ended before it sent one; look at its machine's log"
        return f"no task of {self.plan.scenario} sent one within the run"

    def _deploy(
        self, place: RunWorld, orders: RunDeployment, keys: Secrets, stack: ExitStack
    ) -> None:
        """Deploy what is missing; the stack clears it away where nothing else does."""
        missing = orders
        if self._world_url and place.extras is not None:
            missing = still_to_deploy(place, self.plan, orders, place.extras.describe())
            missing = with_lifeline(
                missing, self.plan, python=sys.executable, has_program=lambda _order: True
            )
        if self._outlived(place):
            stack.callback(self._clear_away, place, missing)
        try:
            with heard_by(
                lambda: place.coordinator_url(self.plan, orders), keys.token, self._beat_s(place)
            ):
                deploy_all(place, missing, self._progress)
        except WorldError as error:
            raise WorldError(with_advice(str(error))) from error

    def _beat_s(self, place: RunWorld) -> float:
        """Return how often the coordinator has to hear of us; 0 where it ends with us or stays."""
        if not self._outlived(place):
            return 0.0
        return self.plan.generator.driver_silent_s / BEATS

    def _outlived(self, place: RunWorld) -> bool:
        """Tell whether the place is still there when this process is not."""
        return place.own is None and (bool(self._world_url) or place.extras is None)

    def _clear_away(self, place: RunWorld, orders: RunDeployment) -> None:
        """Destroy what the run deployed; a place that is gone must not hide what was measured."""
        try:
            destroy_all(place, orders)
        except WorldError as error:
            self._progress.warn(
                f"machines of run {self.run_id} may be left behind: {error}"
                + ("; `loadtest fly clean` destroys them" if place.on_fly else "")
            )
        if place.on_fly:
            self._progress.done(cost_sentence(account(place.ledger, self.plan.budget_usd)))

    def _known_world(self, place: RunWorld, orders: RunDeployment) -> WorldFacts:
        """Measure the links, refuse a world out of tolerance, return the content of world.json."""
        if place.extras is not None:
            measure_links(place.extras, self._progress)
        world = replace(
            place.describe(self.plan),
            run=OrderFacts(self.run_id, self._command),
            apps={name: order.name for name, order in orders.apps.items()},
            database=orders.database.name if orders.database is not None else None,
        )
        faults = link_faults(world.links)
        if self._world_url:
            faults += network_faults(self.plan, world)
        if faults:
            raise WorldError("\n".join(faults))
        return world

    def _with_secrets(self, targets: Targets) -> Targets:
        return with_secrets(targets, self._headers, self._passphrase)

    def _measure(self, place: RunWorld, orders: RunDeployment, keys: Secrets) -> None:
        """Run the segments; bring records, engine facts and counters home whatever happens."""
        url = place.coordinator_url(self.plan, orders)

        def targets_of(deployed: RunDeployment) -> Targets:
            return self._with_secrets(place.targets(self.plan, deployed, self._kept.world))

        targets = targets_of(orders)
        if place.extras is not None:
            preflight(self.plan, targets)
        own = place.own
        ca_file, beat_s = own.ca_file if own else "", self._beat_s(place)
        with connect(
            url, keys.token, place.still_there, beat_s=beat_s, ca_file=ca_file
        ) as coordinator:
            if place.on_fly:
                coordinator.wait_until_there(FIRST_ANSWER_S, orders.generator.name)
            each = self.plan.generator.workers_per_region
            deadline_s = OWN_WORKERS_DEADLINE_S if own else WORKERS_DEADLINE_S
            coordinator.wait_for_workers(self.plan.regions, each, deadline_s)
            if own is not None:
                for note in spare_workers(coordinator, self.plan):
                    self._progress.warn(note)
            self._kept.round_trips = measure_round_trips(place, orders, self._progress)
            self._viewer.begin(self.run_id, place.extras, coordinator.metrics)
            watch = LoadWatch(place.extras)
            between = BetweenLooks(self._kept, place, orders, targets_of, self._progress)
            between.begin()
            load = SegmentedLoad(
                self._kept,
                coordinator,
                targets,
                watch=watch,
                faults=PlannedFaults(self.plan, orders, place.extras),
                budget=Budget(self.plan.budget_usd if place.on_fly else 0.0, place.ledger),
                viewer=self._viewer,
                progress=self._progress,
                stop=self._stop,
                between=between,
            )
            try:
                load.run()
            finally:
                if place.extras is not None and self._kept.began:
                    self._kept.save_world(watch.tell(self._kept.world, over=True))


def _claimed(path: Path) -> RunFolder:
    """Return the run folder; what an earlier run left there stays until this one is up."""
    try:
        return RunFolder.claim(path)
    except RecordsError as error:
        raise PlanError(f"--out: {error}") from error


def new_run_id() -> str:
    """Return a name for a run: the time in UTC and four random letters."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{now}-{secrets.token_hex(2)}"
