"""How many starts of the arms a run has seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synth

from loadtest.analysis.load import Run, load_run
from loadtest.analysis.starts import starts_of
from loadtest.analysis.world_events import world_events
from loadtest.records.watch import MachineEnd, NoWatch, WatchFacts
from loadtest.records.world_facts import MachineFacts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of two regions, whose apps have a machine each in both."""
    plan = synth.make_plan(regions=("cdg", "syd"))
    folder = synth.write_run(tmp_path_factory.mktemp("run") / "run", plan, seconds=20, seed=1)
    run = load_run(folder)
    machines = tuple(
        MachineFacts(f"{app}-{region}", "m", app, region, "app", "started", 1, {})
        for app in ("recipes-single", "recipes-multi", "recipes-replica", "recipes-db")
        for region in ("cdg", "syd")
    )
    return replace(run, world=replace(run.world, machines=machines))


def with_events(run: Run, *events: tuple[int, str, str]) -> Run:
    """Return the run with a start, stop or exit of machines (app, region) at seconds, by calls."""
    told = tuple(
        MachineEnd(
            t_ms=1_000 * at_s,
            app=machine.rpartition("-")[0],
            region=machine.rpartition("-")[2],
            machine=machine,
            event=event,
            asked=True,
            exit_code=0 if event == "exit" else None,
            restarting=False,
        )
        for at_s, machine, event in events
    )
    watch = run.world.watch
    assert isinstance(watch, WatchFacts)
    return replace(run, world=replace(run.world, watch=replace(watch, machine_events=told)))


def anew(at_s: int, *machines: str) -> list[tuple[int, str, str]]:
    """Return the events of machines that are stopped and started."""
    return [(at_s, machine, event) for event in ("stop", "exit", "start") for machine in machines]


ARMS = [
    f"recipes-{arm}-{region}" for arm in ("single", "multi", "replica") for region in ("cdg", "syd")
]


def test_every_machine_of_every_arm_has_to_have_begun_anew(run: Run) -> None:
    assert starts_of(with_events(run)) == 1
    assert starts_of(with_events(run, *anew(9, *ARMS))) == 2
    assert starts_of(with_events(run, *anew(9, *ARMS), *anew(14, *ARMS))) == 3
    assert starts_of(with_events(run, *anew(9, *ARMS), *anew(14, *ARMS[1:]))) == 2
    assert starts_of(with_events(run, *anew(9, "recipes-db-cdg"))) == 1


def test_a_start_after_the_last_request_drew_nothing(run: Run) -> None:
    assert starts_of(with_events(run, *anew(400, *ARMS))) == 1


def test_what_the_run_did_not_start_it_cannot_count(run: Run) -> None:
    assert starts_of(replace(run, world=replace(run.world, apps=None))) is None
    blind = replace(run.world, watch=NoWatch(2, "not ours"))
    assert starts_of(replace(run, world=blind)) is None


def test_a_machine_that_began_anew_is_an_event_and_another_was_stopped(run: Run) -> None:
    bent = with_events(run, *anew(9, "recipes-multi-syd"), (12, "recipes-single-cdg", "stop"))
    assert [event.text for event in world_events(bent)] == [
        "recipes-multi in syd was started anew by a call",
        "recipes-single in cdg was stopped by a call",
    ]
