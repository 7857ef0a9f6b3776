"""What was not asked, not answered or cut short is neither passed nor held against a candidate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synth

from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import summarise
from loadtest.gate.results import Verdict
from loadtest.gate.verdict import judge
from loadtest.records.kinds import UNASKED_NAME

Bend = Callable[[pd.DataFrame], "pd.Series[bool]"]
LIKE_BASE = ("ttfb.p50 within 20% or 20ms of baseline", "db_round_trips within 0.1 of baseline")


def made(tmp_path: Path, *rules: str, plan: dict[str, Any] | None = None, **effects: Any) -> Run:
    resolved = synth.make_plan(thresholds=rules, **(plan or {}))
    folder = tmp_path / "run"
    synth.write_run(folder, resolved, seconds=30, seed=3, effects=synth.Effects(**effects))
    return load_run(folder)


def bent(run: Run, rows: pd.Series[bool], **values: Any) -> None:
    """Change columns of some rows of a run that was read."""
    for name, value in values.items():
        column = run.frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype) and value not in column.cat.categories:
            column = column.cat.add_categories([value])
        run.frame[name] = column.mask(rows, value)


def verdict_of(run: Run) -> Verdict:
    return judge(run, summarise(run))


def of_arm(run: Run, arm: str) -> pd.Series[bool]:
    return (run.frame["deployment"] == arm) & (run.frame["stage"] == "steady")


def test_a_scenario_that_the_candidate_never_plays_is_told(
    tmp_path: Path, revisions: dict[str, Any]
) -> None:
    run = made(tmp_path, *LIKE_BASE, plan=revisions, scenarios=("browse", "buy"))
    assert verdict_of(run).decision == "pass"
    bent(run, of_arm(run, "candidate"), scenario="browse")

    verdict = verdict_of(run)
    assert verdict.decision == "invalid"
    assert "candidate never played the scenario buy" in verdict.sentence


def test_a_page_that_the_candidate_is_never_asked_for_is_told(
    tmp_path: Path, revisions: dict[str, Any]
) -> None:
    run = made(tmp_path, *LIKE_BASE, plan=revisions, names=("GET /a", "GET /b"))
    assert verdict_of(run).decision == "pass"
    bent(run, of_arm(run, "candidate"), name="GET /a")

    verdict = verdict_of(run)
    assert verdict.decision == "invalid"
    assert "candidate never was asked for GET /b" in verdict.sentence


def test_an_arm_whose_requests_are_cancelled_is_not_passed(tmp_path: Path) -> None:
    run = made(tmp_path, "ttfb.p50 < 10s", "errors < 50%")
    some = of_arm(run, "multi") & (run.frame["arrival"] % 10 < 3)
    bent(run, some, error="cancelled", status=0)

    verdict = verdict_of(run)
    assert verdict.decision == "invalid"
    assert any("multi's requests were stopped while in flight" in told for told in verdict.invalid)


@pytest.mark.parametrize(("answered", "decision"), [((0.8, 0.8), "invalid"), ((0, 0.8), "fail")])
def test_arms_that_fail_together_are_no_fault_of_one(
    tmp_path: Path, revisions: dict[str, Any], answered: tuple[float, float], decision: str
) -> None:
    shares = dict(zip(("base", "candidate"), answered, strict=True))
    run = made(tmp_path, *LIKE_BASE, plan=revisions, error_share=shares)

    assert verdict_of(run).decision == decision


def test_a_task_that_raises_before_it_asks_is_not_the_targets(
    tmp_path: Path, revisions: dict[str, Any]
) -> None:
    rules = ("db_round_trips <= 1",)
    run = made(tmp_path, *rules, plan=revisions)
    assert verdict_of(run).decision == "fail"
    raised = of_arm(run, "candidate") & (run.frame["arrival"] % 10 < 3)
    bent(run, raised, error="check", name=UNASKED_NAME, status=0, db_round_trips=-1)

    assert verdict_of(run).decision == "invalid"


def test_a_mean_against_a_limit_is_not_that_of_what_was_answered(tmp_path: Path) -> None:
    run = made(tmp_path, "ttfb.mean < 10s where deployment = multi", error_share={"multi": 0.2})
    told = [rule for rule in verdict_of(run).rules if rule.kind != "budget"]

    assert {rule.decision for rule in told} == {"inconclusive"}
    assert all("of an arm's requests failed" in rule.why for rule in told)
