"""A pilot finds the rate that a target carries, and leaves alone what is carried."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synth
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analysis.pilot import PilotCell, fitting_rate, pilot_cells, read_pilot
from loadtest.plan.model import Load, Plan
from loadtest.run.pilot import fit, is_wanted, pilot_of
from loadtest.run.progress import Silent

PHASES = ("dns_us", "connect_us", "tls_us", "send_us", "receive_us")


def plan_of(**load: Any) -> Plan:
    return synth.make_plan(load=Load(fit_rate=True, **load))


def rows_of(
    plan: Plan, servers: int, service_s: float, noise: float = 0.0, seed: int = 1
) -> pd.DataFrame:
    """
    Return what a target with so many connections to its database answers.

    Whoever finds all users busy is dropped, as by the engine.
    """
    load, rng = plan.load, np.random.default_rng(seed)
    free = [0.0] * servers
    flying: list[float] = []
    rows = []
    for number in range(int((load.warmup_s + load.duration_s) * load.rate)):
        at_s = number / load.rate
        while flying and flying[0] <= at_s:
            heapq.heappop(flying)
        row = {"arrival": number, "intended_us": int(at_s * 1e6), "wait_us": 0, "error": "dropped"}
        if len(flying) < load.users:
            begins_s = max(at_s, heapq.heappop(free))
            ends_s = begins_s + service_s * float(np.exp(noise * rng.standard_normal()))
            heapq.heappush(free, ends_s)
            late = ends_s - at_s > load.timeout_s
            heapq.heappush(flying, min(ends_s, at_s + load.timeout_s))
            row |= {
                "wait_us": int((ends_s - at_s) * 1e6),
                "error": "read-timeout" if late else "",
            }
        rows.append(row)
    frame = pd.DataFrame(rows).assign(region="syd", deployment="base", scenario="pages")
    return frame.assign(start_us=frame["intended_us"], **dict.fromkeys(PHASES, 0))


@settings(max_examples=40, deadline=None)
@given(
    servers=st.integers(1, 40),
    service_s=st.floats(0.001, 2.0),
    rate=st.floats(0.5, 200.0),
    noise=st.sampled_from([0.0, 0.35, 0.8]),
)
def test_what_is_left_is_carried_with_room_to_spare(
    servers: int, service_s: float, rate: float, noise: float
) -> None:
    progress = Silent()
    capacity = servers / (service_s * float(np.exp(noise**2 / 2)))
    fitted = fit(
        plan_of(rate=rate),
        lambda plan: pilot_cells(rows_of(plan, servers, service_s, noise)),
        progress,
    )
    assert fitted.load.rate <= rate
    assert fitted.load.users == plan_of().load.users
    if capacity > 2 * rate and service_s * rate * 4 < plan_of().load.users:
        assert fitted.load.rate == rate or noise > 0
    if rate > 2 * capacity:
        assert 0.05 * capacity < fitted.load.rate <= max(capacity, 0.1)
    assert bool(progress.sentences) == (fitted.load.rate < rate) == (fitted.load.asked_rate == rate)


def test_no_more_is_asked_at_a_time_than_helps() -> None:
    asked: list[int] = []

    def attempt(plan: Plan) -> tuple[PilotCell, ...]:
        asked.append(plan.load.users)
        return pilot_cells(rows_of(plan, 1, 1.5))

    progress = Silent()
    assert fit(plan_of(rate=15.0), attempt, progress).load.rate == pytest.approx(0.4, abs=0.1)
    assert asked == [2, 4]
    assert progress.sentences[0].startswith("base from syd serves 0.6")


def test_a_target_that_answers_nothing_is_asked_least() -> None:
    fitted = fit(plan_of(rate=15.0), lambda plan: pilot_cells(rows_of(plan, 1, 60.0)), Silent())
    assert fitted.load.rate == 0.1


def test_the_slowest_cell_decides_for_all() -> None:
    cells = (
        PilotCell("cdg", "base", 40, 0.0, 0.0, 15.0),
        PilotCell("syd", "base", 40, 0.5, 0.0, 7.0),
        PilotCell("ord", "base", 40, 0.3, 0.0, 10.0),
    )
    assert fit(plan_of(rate=15.0), lambda _: cells, Silent()).load.rate == 4.2


def test_a_queue_that_grows_is_seen_before_anything_is_lost() -> None:
    plan = plan_of(rate=20.0, users=500, duration_s=4.0)
    (steady,) = pilot_cells(rows_of(plan, 2, 0.09, 0.35))
    assert steady.carries
    (growing,) = pilot_cells(rows_of(plan, 2, 0.13, 0.35))
    assert growing.lost == 0
    assert growing.growth == pytest.approx(0.3, abs=0.15)
    assert not growing.carries


def test_too_few_arrivals_say_nothing() -> None:
    assert PilotCell("cdg", "base", 5, 1.0, 9.0, 0.0).carries
    assert fitting_rate(9.0, 5.0) == 3.0


@pytest.mark.parametrize(
    ("load", "wanted"),
    [
        ({}, True),
        ({"fit_rate": False}, False),
        ({"model": "closed"}, False),
        ({"stages": [{"duration_s": 1, "from_rate": 1, "to_rate": 2}]}, False),
    ],
)
def test_a_pilot_is_for_one_open_rate(load: dict[str, Any], *, wanted: bool) -> None:
    assert (
        is_wanted(synth.make_plan(load=Load.model_validate({"fit_rate": True, **load}))) is wanted
    )


def test_it_is_short_and_never_above_the_plans_rate() -> None:
    load = pilot_of(plan_of(rate=0.5, duration_s=300.0, timeout_s=60.0), 4).load
    assert (load.rate, load.users, load.duration_s, load.timeout_s) == (0.5, 4, 10.0, 10.0)
    assert pilot_of(plan_of(rate=500.0), 2).load.duration_s == 3.0


def test_records_of_a_run_are_read(tmp_path: Path) -> None:
    run = synth.write_run(tmp_path / "run", synth.make_plan(), seconds=20, seed=1)
    cells = read_pilot([(Path(getattr(run, "path", run)) / "records.parquet").read_bytes()])
    assert {(cell.region, cell.deployment) for cell in cells} >= {
        ("cdg", "single"),
        ("syd", "multi"),
    }
    assert all(cell.carries for cell in cells)
    assert read_pilot([]) == ()
