"""A load under way in words and figures; no socket, no clock."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from loadtest.clock import FakeClock
from loadtest.errors import EngineError
from loadtest.frozen import read
from loadtest.plan.resolve import load_plan
from loadtest.records.load_status import LoadStatus
from loadtest.records.watch import LinkGlance, MachineEnd, WorldGlance
from loadtest.run.coordinator import CoordinatorClient
from loadtest.run.load_words import (
    MOST_BRIEF,
    Prospect,
    brief,
    headline,
    region_table,
    span,
    verdict_in_s,
)
from loadtest.run.progress import Silent
from loadtest.run.viewing import GLANCE_EVERY_S, LoadViewer
from loadtest.run.world_glance import event_words
from loadtest.units import NS_PER_S


def figures(p50: float | None = 76.2, n: int = 100, errors: int = 0) -> dict[str, Any]:
    p95 = None if p50 is None else 2 * p50
    return {"n": n, "errors": errors, "p50_ms": p50, "p95_ms": p95}


def cell(region: str = "cdg", deployment: str = "multi", **told: Any) -> dict[str, Any]:
    return {
        "region": region, "deployment": deployment, "total": figures(**told),
        "recent": figures(n=10),
    }  # fmt: skip


def answer(*cells: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what the coordinator says of a run."""
    return {
        "run_id": "r1", "segment": 0, "state": "steady", "elapsed_s": 12.0, "total_s": 34.0,
        "rows": 1_200, "slice_number": 3, "slice_s": 2.0, "cells": list(cells) or [cell()],
        "workers": [{"name": "w", "region": "cdg", "state": "running", "sent": 9, "health": None}],
        "failures": [], "error": "", **changes,
    }  # fmt: skip


def status(*cells: dict[str, Any], **changes: Any) -> LoadStatus:
    return read(LoadStatus, answer(*cells, **changes), "status")


def test_the_headline_tells_time_and_when_the_verdict_is_due() -> None:
    assert headline(status(), Prospect(judging_s=4.0)) == (
        "steady: 12 s of 34 s, 22 s left; 1,200 requests; verdict in about 28 s"
    )
    assert "verdict in about 28 s unless undecided (up to 2 more)" in headline(
        status(), Prospect(looks_left=2, judging_s=4.0)
    )
    assert "report in about 28 s" in headline(status(), Prospect(False, 2, 4.0))


def test_the_verdict_is_due_after_load_answers_and_analysis() -> None:
    """The analysis takes as long as the look before; without one, what the rows to come take."""
    first = verdict_in_s(status(rows=120_000), Prospect())
    assert first == pytest.approx(22 + 2 + 4 + 120_000 / (12 / 34) / 50_000)
    assert verdict_in_s(status(state="draining", elapsed_s=34.0), Prospect(judging_s=9.0)) == 11.0
    assert verdict_in_s(status(state="self-check", elapsed_s=0.0, rows=0), Prospect()) == 42


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (-3, "0 s"), (119.4, "119 s"), (185, "3:05 min"), (3_750, "1:02:30 h")],
)
def test_times_are_for_people(seconds: float, told: str) -> None:
    assert span(seconds) == told


def test_a_region_has_a_row_with_every_deployment_beside_the_other() -> None:
    cells = [cell(), cell(deployment="replica", p50=7.04, errors=2), cell("ord", p50=None)]
    assert region_table(status(*cells)) == [
        ["region", "multi p50 / p95", "replica p50 / p95", "per s", "errors"],
        ["cdg", "76.2 / 152", "7.0 / 14.1", "10.0", "2"],
        ["ord", "- / -", "-", "5.0", "0"],
    ]
    assert brief(status(*cells[1:])) == (
        "cdg replica 7.0/14.1 ms, 5.0/s, 2 errors; ord multi -/- ms, 5.0/s, 0 errors"
    )
    assert region_table(status(cells=[])) == []
    assert brief(status(cells=[])) == ""


def test_many_deployments_and_regions_are_told_in_short() -> None:
    many = [cell(deployment=f"arm-{n}", p50=10.0 + n) for n in range(6)]
    assert region_table(status(*many))[1] == ["cdg", "10.0 arm-0", "15.0 arm-5", "30.0", "0"]
    assert " and 2 more, 30.0/s" in brief(status(*many))
    far = [cell(region=f"r{n:02}") for n in range(MOST_BRIEF + 3)]
    assert brief(status(*far)).endswith("; 3 regions more")


@pytest.mark.parametrize("key", sorted(answer()))
def test_a_coordinator_of_another_version_is_told_apart(key: str) -> None:
    told = answer()
    del told[key]

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=told))
    coordinator = CoordinatorClient("http://127.0.0.1:1", "token", transport=transport)

    with pytest.raises(EngineError, match=rf"another version: /v1/runs/r1\.{key}: missing"):
        coordinator.status("r1")
    coordinator.close()


GLANCE = WorldGlance(
    now_ms=3_000,
    links=(LinkGlance("cdg", "ord", 104.0, 104.1, sent=20, lost=1),),
    late_p99_us=120.0,
    events=(MachineEnd(1_500, "web", "cdg", "1", "exit", False, 137, True),),
    faults=(),
)


def test_what_happened_to_a_machine_is_told() -> None:
    (event,) = GLANCE.events
    assert event_words(event) == "web in cdg: machine exit, unasked, exit code 137"


class Watching:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.watches_world = True

    def begin(self, _plan: Any, run_id: str, metrics: Any) -> None:
        self.told.append((run_id, metrics()))

    def load(self, status: LoadStatus, verdict_s: float) -> None:
        self.told.append(round(verdict_s))

    def world(self, glance: WorldGlance) -> None:
        self.told.append(glance.links[0].from_)


class World:
    def glance(self) -> WorldGlance:
        return GLANCE


def test_a_watcher_gets_every_status_and_now_and_then_the_world() -> None:
    clock, watching = FakeClock(100 * NS_PER_S), Watching()
    viewer = LoadViewer(load_plan(), Silent(), watching, clock.monotonic_ns)
    viewer.begin("r1", World(), lambda: b"m 1")
    with viewer.judging():
        clock.advance(5 * NS_PER_S)
    viewer.show(status())
    viewer.show(status())
    clock.advance(round(GLANCE_EVERY_S * NS_PER_S))
    viewer.show(status(state="done"))
    assert watching.told == [("r1", b"m 1"), 29, "cdg", 29, 29, "cdg"]
    watching.watches_world = False
    clock.advance(round(GLANCE_EVERY_S * NS_PER_S))
    viewer.show(status())
    assert watching.told[6:] == [29]
