"""Rules about single pages: judged page by page where their clauses say so, and only there."""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_letters
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from synth import Effects, make_plan, write_run

from loadtest.analysis.load import load_run
from loadtest.analysis.page_names import MAX_PAGES, OTHER_PAGES
from loadtest.analysis.summary import summarise
from loadtest.gate import junit
from loadtest.gate.verdict import judge
from loadtest.plan.threshold_parser import parse_threshold

JudgeRun = Callable[..., Any]
PAGES = ("GET /", "GET /search", "POST /login")
SLOW = {("multi", "GET /search"): 300.0}


def test_a_rule_for_each_name_has_a_result_for_each_page(judge_run: JudgeRun) -> None:
    rule = "ttfb.p50 < 200ms where region = cdg and deployment = multi for each name"
    judged = judge_run(rule, names=PAGES, page_shift_ms=SLOW, seconds=40)

    assert {(r.name, r.decision) for r in judged.rules()} == {
        ("GET /", "pass"),
        ("GET /search", "fail"),
        ("POST /login", "pass"),
    }
    assert "cdg / multi / browse / GET /search" in judged.verdict.sentence
    names = [c.get("name") for c in ET.fromstring(junit.render(judged.verdict)).iter("testcase")]
    assert "cdg / multi / browse / GET /search" in names


def test_where_a_name_is_asked_for_it_alone_is_judged(judge_run: JudgeRun) -> None:
    rule = 'ttfb.p50 < 200ms where name = "GET /search" and region = cdg'
    judged = judge_run(rule, names=PAGES, page_shift_ms=SLOW, seconds=40)

    assert [(r.deployment, r.name, r.decision) for r in judged.rules()] == [
        ("single", "GET /search", "pass"),
        ("multi", "GET /search", "fail"),
        ("replica", "GET /search", "pass"),
    ]
    cells = {cell.deployment: cell for cell in judged.summary.cells if cell.region == "cdg"}
    pages = {page.name: page.ttfb.n for page in cells["multi"].pages}
    assert judged.rules()[1].n == pages["GET /search"]


def test_without_a_word_of_names_a_cell_is_judged_as_before(judge_run: JudgeRun) -> None:
    rule = "ttfb.p95 < 1s where region = cdg"
    one = judge_run(rule).rules()
    many = judge_run(rule, names=PAGES).rules()

    assert [r.to_json() for r in one] == [r.to_json() for r in many]


def test_arms_are_compared_page_by_page(judge_run: JudgeRun, revisions: dict[str, Any]) -> None:
    """A page that got slower is found although the others hide it in the whole."""
    effects = {"names": PAGES, "page_shift_ms": {("candidate", "GET /search"): 40.0}}
    rules = ("ttfb.p50 within 12ms of baseline for each name",)
    judged = judge_run(*rules, plan=revisions, seconds=60, sigma=0.04, **effects)

    assert {r.name for r in judged.rules() if r.decision == "fail"} == {"GET /search"}
    assert {r.other for r in judged.rules()} == {"base"}


def test_pages_are_pooled_where_the_rule_says_so(judge_run: JudgeRun) -> None:
    rule = 'ttfb.p95 < 10s where name in "GET /", "GET /search" pooled for each region'
    judged = judge_run(rule, names=PAGES)

    regions = ("cdg", "ord", "syd", "scl")
    assert [(r.region, r.name) for r in judged.rules()] == [(region, "") for region in regions]


def test_rare_names_are_judged_together_and_a_named_one_alone(judge_run: JudgeRun) -> None:
    names = tuple(f"GET /{letter}" for letter in ascii_letters[: MAX_PAGES + 10])
    where = "where region = cdg and deployment = multi"
    judged = judge_run(
        f"ttfb.p50 < 10s {where} for each name",
        f'ttfb.p50 < 10s {where} and name = "GET /{ascii_letters[29]}"',
        names=names,
    )

    each = [r.name for r in judged.rules() if "each" in r.rule]
    assert len(each) == MAX_PAGES + 1
    assert each[-1] == OTHER_PAGES
    assert [r.name for r in judged.rules() if "each" not in r.rule] == [names[29]]


def test_a_rule_may_name_what_requests_share(judge_run: JudgeRun) -> None:
    slow = {("multi", "GET /items/2"): 300.0, ("multi", "GET /items/3"): 300.0}
    names = ("GET /", "GET /items/1", "GET /items/2", "GET /items/3")
    rule = 'ttfb.p50 < 200ms where region = cdg and deployment = multi and name = "GET /items/{id}"'
    judged = judge_run(rule, names=names, page_shift_ms=slow, seconds=40)

    (found,) = judged.rules()
    cell = judged.summary.cell("cdg", "multi")
    assert (found.name, found.decision) == ("GET /items/{id}", "fail")
    assert found.n == sum(page.ttfb.n for page in cell.pages if page.name != "GET /")


def test_one_of_many_is_judged_beside_those_that_share_a_page(judge_run: JudgeRun) -> None:
    names = ("GET /", *(f"GET /items/{number}" for number in range(MAX_PAGES)))
    where = "ttfb.p50 < 10s where region = cdg and deployment = multi"
    judged = judge_run(f'{where} and name = "GET /items/7"', f"{where} for each name", names=names)

    assert {r.name for r in judged.rules() if "each" not in r.rule} == {"GET /items/7"}
    assert {r.name for r in judged.rules() if "each" in r.rule} == {"GET /", "GET /items/{id}"}


def test_a_page_that_one_arm_never_asked_for_is_not_passed(tmp_path: Any) -> None:
    rule = 'ttfb.p50 < 10s where name = "GET /search" and region = cdg'
    plan = make_plan(thresholds=(rule,))
    effects = Effects(names=PAGES)
    run = load_run(write_run(tmp_path / "run", plan, seconds=20, seed=1, effects=effects))
    frame = run.frame
    frame.loc[(frame["deployment"] == "multi") & (frame["name"] == "GET /search"), "name"] = "GET /"
    verdict = judge(run, summarise(run))

    found = {r.deployment: r.decision for r in verdict.rules if r.kind != "budget"}
    assert found == {"single": "pass", "multi": "invalid", "replica": "pass"}


@pytest.mark.parametrize(
    ("text", "by_name", "names"),
    [
        ('ttfb.p95 < 1s where name = "GET /search"', True, ("GET /search",)),
        ("ttfb.p95 < 1s for each name", True, ()),
        ('ttfb.p95 < 1s for each name in "GET /a", "GET /b"', True, ("GET /a", "GET /b")),
        ("ttfb.p95 < 1s for each region", False, ()),
    ],
)
def test_the_grammar_knows_names(text: str, by_name: bool, names: tuple[str, ...]) -> None:
    rule = parse_threshold(text)

    assert (rule.by_name, rule.names) == (by_name, names)
    assert rule.selects("cdg", "multi", "browse")
