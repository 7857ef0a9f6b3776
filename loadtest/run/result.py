"""
The one object that says what came of a run, for programs.

RESULT_SCHEMA history:
    1  first

| key | type | meaning |
|---|---|---|
| schema | int | RESULT_SCHEMA |
| exit_code | int | what the program ends with |
| decision | text or null | pass, fail, inconclusive, invalid, none; null when there is no verdict |
| sentence | text | the verdict's headline; the reason where there is none |
| folder, report | text or null | run folder, and the HTML report in it |
| run | object | what was measured: plan, regions, deployments, seed, seconds, rows |
| cells | list | one for each region, deployment and scenario |
| rules | list | one for each rule and cell, as in verdict.json |
| invalid | list | sentences of failed validity checks |
| failures | list | by cell and page what failed and why |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from loadtest.analysis.cells import CellSummary
    from loadtest.run.judge import Judged

RESULT_SCHEMA: Final = 1

CELL_KEYS: Final = (
    *("region", "deployment", "scenario", "n", "errors", "dropped", "rate_per_s"),
    *("ttfb_ms", "ttfb_cold_ms", "response_from_schedule_ms", "valid", "why_invalid"),
)
"""What a cell tells of itself; summary.json has the rest."""


def result_of(judged: Judged) -> dict[str, object]:
    """Return the object of a run that was judged."""
    summary, verdict = judged.summary, judged.verdict
    return {
        "schema": RESULT_SCHEMA,
        "exit_code": judged.exit_code,
        "decision": judged.decision,
        "sentence": verdict.sentence,
        "folder": str(judged.folder),
        "report": str(judged.report),
        "run": summary.run.to_json(),
        "cells": [_cell(cell) for cell in summary.cells],
        "rules": [rule.to_json() for rule in verdict.rules],
        "invalid": list(verdict.invalid),
        "failures": [page.to_json() for page in verdict.failures],
    }


def _cell(cell: CellSummary) -> dict[str, object]:
    told = cell.to_json()
    return {key: told[key] for key in CELL_KEYS}


def result_of_failure(exit_code: int, sentence: str) -> dict[str, object]:
    """Return the object of a command that came to no verdict, and why."""
    return {
        "schema": RESULT_SCHEMA,
        "exit_code": exit_code,
        "decision": None,
        "sentence": sentence,
        "folder": None,
        "report": None,
        "run": None,
        "cells": [],
        "rules": [],
        "invalid": [],
        "failures": [],
    }
