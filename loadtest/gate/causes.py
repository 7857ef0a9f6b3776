"""Why requests failed: what every output of a verdict says of it, by cell and page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from loadtest.analysis.page_summary import FailedPage, failure_phrase, total_failures
from loadtest.analysis.summary import Summary
from loadtest.gate.results import RuleResult
from loadtest.gate.sentences import HEALTHY_BASE

MOST_LINES: Final = 12
"""Failed pages that a short output names; the others are counted."""


def failed_pages(summary: Summary) -> tuple[FailedPage, ...]:
    """Return every page with failures, the largest share first."""
    found = [
        FailedPage(*cell.key, page.name, page.n, page.errors, page.failures)
        for cell in summary.cells
        for page in cell.pages
        if page.errors
    ]
    return tuple(sorted(found, key=lambda page: (-page.errors / page.n, page.cell, page.name)))


def failure_lines(pages: Sequence[FailedPage]) -> list[str]:
    """Return the sentences of the first failed pages, and how many more there are."""
    lines = [page.sentence for page in pages[:MOST_LINES]]
    if len(pages) > MOST_LINES:
        lines.append(f"{len(pages) - MOST_LINES} more pages with failures are in the report.")
    return lines


def with_cause(result: RuleResult, pages: Sequence[FailedPage]) -> RuleResult:
    """Return a result whose reason says what failed, where failures decided or hindered it."""
    about_errors = result.kind == "budget" or result.metric.startswith("errors")
    failed = result.observed is not None and math.isinf(result.observed)
    about_base = result.flip == HEALTHY_BASE
    if result.decision == "pass" or not (about_errors or failed or about_base):
        return result
    arm = result.other if about_base else result.deployment
    causes = total_failures([page for page in pages if _concerns(result, arm, page)])
    if not causes:
        return result
    what = f"What failed of {arm}" if about_base else "What failed"
    return replace(result, why=f"{result.why} {what}: {failure_phrase(causes)}.")


def _concerns(result: RuleResult, arm: str, page: FailedPage) -> bool:
    return (
        result.region in ("", page.region)
        and arm in ("", page.deployment)
        and result.scenario in ("", page.scenario)
        and result.name in ("", page.name)
    )
