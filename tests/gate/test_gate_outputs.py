"""JUnit, markdown and GitHub's formats: complete, well-formed, safe against hostile names."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadtest.errors import LoadtestError
from loadtest.gate import github, junit, markdown
from loadtest.gate.results import Decision, RuleResult, Verdict
from loadtest.gate.sentences import flip
from loadtest.gate.shown import show_change, show_result
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.text import markdown_text

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
    assert lines == ["::error title=loadtest fail%3A a%3A b%2C c::50%25 more flip fail"]
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


def test_the_job_summary_links_to_the_artifacts_even_where_the_rest_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (github.MAX_SUMMARY_BYTES - 500))
    github.append_summary(path, "line\n" * 1_000, link="https://ci/runs/1#artifacts")
    assert "[Artifacts of this run](https://ci/runs/1#artifacts)" in path.read_text()
    assert path.stat().st_size <= github.MAX_SUMMARY_BYTES


@pytest.mark.parametrize("room", [0, 10, 5_000, github.MAX_SUMMARY_BYTES])
def test_what_is_in_the_job_summary_already_counts(tmp_path: Path, room: int) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (github.MAX_SUMMARY_BYTES - room))
    github.append_summary(path, "y" * 20_000)
    assert path.stat().st_size <= github.MAX_SUMMARY_BYTES


def test_a_job_summary_fits_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    github.append_summary(path, "é" * github.MAX_SUMMARY_BYTES)
    assert path.stat().st_size <= github.MAX_SUMMARY_BYTES
    assert "did not fit" in path.read_text()


def test_a_job_summary_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LoadtestError, match="GITHUB_STEP_SUMMARY"):
        github.append_summary(tmp_path, "x")


def test_a_job_summary_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LoadtestError, match="GITHUB_STEP_SUMMARY"):
        github.append_summary(tmp_path / "pipe", "x")


def test_a_verdict_of_nothing_renders(judge_run: JudgeRun) -> None:
    judged = judge_run(seconds=6)
    empty = replace(judged.verdict, rules=())
    assert ET.fromstring(junit.render(empty)).find("testsuite") is not None
    assert "📏" in markdown.render(empty, judged.summary)


COMPARED = {"deployment": "candidate", "other": "base", "kind": "baseline", "limit": 10.0}
FASTER = result("pass", **{**COMPARED, "observed": -33.0, "low": -35.0, "high": -30.0, "base": 100})
SLOWER = result("fail", **{**COMPARED, "observed": 33.0, "low": 30.0, "high": 35.0, "base": 100.0})
RATIO = result(
    "pass",
    kind="relative",
    unit="x",
    metric="ttfb.p50",
    observed=0.1981,
    low=0.198,
    high=0.199,
    limit=0.25,
    base=260.379,
    other="multi",
    deployment="replica",
)


def test_a_baseline_rule_names_candidate_base_and_difference() -> None:
    slower, faster = show_result(SLOWER), show_result(FASTER)
    assert slower.values == (
        ("candidate", "133.0 ms"),
        ("base", "100.0 ms"),
        ("difference", "33.0 ms (33.0 %) slower"),
    )
    assert slower.interval == "[+30.0, +35.0 ms]"
    assert (slower.limit_name, slower.limit) == ("margin", "10.0 ms")
    assert faster.observed.endswith("33.0 ms (33.0 %) faster")


def test_a_ratio_names_both_arms_in_their_own_unit() -> None:
    shown = show_result(RATIO)
    assert shown.values == (("replica", "51.6 ms"), ("multi", "260.4 ms"), ("ratio", "0.198×"))
    assert (shown.interval, shown.limit) == ("[0.198, 0.199×]", "0.25×")


@pytest.mark.parametrize(
    ("difference", "unit", "words"),
    [
        (0.0, "ms", "no difference"),
        (1.0, "trips", "1 round trip more"),
        (-2.0, "trips", "2 round trips fewer"),
        (0.012, "share", "1.2 points higher"),
        (math.inf, "ms", "it failed"),
    ],
)
def test_a_difference_has_a_direction(difference: float, unit: str, words: str) -> None:
    assert show_change(difference, unit) == words


@pytest.mark.parametrize("one", [SLOWER, FASTER, RATIO, *ALL.rules], ids=lambda r: r.kind)
def test_every_output_shows_the_same_text(one: RuleResult, judge_run: JudgeRun) -> None:
    shown = show_result(one)
    case = ET.fromstring(junit.render(verdict(one))).findtext("testsuite/testcase/system-out") or ""
    summary = judge_run("ttfb.p50 < 10s", seconds=6).summary
    table = markdown.render(verdict(one), summary)
    assert all(f"{name}: {value}" in case for name, value in shown.facts)
    assert markdown_text(shown.observed) in table
    assert markdown_text(f"{shown.limit_name} {shown.limit}") in table


# What junit-10.xsd of Jenkins' xUnit plugin allows: element -> attributes, needed ones, children.
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp"},
        {"name", "tests", "failures", "errors"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "time", "classname", "group"},
        {"name"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"type", "message"}, set(), set()),
    "error": ({"type", "message"}, set(), set()),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "system-out": (set(), set(), set()),
}


def test_junit_keeps_the_schema_that_jenkins_holds_it_against() -> None:
    tree = ET.fromstring(junit.render(verdict(SLOWER, RATIO, *ALL.rules, invalid=("x", "y"))))
    for element in tree.iter():
        allowed, needed, children = SCHEMA[element.tag]
        assert needed <= set(element.keys()) <= allowed, element.tag
        assert {child.tag for child in element} <= children, element.tag


def test_a_case_keeps_its_name_from_run_to_run() -> None:
    first = ET.fromstring(junit.render(ALL))
    again = ET.fromstring(junit.render(replace(ALL, run_id="run-2")))
    names = [[s.get("name") for s in tree.findall("testsuite")] for tree in (first, again)]
    assert names[0] == names[1]


@pytest.mark.parametrize("used", [0, -5_000, -10, 0.5, 1])
def test_the_summary_never_grows_over_githubs_limit(tmp_path: Path, used: float) -> None:
    before = github.MAX_SUMMARY_BYTES + used if used < 0 else github.MAX_SUMMARY_BYTES * used
    path = tmp_path / "summary"
    path.write_bytes(b"x" * int(before))
    github.append_summary(path, "| é |\n" * 5_000)
    assert path.stat().st_size <= github.MAX_SUMMARY_BYTES
    assert path.read_bytes().startswith(b"x" * int(before))
    path.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["ttfb.p95 < 100ms", "ttfb.p95 within 5% of baseline"])
def test_what_failed_is_not_said_to_fall_by_an_amount(text: str) -> None:
    failed = replace(result("fail"), observed=math.inf)

    assert flip(failed, parse_threshold(text), "") == "Fewer requests would have to fail."


def test_an_open_interval_is_no_value_near_its_limit() -> None:
    rule = parse_threshold("ttfb.p95 < 100ms")
    undecided = result("inconclusive", observed=50.0, low=45.0)

    assert "measure longer" in flip(replace(undecided, high=math.inf), rule, "")
    assert "so near the limit" in flip(replace(undecided, high=110.0), rule, "")
