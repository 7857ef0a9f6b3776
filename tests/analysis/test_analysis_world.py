"""The world during the load: what stood still, went astray or was not told makes a run invalid."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synth

from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import summarise
from loadtest.analysis.validity import check
from loadtest.analysis.world_checks import world_checks
from loadtest.analysis.world_events import world_events
from loadtest.errors import RecordsError
from loadtest.frozen import Signed
from loadtest.records.facts import NameMove
from loadtest.records.seal import seal

Watch = dict[str, Any]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a run whose world was quiet all through."""
    plan = synth.make_plan(regions=("cdg", "syd"))
    return synth.write_run(tmp_path_factory.mktemp("quiet") / "run", plan, seconds=30, seed=1)


@pytest.fixture
def watched(quiet: Path, tmp_path: Path) -> Callable[[Callable[[Watch], object]], Run]:
    """Return what takes the quiet run and changes what its world saw."""

    def make(change: Callable[[Watch], object]) -> Run:
        folder = tmp_path / "run"
        shutil.copytree(quiet, folder)
        path = folder / "world.json"
        world = json.loads(path.read_text())
        change(world["watch"])
        path.write_text(json.dumps(world))
        seal(folder)
        return load_run(folder)

    return make


def failed(run: Run) -> dict[str, str]:
    return {c.name: c.why for c in world_checks(run) if not c.ok}


def pair(watch: Watch, name: str) -> Watch:
    return next(p for p in watch["pairs"] if f"{p['from']}-{p['to']}" == name)


def bend(first_s: int, last_s: int, by_us: int | None) -> Callable[[Watch], None]:
    """Return what makes the round trips of cdg-syd longer for some seconds; None loses them."""

    def change(watch: Watch) -> None:
        link = pair(watch, "cdg-syd")
        for i, sent_ms in enumerate(link["sent_ms"]):
            if first_s * 1_000 <= sent_ms < last_s * 1_000:
                link["rtt_us"][i] = None if by_us is None else link["rtt_us"][i] + by_us

    return change


def stop_process(name: str) -> Callable[[Watch], None]:
    return late(name, {"max": 1_500_000.0}, slice(9, 10))


def late(name: str, us: dict[str, float], when: slice) -> Callable[[Watch], None]:
    """Return what lets a process be late in some seconds, and its account of them all agree."""

    def change(watch: Watch) -> None:
        for moment in watch["moments"][when]:
            moment.update({f"{name}_late_{key}_us": value for key, value in us.items()})
        process = next(p for p in watch["processes"] if p["name"] == name)
        process.update({f"late_{key}_us": value for key, value in us.items()})

    return change


def thinned(watch: Watch) -> None:
    link = pair(watch, "cdg-syd")
    link.update({key: link[key][::2] for key in ("sent_ms", "rtt_us")})


def seldom(watch: Watch) -> None:
    watch["moments"] = watch["moments"][::2]


def silence(watch: Watch) -> None:
    watch["moments"] = [m for m in watch["moments"] if not 8_000 < m["t_ms"] < 15_000]


def no_pings(watch: Watch) -> None:
    pair(watch, "cdg-syd").update({"sent_ms": [], "rtt_us": []})


def stray(when: str) -> Callable[[Watch], None]:
    entry = {
        "app": "recipes-replica",
        "region": "syd",
        "name": "top1.nearest.of.recipes-db.internal:5433",
        "wanted_region": "syd",
        "found_regions": ["cdg"],
        "connections": 4,
    }
    return lambda watch: watch[when]["astray"].append(entry)


@pytest.mark.parametrize(
    ("change", "name", "told"),
    [
        (bend(8, 15, 3_000), "round trips", "out of tolerance: cdg-syd"),
        (bend(8, 14, None), "round trips", "out of tolerance: cdg-syd"),
        (bend(10, 11, 900_000), "stalled", "the link cdg-syd"),
        (stop_process("links"), "stalled", "the links process"),
        (stop_process("world"), "stalled", "the world's process"),
        (
            late("links", {"p99": 60_000, "max": 60_000}, slice(None)),
            "world late",
            "60.00 ms",
        ),
        (silence, "watch", "of the world"),
        # the clock of the system was set between the run's beginning and the watch's
        (lambda w: w.update(began_wall_ns=w["began_wall_ns"] + 60 * 10**9), "watch", "silence"),
        (lambda w: w.update(began_wall_ns=w["began_wall_ns"] - 60 * 10**9), "watch", "silence"),
        (no_pings, "watch", "the link cdg-syd"),
        (thinned, "watch", "pings of the link cdg-syd: 34 of 68"),
        (seldom, "watch", "moments: "),
        (lambda w: w["processes"][0].update(n=1), "watch", "looks at its links: 1 of"),
        (
            lambda w: w.update(pairs=[p for p in w["pairs"] if p["from"] != p["to"]]),
            "watch",
            "lacks its links",
        ),
        (lambda w: w.update(processes=[]), "watch", "lacks"),
        (lambda w: w.update(pairs=[]), "watch", "lacks"),
        (stray("paths_before"), "paths", "recipes-replica in syd was connected to cdg"),
        (stray("paths_after"), "paths", "which leads to syd"),
    ],
)
def test_trouble_of_the_world_is_told_by_name(
    watched: Callable[..., Run], change: Callable[[Watch], None], name: str, told: str
) -> None:
    found = failed(watched(change))
    assert told in found[name]


def test_a_busy_moment_is_no_trouble(watched: Callable[..., Run]) -> None:
    assert failed(watched(bend(10, 12, 40_000))) == {}


def test_what_went_astray_speaks_against_its_deployment_alone(watched: Callable[..., Run]) -> None:
    validity = check(watched(stray("paths_after")))
    assert validity.against("syd", "replica", "browse")
    assert not validity.against("syd", "single", "browse")


def test_a_link_that_a_fault_bent_is_judged_without_the_fault(
    watched: Callable[..., Run],
) -> None:
    def change(watch: Watch) -> None:
        bend(8, 14, None)(watch)
        fault = {"what": "cut cdg-syd", "began_ms": 8_000, "ended_ms": 14_000}
        watch["faults"].append({**fault, "pairs": ["cdg-syd"], "machines": []})

    run = watched(change)
    assert failed(run) == {}
    (event,) = world_events(run)
    assert (event.kind, event.text) == ("fault", "fault: cut cdg-syd for 6.0 s")
    assert (event.t_s, event.until_s) == (7.0, 13.0)
    assert event.touches("syd", "single")


def test_an_app_that_was_killed_is_an_event_beside_its_cells(watched: Callable[..., Run]) -> None:
    def change(watch: Watch) -> None:
        event = {"t_ms": 9_000, "app": "recipes-replica", "region": "syd", "machine": "1"}
        told = {"asked": False, "exit_code": 137, "restarting": True}
        watch["machine_events"].append({**event, "event": "exit", **told})

    run = watched(change)
    assert failed(run) == {}
    (event,) = summarise(run).events
    assert event.text == "recipes-replica in syd ended (exit code 137) and was started anew"
    assert event.touches("syd", "replica")
    assert not event.touches("syd", "single")
    assert not event.touches("cdg", "replica")


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.update(schema=1),
        lambda w: w.pop("faults"),
        lambda w: w["pairs"][0]["rtt_us"].pop(),
        lambda w: w["moments"][0].update(links_late_max_us=None),
        lambda w: w.update(began_wall_ns="yesterday"),
    ],
)
def test_a_watch_of_another_kind_is_refused_by_its_key(
    watched: Callable[..., Run], change: Callable[[Watch], object]
) -> None:
    with pytest.raises(RecordsError, match="watch"):
        watched(change)


def test_a_name_that_leads_elsewhere_is_an_event_beside_its_region(
    watched: Callable[..., Run],
) -> None:
    run = watched(lambda _: None)
    assert run.engine is not None
    move = NameMove(Signed(4.5), "shop.example", ("10.0.0.1",), ("10.0.0.2", "10.0.0.3"))
    workers = tuple(
        replace(worker, moves=(move,)) if worker.region == "syd" else worker
        for worker in run.engine.workers
    )
    moved = replace(run, engine=replace(run.engine, workers=workers))
    (event,) = world_events(moved)
    assert (event.kind, event.t_s, event.regions) == ("name", 4.5, ("syd",))
    assert event.text == (
        "shop.example resolves to 10.0.0.2, 10.0.0.3 from here on (before: 10.0.0.1)"
    )
