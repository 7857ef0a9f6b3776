"""The conduct of a run as far as it needs no world: its folder, its stop, its failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from run_places import link_facts, world_facts
from run_status import load_status
from synth_files import watch_of

from loadtest.clock import FakeClock
from loadtest.errors import EngineError, PlanError, WorldError
from loadtest.fly.ledger import MachineLedger
from loadtest.fly.machines import Guest
from loadtest.fly.prices import usd_per_s
from loadtest.plan.resolve import load_plan, resolve_plan
from loadtest.records.folder import RunFolder
from loadtest.records.load_status import LoadStatus
from loadtest.records.watch import MachineLogs, PathFacts, WatchFacts
from loadtest.records.world_facts import LinkFacts, WorldCounts, WorldFacts
from loadtest.run import conductor as module
from loadtest.run.conductor import RunConductor, new_run_id
from loadtest.run.cost import Budget
from loadtest.run.kept_run import KeptRun
from loadtest.run.progress import Silent
from loadtest.run.run_world import RunWorld
from loadtest.run.segments import SegmentedLoad, StopSwitch
from loadtest.run.watching import LoadWatch
from loadtest.units import NS_PER_S


def conduct(folder: Path, **arguments: Any) -> RunConductor:
    return RunConductor(load_plan(), Silent(), out=folder, **arguments)


class Extras:
    """An embedded world that tells this link."""

    def __init__(self, link: LinkFacts) -> None:
        self.link = link

    def describe(self) -> WorldFacts:
        return world_facts(regions=("cdg",), links=(self.link,))

    def measure(self) -> tuple[LinkFacts, ...]:
        return (self.link,)

    def counters(self) -> WorldCounts:
        return WorldCounts((), ())

    def logs(self) -> MachineLogs:
        return MachineLogs(())

    def watch(self) -> PathFacts:
        return PathFacts(0, ())

    def watched(self, *, over: bool) -> WatchFacts:
        assert over
        return watch_of(load_plan(), 10.0)


class Coordinator:
    """Takes an order, unless the scene says otherwise."""

    def __init__(self, scene: dict[str, Any]) -> None:
        self.scene = scene

    def __getattr__(self, name: str) -> Any:
        def do(*_: Any, **__: Any) -> None:
            if error := self.scene.get(name):
                raise error

        return do


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let a run take place on a stage; what is put into the dict is what happens there."""
    scene: dict[str, Any] = {"link": link_facts(), "destroyed": 0}

    @contextmanager
    def open_place(*_: Any, **__: Any) -> Iterator[RunWorld]:
        yield RunWorld("http://127.0.0.1:9", "t", scene.get("extras", Extras(scene["link"])))

    @contextmanager
    def connect(*_: Any, **__: Any) -> Iterator[Coordinator]:
        if error := scene.get("connect"):
            raise error
        yield Coordinator(scene)

    def act(name: str) -> Any:
        def do(*_: Any, **__: Any) -> None:
            scene["destroyed"] += name == "destroy_all"
            if error := scene.get(name):
                raise error

        return do

    monkeypatch.setattr(module, "open_place", open_place)
    monkeypatch.setattr(module, "deploy_all", act("deploy_all"))
    monkeypatch.setattr(module, "destroy_all", act("destroy_all"))
    monkeypatch.setattr(module, "still_to_deploy", lambda _place, _plan, orders, _world: orders)
    monkeypatch.setattr(RunWorld, "app_url", lambda *_: "http://127.0.0.1:9")
    monkeypatch.setattr(RunWorld, "targets", lambda *_: {})
    monkeypatch.setattr(module, "connect", connect)
    return scene


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_runs_have_names_that_sort_by_time_and_differ() -> None:
    one, other = new_run_id(), new_run_id()
    assert one != other
    assert one[:8].isdigit()


def test_a_folder_that_cannot_be_written_is_the_flags_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        PlanError, match=r"--out: .*file/run: cannot be written \(Not a directory\)"
    ):
        conduct(tmp_path / "file" / "run")


def test_an_earlier_runs_files_do_not_mix_with_this_one(
    stage: dict[str, Any], tmp_path: Path
) -> None:
    """They go when this one is up, and not before: until then it may come to nothing."""
    old = {".loadtest", "summary.json", "report.html", "records.parquet", "notes.txt"}
    for name in old:
        (tmp_path / name).write_text("old")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "00001.parquet").write_text("old")
    for broken in ("deploy_all", "connect", "submit"):
        stage[broken] = EngineError("it broke")
        with pytest.raises(EngineError):
            conduct(tmp_path).run()
        assert names(tmp_path) == {*old, "parts"}, broken
        del stage[broken]
    stage["follow"] = EngineError("it broke")
    with pytest.raises(EngineError):
        conduct(tmp_path).run()
    assert names(tmp_path) == {".loadtest", "notes.txt", "plan.json", "world.json"}


def test_before_there_is_load_a_stop_ends_at_once(tmp_path: Path) -> None:
    conductor = conduct(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        conductor.request_stop()
    conductor.folder.release()


@pytest.mark.parametrize("where", ["deploy_all", "connect", "submit", "follow"])
@pytest.mark.parametrize("error", [WorldError("it broke"), EngineError("it broke")])
def test_a_failure_before_any_record_leaves_no_results(
    where: str, error: Exception, stage: dict[str, Any], tmp_path: Path
) -> None:
    stage[where] = error
    with pytest.raises(type(error), match="it broke"):
        conduct(tmp_path / "run").run()
    left = names(tmp_path / "run") if (tmp_path / "run").exists() else set()
    assert left <= {".loadtest", "plan.json", "world.json"}


def test_a_key_that_does_nothing_is_told_before_the_run(
    stage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fly.toml").write_text('app = "shop"\nprots = 1\n[processes]\napp = "run"\n')
    monkeypatch.chdir(tmp_path)
    arms = [{"name": name, "fly_toml": "fly.toml"} for name in ("base", "candidate")]
    plan = resolve_plan({"regions": ["cdg"], "primary_region": "cdg", "deployments": arms})
    stage["deploy_all"] = WorldError("it broke")
    progress = Silent()
    with pytest.raises(WorldError, match="it broke"):
        RunConductor(plan, progress, out=tmp_path / "run").run()
    told = [sentence for sentence in progress.sentences if "fly.toml" in sentence]
    assert told == ["fly.toml of base, candidate: prots: not a key of fly.toml, so it does nothing"]


def test_a_link_out_of_tolerance_stops_the_run(stage: dict[str, Any], tmp_path: Path) -> None:
    stage["link"] = link_facts(measured_rtt_p50_ms=109.5, ok=False)
    with pytest.raises(WorldError, match=r"link cdg-ord: set to 104 ms, measured 109\.50 ms"):
        conduct(tmp_path).run()


def test_a_link_that_could_not_be_measured_stops_the_run(
    stage: dict[str, Any], tmp_path: Path
) -> None:
    stage["link"] = link_facts(measured_rtt_p50_ms=None, measured_rtt_p95_ms=None, n=0, ok=False)
    with pytest.raises(WorldError, match="link cdg-ord: set to 104 ms, not one ping came back"):
        conduct(tmp_path).run()


def test_a_standing_world_of_other_distances_is_refused(
    stage: dict[str, Any], tmp_path: Path
) -> None:
    stage["link"] = link_facts(configured_rtt_ms=9.0, measured_rtt_p50_ms=9.0)
    with pytest.raises(WorldError, match="link cdg-ord: the world has 9 ms, the plan wants"):
        conduct(tmp_path, world_url="http://127.0.0.1:9").run()


def test_a_place_that_outlives_the_run_is_cleared_even_after_a_failure(
    stage: dict[str, Any], tmp_path: Path
) -> None:
    stage["deploy_all"] = WorldError("it broke")
    stage["destroy_all"] = WorldError("and is gone")
    run = conduct(tmp_path, world_url="http://127.0.0.1:9")
    with pytest.raises(WorldError, match="it broke"):
        run.run()
    assert stage["destroyed"] == 1
    progress = run._progress
    assert isinstance(progress, Silent)
    assert any("may be left behind: and is gone" in told for told in progress.sentences)


def test_a_world_of_our_own_ends_with_the_run_so_nothing_is_destroyed_one_by_one(
    stage: dict[str, Any], tmp_path: Path
) -> None:
    stage["deploy_all"] = WorldError("it broke")
    with pytest.raises(WorldError):
        conduct(tmp_path).run()
    assert stage["destroyed"] == 0


class TestBudget:
    """A run that has become dearer than it may be ends and keeps what it has."""

    @staticmethod
    def spent(seconds: float) -> Budget:
        """Return a budget of a hundred seconds of one machine that has been there for some."""
        clock, guest = FakeClock(), Guest("performance", 1, 2_048)
        ledger = MachineLedger(clock)
        ledger.made("a", app="shop", name="a", region="iad", guest=guest, since_ns=0)
        clock.advance(round(seconds * NS_PER_S))
        return Budget(100 * usd_per_s(guest, "iad"), ledger)

    def test_the_load_is_ended_once_and_told_once(self, tmp_path: Path) -> None:
        store, stop = Store(), StopSwitch()
        for seconds in (10, 80, 90):
            load = segmented(tmp_path / "run", store, self.spent(seconds), stop)
            load.tick(load_status())
        assert store.stopped == ["r1"] * 2
        assert store.told == ["the budget of $0.0013 is reached: ending the run"]

    def test_a_deployment_that_ate_it_all_gets_no_load(self, tmp_path: Path) -> None:
        load = segmented(tmp_path / "run", Store(), self.spent(80), StopSwitch())
        with pytest.raises(WorldError, match=r"--budget: .* spent before any load"):
            load.run()


def segmented(folder: Path, store: Store, budget: Budget, stop: StopSwitch) -> SegmentedLoad:
    """Return the load of a run whose coordinator and viewer are a store's."""
    plan = load_plan()
    each: Any = store
    return SegmentedLoad(
        KeptRun("r1", RunFolder(folder), plan),
        each,
        {},
        watch=LoadWatch(None),
        faults=each,
        budget=budget,
        viewer=each,
        progress=each,
        stop=stop,
        between=each,
    )


class Store:
    """Stands in for the coordinator of a load, and for whoever is told of it."""

    def __init__(self) -> None:
        self.stopped: list[str] = []
        self.told: list[str] = []

    def parts(self, *_: str) -> tuple[()]:
        """Have nothing."""
        return ()

    def on_status(self, *_: Any) -> None:
        """Have no faults."""

    def show(self, _status: LoadStatus) -> None:
        """Show nothing."""

    def warn(self, sentence: str) -> None:
        """Note what is said."""
        self.told.append(sentence)

    def stop(self, run_id: str) -> None:
        """Note that a run was to stop."""
        self.stopped.append(run_id)
