"""Outages: what is found of faults in records that were made to meet them, and in ones that not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadtest.analysis.load import Run, load_run, read_starts
from loadtest.analysis.outages import Outage, find_outages
from loadtest.analysis.summary import summarise
from loadtest.analysis.world_checks import world_checks
from loadtest.records.seal import seal

MakeRun = Callable[..., Run]

AT_S, FOR_S = 15.0, 5.0


def with_faults(
    run: Run, *faults: dict[str, Any], ended: list[dict[str, Any]] | None = None
) -> Run:
    """Write faults, and machines that ended, into what a world saw; times in run seconds."""
    path = run.folder / "world.json"
    world = json.loads(path.read_text())
    assert run.engine is not None
    epoch_ms = (run.engine.epoch_wall_ns - world["watch"]["began_wall_ns"]) // 1_000_000
    for fault in faults:
        times = {key: epoch_ms + round(fault[key] * 1_000) for key in ("began_ms", "ended_ms")}
        world["watch"]["faults"].append({"pairs": [], "machines": [], **fault, **times})
    for event in ended or ():
        told = {"event": "exit", "asked": False, "exit_code": 137, "restarting": True}
        world["watch"]["machine_events"].append(
            {**told, **event, "t_ms": epoch_ms + round(event["t_ms"] * 1_000)}
        )
    path.write_text(json.dumps(world))
    seal(run.folder)
    return load_run(run.folder)


CUT = {"what": "cut syd-*", "began_ms": AT_S, "ended_ms": AT_S + FOR_S, "pairs": ["cdg-syd"]}


def spoiled(run: Run, deployment: str, *, error: str = "", wait_ms: float = 0.0) -> Run:
    """Let a deployment's requests from syd fail, or wait, that were sent during the fault."""
    frame = run.frame
    at_s = read_starts(run) / 1e6
    hit = ((frame["region"] == "syd") & (frame["deployment"] == deployment)).to_numpy()
    hit = hit & (at_s >= AT_S) & (at_s < AT_S + FOR_S)
    columns: dict[str, Any] = {}
    if error:
        words = frame["error"].astype(str).to_numpy().astype(object)
        words[hit] = error
        columns["error"] = words
        changed = frame.assign(error=words).astype({"error": "category"})
    else:
        wait = frame["wait_us"].to_numpy().astype(np.int64)
        wait[hit] = np.maximum(wait[hit], (AT_S + FOR_S - at_s[hit]) * 1e6 + wait_ms * 1e3)
        changed = frame.assign(wait_us=wait)
    return replace(run, frame=changed)


def found(run: Run) -> dict[tuple[str, str], Outage]:
    return {(o.deployment, o.region): o for o in find_outages(run, summarise(run))}


def test_requests_that_fail_during_a_fault_are_told_with_their_kind(make_run: MakeRun) -> None:
    run = spoiled(with_faults(make_run(), CUT), "single", error="connect")
    met = found(run)["single", "syd"]
    assert met.fault == "cut syd-* for 5.0 s"
    assert met.began_s == pytest.approx(AT_S)
    assert met.lasted_s == pytest.approx(FOR_S)
    assert set(met.kinds) == {"connect"}
    assert met.failed == round(met.met.value * met.met.n) == 10 * FOR_S
    assert met.met.low < met.met.value < met.met.high
    assert met.back_s
    assert met.back_s.low <= FOR_S <= met.back_s.value == met.back_s.high
    assert met.back_s.value == pytest.approx(FOR_S, abs=1.0)


def test_who_waits_for_the_end_of_a_fault_is_stalled_not_failed(make_run: MakeRun) -> None:
    run = spoiled(with_faults(make_run(), CUT), "multi", wait_ms=300.0)
    met = found(run)["multi", "syd"]
    assert (met.failed, met.kinds) == (0, {})
    assert 0 < met.stalled < 10 * FOR_S, "who came in the last second did not wait for one"
    assert met.back_s
    assert met.back_s.low <= FOR_S + 0.3 <= met.back_s.high + 0.01


def test_others_saw_nothing_of_it_and_their_number_is_told(make_run: MakeRun) -> None:
    told = found(spoiled(with_faults(make_run(), CUT), "single", error="connect"))
    calm = told["replica", "syd"]
    assert (calm.touched, calm.met.value, calm.back_s) == (False, 0.0, None)
    assert calm.met.n > 10 * FOR_S
    assert calm.met.high > 0
    assert {key for key, outage in told.items() if outage.touched} == {("single", "syd")}


def test_service_that_does_not_come_back_has_no_time(make_run: MakeRun) -> None:
    run = with_faults(make_run(), {**CUT, "ended_ms": 60.0})
    late = read_starts(run) / 1e6 >= AT_S
    words = np.where(late & (run.frame["region"] == "syd").to_numpy(), "read-timeout", "")
    broken = replace(run, frame=run.frame.assign(error=words).astype({"error": "category"}))
    met = found(broken)["single", "syd"]
    assert met.failed
    assert met.back_s is None


def test_a_request_counts_with_the_fault_in_whose_time_it_ended(make_run: MakeRun) -> None:
    second = {**CUT, "what": "restart database", "began_ms": AT_S + 2, "ended_ms": AT_S + 2}
    run = spoiled(with_faults(make_run(), CUT, second), "single", error="connect")
    outages = [o for o in find_outages(run, summarise(run)) if o.region == "syd"]
    met = {o.fault.split()[0]: o for o in outages if o.deployment == "single"}
    assert met["cut"].failed + met["restart"].failed == 10 * FOR_S
    assert 10 <= met["cut"].failed <= 30, "two seconds of ten requests each, in random order"


def test_a_fault_that_stands_from_the_begin_is_no_outage(make_run: MakeRun) -> None:
    assert find_outages(*_judged(with_faults(make_run(), {**CUT, "began_ms": -1.0}))) == ()
    assert find_outages(*_judged(make_run())) == ()


def _judged(run: Run) -> tuple[Run, Any]:
    return run, summarise(run)


def test_a_cell_that_is_not_valid_marks_what_it_saw(make_run: MakeRun) -> None:
    run = with_faults(make_run(lost_worker="syd"), {**CUT, "began_ms": 6.0})
    valid = {region: outage.valid for (_, region), outage in found(run).items()}
    assert valid == {"cdg": True, "ord": True, "scl": True, "syd": False}


DATABASE = {"app": "recipes-db", "region": "cdg", "machine": "db1", "t_ms": AT_S + 1}


@pytest.mark.parametrize(
    ("faults", "event", "ok"),
    [
        ([], DATABASE, False),
        ([{**CUT, "what": "restart database", "machines": ["db1"]}], DATABASE, True),
        ([CUT], {**DATABASE, "t_ms": AT_S + FOR_S + 1}, True),
        ([CUT], {**DATABASE, "t_ms": AT_S - 1}, False),
        ([], {**DATABASE, "asked": True}, True),
        ([], {**DATABASE, "app": "recipes-replica"}, True),
    ],
    ids=[
        *("a database that ends unasked", "as was asked", "in the aftermath of a cut"),
        *("before the fault", "a call of the API", "the app that is measured"),
    ],
)
def test_a_part_of_the_world_that_ends_unasked_makes_the_run_invalid(
    make_run: MakeRun, faults: list[dict[str, Any]], event: dict[str, Any], ok: bool
) -> None:
    run = with_faults(make_run(), *faults, ended=[event])
    (check,) = [c for c in world_checks(run) if c.name == "machines"]
    assert check.ok is ok
    assert ("recipes-db in cdg" in check.why) is not ok
    assert summarise(run).validity.ok is ok
