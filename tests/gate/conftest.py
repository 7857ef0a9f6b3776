"""Judged runs that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import synth

from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import Summary, summarise
from loadtest.gate.results import RuleResult, Verdict
from loadtest.gate.verdict import judge
from loadtest.plan.apps import Deployment


@dataclass(frozen=True)
class Judged:
    run: Run
    summary: Summary
    verdict: Verdict

    def rules(self, region: str = "") -> list[RuleResult]:
        """Return the results of thresholds, the error budget left out."""
        found = [r for r in self.verdict.rules if r.kind != "budget"]
        return [r for r in found if region in ("", r.region)]


JudgeRun = Callable[..., Judged]


@pytest.fixture
def judge_run(tmp_path: Path) -> JudgeRun:
    """Return a function that makes a run with thresholds and judges it."""
    count = 0

    def make(
        *thresholds: str, seconds: float = 30, plan: dict[str, Any] | None = None, **effects: Any
    ) -> Judged:
        nonlocal count
        count += 1
        resolved = synth.make_plan(thresholds=thresholds, **(plan or {}))
        folder = synth.write_run(
            tmp_path / f"run-{count}",
            resolved,
            seconds=seconds,
            seed=3,
            effects=synth.Effects(**effects),
        )
        run = load_run(folder)
        summary = summarise(run)
        return Judged(run, summary, judge(run, summary))

    return make


@pytest.fixture
def revisions() -> dict[str, Any]:
    """Return the parts of a plan whose arms are two revisions of one app."""
    arms = tuple(Deployment(name=name, fly_toml="fly.toml") for name in ("base", "candidate"))
    return {"deployments": arms, "regions": ("cdg", "syd")}
