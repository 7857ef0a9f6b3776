"""Round trips that links counted: no page can hide in them, and no ping decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synth

from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import summarise
from loadtest.gate.results import RuleResult
from loadtest.gate.verdict import judge

ELEVEN = tuple(f"GET /{letter}" for letter in "abcdefghijk")
WITHIN = "db_round_trips within 0.1 of baseline"


def counted(run: Run, trips: dict[str, float], *, by_app: str = "") -> Run:
    """Return a run whose links counted so many a request, but those of one arm."""
    arm = run.frame["deployment"].astype(str)
    told = run.frame["db_round_trips"]
    filled = np.where(arm == by_app, told, arm.map(trips).fillna(2.0)).astype(np.float32)
    cells = frozenset((d, region) for d in trips for region in run.plan.regions if d != by_app)
    return replace(run, frame=run.frame.assign(db_round_trips=filled), on_links=cells)


def rules_of(run: Run) -> list[RuleResult]:
    return [rule for rule in judge(run, summarise(run)).rules if rule.kind != "budget"]


def made(tmp_path: Path, rule: str, plan: dict[str, Any], names: tuple[str, ...]) -> Run:
    resolved = synth.make_plan(thresholds=(rule,), **plan)
    effects = synth.Effects(names=names)
    return load_run(
        synth.write_run(tmp_path / "run", resolved, seconds=30, seed=3, effects=effects)
    )


@pytest.mark.parametrize(
    ("more", "names", "decision"),
    [
        (0.09, ELEVEN, "inconclusive"),
        (0.0017, ELEVEN, "pass"),
        (1.0, ELEVEN, "fail"),
        (0.09, ("GET /",), "pass"),
    ],
)
def test_a_page_cannot_hide_in_a_mean(
    tmp_path: Path,
    revisions: dict[str, Any],
    more: float,
    names: tuple[str, ...],
    decision: str,
) -> None:
    run = counted(made(tmp_path, WITHIN, revisions, names), {"base": 2.0, "candidate": 2.0 + more})

    found = rules_of(run)
    assert {rule.decision for rule in found} == {decision}
    assert all("Links counted them" in rule.why for rule in found)
    if decision == "inconclusive":
        assert "that page would have" in found[0].why


@pytest.mark.parametrize(
    ("rule", "trips", "decision"),
    [
        ("db_round_trips <= 2", 2.0017, "pass"),
        ("db_round_trips <= 2", 2.09, "fail"),
        ("db_round_trips < 2", 2.0017, "fail"),
    ],
)
def test_a_ping_now_and_then_breaks_no_limit(
    tmp_path: Path, revisions: dict[str, Any], rule: str, trips: float, decision: str
) -> None:
    run = made(tmp_path, rule, revisions, ELEVEN)

    found = rules_of(counted(run, {"base": trips, "candidate": trips}))
    assert {one.decision for one in found} == {decision}


def test_two_sources_of_one_comparison_are_told(tmp_path: Path, revisions: dict[str, Any]) -> None:
    run = made(tmp_path, WITHIN, revisions, ELEVEN)
    mixed = counted(run, {"base": 2.0, "candidate": 2.0}, by_app="base")

    assert all(
        "Links counted the round trips of candidate, the app told those of base." in rule.why
        for rule in rules_of(mixed)
    )


def test_what_the_app_tells_is_judged_as_it_is(tmp_path: Path, revisions: dict[str, Any]) -> None:
    found = rules_of(made(tmp_path, WITHIN, revisions, ELEVEN))

    assert {rule.decision for rule in found} == {"pass"}
    assert not any("inks counted" in rule.why for rule in found)
