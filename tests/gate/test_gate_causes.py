"""Why it failed: every output of a verdict names page, count and reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

from loadtest.gate import github, junit, markdown
from loadtest.gate.causes import MOST_LINES, failure_lines
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
