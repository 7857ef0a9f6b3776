"""Round trips that links counted: no page can hide in them, and no ping decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synth
from gate_trials import GATE, QUESTIONS, MadeUp
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.cells import CellRows
from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import summarise
from loadtest.gate.decide import decide, levels_of
from loadtest.gate.measure import measure
from loadtest.gate.results import Decision, RuleResult
from loadtest.gate.verdict import judge
from loadtest.plan.thresholds import Measure

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
        (0.09, ("GET /",), "inconclusive"),
        (0.04, ("GET /",), "pass"),
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
    if decision == "inconclusive" and len(names) > 1:
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


@dataclass(frozen=True)
class Linked(MadeUp):
    """Two arms whose links counted round trips, so many a request in the mean."""

    trips: Mapping[str, float]
    pages: Mapping[str, Mapping[str, float]]

    def sample(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        found = super().sample(cells, measure)
        return replace(found, values=found.values * self.trips[cells[0].deployment])

    def pages_on_links(self, cells: tuple[CellRows, ...]) -> Mapping[str, float]:
        return self.pages[cells[0].deployment]


def decided(counts: dict[str, NDArray[np.int64]], asked: dict[str, NDArray[np.int64]]) -> Decision:
    """Return the decision on a candidate, at the first of three looks: it fails, or it passes."""
    (question, *_), *_ = QUESTIONS
    assert question.rule.measure.metric == "db_round_trips"
    size = counts["base"].size
    linked = Linked(
        values={(question.region, arm): np.ones((20, size // 20)) for arm in counts},
        trips={arm: float(trips.mean()) for arm, trips in counts.items()},
        pages={arm: {f"GET /{p}": float((of == p).mean()) for p in set(of.tolist())}
               for arm, of in asked.items()},
    )  # fmt: skip
    levels = levels_of(0.05, 1, 3)
    found = measure(question, linked, GATE, levels)
    return decide(found.p_fail, found.p_pass, fails=found.p_fail <= levels.side, levels=levels)


def two_arms(seed: int, requests: int, own: float, more: float = 0.0) -> Decision:
    """Ask two arms for two pages of one and of three trips, at random, with pings in between."""
    rng = np.random.default_rng(seed)
    arms = {"base": 0.0, "candidate": more}
    asked = {arm: rng.integers(0, 2, requests) for arm in arms}
    counts = {
        arm: 1 + 2 * asked[arm] + (rng.random(requests) < own) + np.int64(extra)
        for arm, extra in arms.items()
    }
    return decided(counts, asked)


@pytest.mark.parametrize(("requests", "own"), [(60, 0.4), (60, 0.02), (400, 0.4), (400, 0.02)])
def test_pings_and_pages_by_chance_do_not_fail_identical_arms(requests: int, own: float) -> None:
    assert "fail" not in {two_arms(seed, requests, own) for seed in range(100)}


def test_one_trip_more_is_found_beside_pings() -> None:
    found = [two_arms(seed, 400, 0.4, more=1) for seed in range(40)]

    assert found.count("fail") >= 0.8 * len(found)
    assert "pass" not in found


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
