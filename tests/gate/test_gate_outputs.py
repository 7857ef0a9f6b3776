"""JUnit, markdown and GitHub's formats: complete, well-formed, safe against hostile names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadtest.errors import LoadtestError
from loadtest.gate import github, junit, markdown
from loadtest.gate.results import Decision, RuleResult, Verdict

JudgeRun = Callable[..., Any]


def result(decision: Decision, **changes: Any) -> RuleResult:
    values: dict[str, Any] = {
        "rule": "ttfb.p95 < 100ms",
        "cell": "syd / multi / browse",
        "region": "syd",
        "deployment": "multi",
        "scenario": "browse",
        "kind": "absolute",
        "metric": "ttfb.p95",
        "unit": "ms",
        "observed": 120.0,
        "low": 110.0,
        "high": 130.0,
        "limit": 100.0,
        "base": None,
        "n": 300,
        "decision": decision,
        "why": f"why {decision}",
        "flip": f"flip {decision}",
        "detectable": 105.0,
        "seconds_to_decide": None,
        "p_fail": 0.5,
        "p_pass": 0.5,
        "blocks": 10,
    }
    return RuleResult(**{**values, **changes})


def verdict(*rules: RuleResult, invalid: tuple[str, ...] = ()) -> Verdict:
    return Verdict(
        run_id="run-1",
        decision="fail",
        sentence="Fail: something <is> wrong",
        rules=rules,
        invalid=invalid,
        family=len(rules),
        alpha=0.05,
        look=1,
        looks=3,
        seed=7,
        resamples=2000,
    )


ALL = verdict(*(result(d) for d in ("pass", "fail", "inconclusive", "invalid")), invalid=("a: b",))


def test_junit_has_a_case_for_each_rule_and_cell() -> None:
    suites = ET.fromstring(junit.render(ALL))
    gate, validity = suites.findall("testsuite")
    assert (gate.get("tests"), gate.get("failures"), gate.get("errors")) == ("4", "2", "1")
    assert [f.get("type") for f in gate.findall("testcase/failure")] == ["fail", "inconclusive"]
    assert [e.get("type") for e in validity.findall("testcase/error")] == ["invalid"]
    assert gate.find("testcase").get("name") == "syd / multi / browse"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["a<b>&\"'", "nul\x00bell\x07", "😀 \ud800", "]]>"])
def test_junit_is_well_formed_whatever_a_name_holds(name: str) -> None:
    ET.fromstring(junit.render(verdict(result("fail", cell=name, why=name, rule=name))).encode())


def test_markdown_shows_hostile_names_as_text(judge_run: JudgeRun) -> None:
    summary = judge_run("ttfb.p50 < 10s", seconds=6).summary
    hostile = "a|b `c` <img src=x> @everyone [x](http://y)\n| d"
    text = markdown.render(verdict(result("fail", cell=hostile, why=hostile)), summary)
    rows = [line for line in text.split("\n") if line.startswith("|")]
    assert "<img" not in text.replace("\\<img", "")
    assert "@everyone" not in text
    assert len({line.replace("\\|", "").count("|") for line in rows[:3]}) == 1


def test_markdown_has_verdict_rules_and_cells(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 10s", lost_worker="scl")
    text = markdown.render(judged.verdict, judged.summary)
    assert text.startswith(markdown.MARKER)
    assert "⚠️ Invalid" in text
    assert "Why these numbers are not to be trusted" in text
    assert "| replica | syd |" in text
    assert "seed 20260801" in text


def test_markdown_of_many_rules_is_cut_and_says_so(judge_run: JudgeRun) -> None:
    summary = judge_run("ttfb.p50 < 10s", seconds=6).summary
    text = markdown.render(verdict(*[result("pass")] * 100, result("fail")), summary)
    assert "41 more are in verdict.json" in text
    assert text.count("❌ fail") == 1


def test_annotations_are_escaped_and_leave_passes_out() -> None:
    lines = github.annotation_lines(
        verdict(result("fail", rule="a: b, c", why="50%\nmore"), result("pass"))
    )
    assert lines == ["::error title=loadtest fail%3A a%3A b%2C c::50%25%0Amore flip fail"]
    assert [line.split(" ")[0] for line in github.annotation_lines(ALL)] == [
        "::error",
        "::error",
        "::warning",
    ]


def test_no_more_annotations_than_github_shows() -> None:
    lines = github.annotation_lines(verdict(*[result("fail")] * 30))
    assert len(lines) == github.MAX_ANNOTATIONS
    assert "21 more findings" in lines[-1]


def test_the_job_summary_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    github.append_summary(path, "verdict\n")
    assert path.read_text() == "before\nverdict\n"


def test_a_job_summary_fits_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    github.append_summary(path, "é" * github.MAX_SUMMARY_BYTES)
    assert path.stat().st_size <= github.MAX_SUMMARY_BYTES
    assert "did not fit" in path.read_text()


def test_a_job_summary_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LoadtestError, match="GITHUB_STEP_SUMMARY"):
        github.append_summary(tmp_path, "x")


def test_a_verdict_of_nothing_renders(judge_run: JudgeRun) -> None:
    judged = judge_run(seconds=6)
    empty = replace(judged.verdict, rules=())
    assert ET.fromstring(junit.render(empty)).find("testsuite") is not None
    assert "📏" in markdown.render(empty, judged.summary)
