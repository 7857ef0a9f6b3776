"""Why it failed: every output of a verdict names page, count and reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadtest.gate import github, junit, markdown
from loadtest.gate.causes import MOST_LINES, failure_lines
from loadtest.gate.sentences import HEALTHY_BASE
from loadtest.report.pages import markdown as report
from loadtest.report.pages.model import build_report
from loadtest.report.pages.tables import verdict_block
from loadtest.text import markdown_text

JudgeRun = Callable[..., Any]
SENTENCE = "syd / multi / browse, GET /recipes: 300 of 300 failed: 300 × HTTP 500"


def test_every_output_says_why_requests_failed(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 10s", error_share={"multi": 1.0})
    verdict = judged.verdict

    assert verdict.decision == "fail"
    suite = ET.fromstring(junit.render(verdict)).find("testsuite")
    assert suite is not None
    assert SENTENCE in (suite.findtext("system-out") or "")
    assert "HTTP 500" in " ".join(f.get("message", "") for f in suite.iter("failure"))
    assert "HTTP 500" in "".join(github.annotation_lines(verdict))
    assert markdown_text(SENTENCE) in markdown.render(verdict, judged.summary)
    assert f"  {SENTENCE}" in verdict_block(verdict)
    page = report.render(judged.run, judged.summary, verdict)
    assert "| syd / multi / browse | GET /recipes | 300 | 300 | HTTP 500 |" in page
    told = json.loads(json.dumps(verdict.to_json()))["failures"]
    assert [one["failures"][0]["sentence"] for one in told] == ["HTTP 500"] * 4


def test_answers_with_an_error_are_answers(judge_run: JudgeRun) -> None:
    """Where all answer 500, nobody may read that none answered."""
    everywhere = dict.fromkeys(("single", "multi", "replica"), 1.0)
    judged = judge_run("ttfb.p50 < 10s", error_share=everywhere)

    headline = build_report(judged.run, judged.summary, judged.verdict).headline

    assert headline == "In no cell did half of the requests succeed: 3600 × HTTP 500"


def test_a_run_without_failures_says_nothing_of_them(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 10s", seconds=6)

    assert judged.verdict.failures == ()
    assert "failed" not in " ".join(verdict_block(judged.verdict)).split("errors within")[0]


def test_many_failed_pages_are_counted(judge_run: JudgeRun) -> None:
    names = tuple(f"GET /{number}" for number in range(10))
    judged = judge_run("ttfb.p50 < 10s", error_share={"multi": 0.9}, names=names)

    lines = failure_lines(judged.verdict.failures)

    more = len(judged.verdict.failures) - MOST_LINES
    assert lines[MOST_LINES:] == [f"{more} more pages with failures are in the report."]


def test_a_base_that_fails_altogether_is_the_reason_of_a_run_that_is_invalid(
    judge_run: JudgeRun, revisions: dict[str, Any]
) -> None:
    judged = judge_run(
        "ttfb.p50 within 20% or 20ms of baseline", plan=revisions, error_share={"base": 0.9}
    )
    verdict = judged.verdict
    assert (verdict.decision, verdict.invalid) == ("invalid", ())
    assert verdict.sentence.startswith("Invalid: ")
    assert "the arm that it is compared with answered fewer than half" in verdict.sentence
    assert re.search(r"What failed of base: \d+ × HTTP 500", verdict.sentence)
    assert {rule.flip for rule in verdict.rules if rule.kind == "baseline"} == {HEALTHY_BASE}


@pytest.mark.parametrize(
    ("measure", "share", "slower", "decisions"),
    [
        ("p50", 0.4, 1.15, {"inconclusive"}),
        ("p95", 0.06, 1.5, {"inconclusive"}),
        ("p95", 0.4, 3.0, {"inconclusive"}),
        ("p50", 0.06, 1.5, {"fail"}),
        ("p50", 0.4, 1.0, {"pass"}),
        ("p95", 0.06, 1.0, {"pass"}),
    ],
)
def test_a_base_that_fails_in_part_makes_no_slow_candidate_pass(
    judge_run: JudgeRun,
    revisions: dict[str, Any],
    measure: str,
    share: float,
    slower: float,
    decisions: set[str],
) -> None:
    """Its failures count as the slowest; left out or counted, the rule has to come out alike."""
    judged = judge_run(
        f"ttfb.{measure} within 10% or 5ms of baseline",
        plan=revisions,
        seconds=60,
        error_share={"base": share},
        arm_factor={"candidate": slower},
    )
    rules = [rule for rule in judged.rules() if rule.region]
    assert {rule.decision for rule in rules} == decisions
    if decisions == {"inconclusive"}:
        assert all(re.search(r"failed in [\d.]+ % of its requests", rule.why) for rule in rules)
        assert all("What failed of base: " in rule.why for rule in rules)


@pytest.mark.parametrize("arm", ["base", "candidate"])
def test_an_arm_that_answers_nothing_is_judged_without_a_warning(
    judge_run: JudgeRun, revisions: dict[str, Any], arm: str
) -> None:
    """Its every percentile is infinite, and infinity times nothing is no number."""
    rules = ("ttfb.p95 within 20% or 20ms of baseline", "ttfb.p50(candidate) <= 2 * ttfb.p50(base)")
    for share in (0.4, 0.6, 1.0):
        judged = judge_run(*rules, seconds=60, plan=revisions, error_share={arm: share})
        failed = (share == 0.4) and arm == "base"
        assert judged.verdict.decision in ({"pass"} if failed else {"fail", "invalid"})
