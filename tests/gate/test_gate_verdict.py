"""Verdicts on whole runs: each decision, each kind of rule, with reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import synth

from loadtest.analysis.load import load_run
from loadtest.analysis.summary import summarise
from loadtest.gate.results import EXIT_CODES
from loadtest.gate.verdict import judge
from loadtest.plan.model import Gate, Load
from loadtest.records.folder import RunFolder

JudgeRun = Callable[..., Any]


def test_a_run_that_keeps_its_rules_passes(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p95 < 110ms where deployment = replica", sigma=0.05, seconds=60)
    assert judged.verdict.decision == "pass"
    assert judged.verdict.exit_code == 0
    assert {r.region for r in judged.rules()} == {"cdg", "ord", "syd", "scl"}
    assert all("within the limit of 110" in r.why for r in judged.rules())
    assert all(r.low <= r.observed <= r.high for r in judged.rules())


def test_a_broken_rule_fails_and_says_by_how_much(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 200ms where deployment = multi for each region in ord, syd")
    assert (judged.verdict.decision, judged.verdict.exit_code) == ("fail", 10)
    assert "beyond the limit of 200" in judged.verdict.sentence
    assert judged.rules("syd")[0].flip.startswith("It would have to fall by 3")
    assert {r.decision for r in judged.rules()} == {"fail"}


def test_too_little_to_tell_is_inconclusive(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 77ms where deployment = single and region = cdg")
    verdict = judged.verdict
    assert (verdict.decision, verdict.exit_code) == ("inconclusive", 11)
    assert verdict.wants_more
    assert "more of the same sampling" in judged.rules()[0].flip
    assert judged.rules()[0].seconds_to_decide > 0


def test_a_percentile_that_the_sample_cannot_carry_is_not_judged(judge_run: JudgeRun) -> None:
    rule = judge_run("ttfb.p99 < 10s where region = cdg").rules()[0]
    assert rule.decision == "inconclusive"
    assert "3000 do" in rule.why
    assert rule.seconds_to_decide > 100


def test_an_invalid_run_never_passes(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 10s", lost_worker="syd")
    assert (judged.verdict.decision, judged.verdict.exit_code) == ("invalid", 12)
    assert {r.decision for r in judged.rules("syd")} == {"invalid"}
    assert {r.decision for r in judged.rules("cdg")} == {"pass"}
    assert "worker syd-0 lost" in judged.verdict.sentence


def test_a_late_clock_bends_no_count(judge_run: JudgeRun) -> None:
    """One query too many fails although no time of the region can be trusted."""
    rules = ("db_round_trips.mean <= 1 where region = syd", "ttfb.p50 < 10s where region = syd")
    judged = judge_run(*rules, health={"loop_lag_p99_us": 90_000})
    by_metric = {str(r.metric).split(".")[0]: r.decision for r in judged.rules("syd")}
    assert by_metric["db_round_trips"] == "fail"
    assert by_metric["ttfb"] == "invalid"
    assert (judged.verdict.decision, judged.verdict.exit_code) == ("fail", 10)


def test_a_run_without_rules_is_not_judged_but_may_be_invalid(judge_run: JudgeRun) -> None:
    assert judge_run().verdict.decision == "none"
    assert judge_run(link_off_ms=9.0).verdict.decision == "invalid"


def test_the_claim_of_the_tables(judge_run: JudgeRun) -> None:
    rule = "ttfb.p50(replica) <= 0.25 * ttfb.p50(multi) for each region in ord, syd, scl"
    judged = judge_run(rule)
    assert judged.verdict.decision == "pass"
    assert [r.region for r in judged.rules()] == ["ord", "syd", "scl"]
    assert judged.rules("syd")[0].observed == pytest.approx(45.8 / 528, rel=0.1)
    assert judged.rules()[0].unit == "x"
    broken = judge_run("ttfb.p50(multi) <= 1.5 * ttfb.p50(single) where region = syd")
    assert broken.verdict.decision == "fail"


def test_revisions_that_are_alike_pass(judge_run: JudgeRun, revisions: dict[str, Any]) -> None:
    judged = judge_run("ttfb.p50 within 10% or 10ms of baseline", plan=revisions, drift_sd=0.1)
    assert judged.verdict.decision == "pass"
    assert {r.deployment for r in judged.rules()} == {"candidate"}
    assert all("candidate" in r.why and "base " in r.why for r in judged.rules())
    assert {r.other for r in judged.rules()} == {"base"}


def test_a_slower_revision_fails_under_drift(
    judge_run: JudgeRun, revisions: dict[str, Any]
) -> None:
    judged = judge_run(
        "ttfb.p50 within margin of baseline",
        plan=revisions,
        arm_factor={"candidate": 1.25},
        drift_sd=0.1,
    )
    assert judged.verdict.decision == "fail"
    assert judged.rules()[0].detectable > judged.rules()[0].limit


def test_a_faster_revision_passes(judge_run: JudgeRun, revisions: dict[str, Any]) -> None:
    judged = judge_run(
        "ttfb.p50 within 1% of baseline", plan=revisions, arm_factor={"candidate": 0.8}
    )
    assert judged.verdict.decision == "pass"


def test_one_more_query_fails_at_once_and_is_named(
    judge_run: JudgeRun, revisions: dict[str, Any]
) -> None:
    rules = ("db_round_trips within 0 of baseline", "db_round_trips <= 2")
    judged = judge_run(*rules, plan=revisions, round_trips={"candidate": 3}, sigma=0.5)
    failed = [r for r in judged.rules() if r.decision == "fail"]
    assert len(failed) == 4
    assert (
        "candidate 3 round trips, base 2 round trips: 1 round trip (50.0 %) more" in failed[0].why
    )
    assert "3 round trips" in failed[2].why
    same = judge_run(*rules, plan=revisions, sigma=0.5)
    assert same.verdict.decision == "pass"


@pytest.mark.parametrize(
    ("rule", "decision"),
    [
        ("db_round_trips < 2", "fail"),
        ("db_round_trips <= 2", "pass"),
        ("db_round_trips >= 2", "pass"),
        ("db_round_trips > 2", "fail"),
        ("replayed <= 0", "pass"),
        ("replayed > 0.5", "fail"),
        ("errors <= 0", "pass"),
    ],
)
def test_what_does_not_vary_is_decided_by_the_comparator(
    judge_run: JudgeRun, rule: str, decision: str
) -> None:
    judged = judge_run(f"{rule} where region = cdg and deployment = multi")
    assert judged.rules()[0].decision == decision


def test_more_is_worse_or_less_is(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 > 400ms where region = syd and deployment in multi, replica")
    assert [r.decision for r in judged.rules()] == ["pass", "fail"]


def test_pooled_cells_are_one_question(judge_run: JudgeRun) -> None:
    judged = judge_run(
        "ttfb.p50 < 1s pooled",
        "ttfb.p95 < 2s for each deployment pooled",
        "ttfb.mean < 1s pooled",
        seconds=60,
    )
    assert judged.rules()[0].cell == "all regions / all deployments / browse"
    assert [r.deployment for r in judged.rules()] == ["", "single", "multi", "replica", ""]
    assert judged.rules()[0].n > 2_000
    assert judged.verdict.decision == "pass"


def test_failures_are_infinitely_slow(judge_run: JudgeRun) -> None:
    judged = judge_run(
        "ttfb.p95 < 10s where deployment = multi and region = cdg", error_share={"multi": 0.3}
    )
    rule = judged.rules()[0]
    assert rule.decision == "fail"
    assert rule.observed == float("inf")
    assert json.loads(json.dumps(rule.to_json()))["observed"] == "inf"


def test_one_transient_error_does_not_fail_and_many_do(judge_run: JudgeRun) -> None:
    few = judge_run("ttfb.p50 < 10s", error_share={"multi": 0.003}, seconds=30)
    many = judge_run("ttfb.p50 < 10s", error_share={"multi": 0.05}, seconds=30)
    assert few.verdict.decision == "pass"
    assert many.verdict.decision == "fail"
    failed = [r for r in many.verdict.rules if r.decision == "fail"]
    assert {(r.kind, r.deployment) for r in failed} == {("budget", "multi")}
    assert "more than chance explains" in failed[0].why


def test_errors_of_the_base_are_not_the_candidates(
    judge_run: JudgeRun, revisions: dict[str, Any]
) -> None:
    judged = judge_run(
        "db_round_trips within 0 of baseline", plan=revisions, error_share={"base": 0.008}
    )
    assert judged.verdict.decision == "pass"


def test_a_mean_says_nothing_where_more_than_one_in_a_hundred_failed(
    judge_run: JudgeRun, revisions: dict[str, Any]
) -> None:
    """What failed may be the page that the mean hangs on."""
    rules = ("db_round_trips within 0.1 of baseline", "ttfb.mean within 10% of baseline")
    judged = judge_run(*rules, plan=revisions, error_share={"base": 0.3})
    assert {rule.decision for rule in judged.rules()} == {"inconclusive"}
    assert all("the mean of those" in rule.why for rule in judged.rules())


def test_an_arm_that_answers_nothing_is_not_slower_than_another_in_its_favour(
    judge_run: JudgeRun, revisions: dict[str, Any]
) -> None:
    rule = "ttfb.p50(base) >= 2 * ttfb.p50(candidate)"
    for share, decision in ((1.0, "invalid"), (0.45, "inconclusive")):
        judged = judge_run(rule, plan=revisions, error_share={"base": share})
        assert {r.decision for r in judged.rules()} == {decision}, share


def test_an_arm_that_is_compared_with_nothing_has_a_budget_whatever_its_name(
    judge_run: JudgeRun, revisions: dict[str, Any]
) -> None:
    alone = {**revisions, "deployments": revisions["deployments"][:1]}
    judged = judge_run("ttfb.p50 < 10s", plan=alone, error_share={"base": 0.3})
    assert judged.verdict.decision == "fail"


@pytest.mark.parametrize("rule", ["ttfb.p50 within 5%", "ttfb.mean within 5%", "errors within 1%"])
def test_arms_that_are_measured_in_unlike_regions_are_not_pooled(
    judge_run: JudgeRun, revisions: dict[str, Any], rule: str
) -> None:
    base, candidate = revisions["deployments"]
    plan = {
        **revisions,
        "deployments": (base.model_copy(update={"measured_from": ("syd",)}), candidate),
    }
    (judged,) = judge_run(
        f"{rule} of baseline pooled", plan=plan, arm_factor={"candidate": 1.5}
    ).rules()
    assert judged.decision == "inconclusive"
    assert "cdg is measured for one of the two arms alone" in judged.why


def test_an_error_threshold_needs_the_sample_to_show_it(judge_run: JudgeRun) -> None:
    judged = judge_run("errors < 1% where region = cdg", "errors < 1% pooled", seconds=60)
    assert [r.decision for r in judged.rules()] == ["inconclusive"] * 3 + ["pass"]


def test_a_rule_that_no_cell_answers_is_not_passed(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 1s where scenario = serach")
    assert judged.verdict.decision == "inconclusive"
    assert "no cell" in judged.verdict.sentence


def test_what_is_nearest_to_failing_is_told_first(judge_run: JudgeRun) -> None:
    far, near = "ttfb.p99.9 < 10s", "ttfb.p50 < 76.8ms where deployment = single and region = cdg"
    judged = judge_run(far, near, plan={"gate": Gate(max_looks=1)})
    assert [rule.decision for rule in judged.rules()].count("inconclusive") > 1
    assert "ttfb.p50 is" in judged.verdict.sentence


def test_the_last_look_ends_as_inconclusive(judge_run: JudgeRun) -> None:
    judged = judge_run(
        "ttfb.p50 < 76.8ms where deployment = single and region = cdg",
        plan={"gate": Gate(max_looks=1)},
    )
    assert judged.verdict.decision == "inconclusive"
    assert not judged.verdict.wants_more
    assert "No look is left" in judged.verdict.sentence


def test_the_first_look_is_the_strictest(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p50 < 80ms where deployment = single and region = cdg")
    first, last = (judge(judged.run, judged.summary, look=n, looks=3).rules[0] for n in (1, 3))
    ends = [rule.low for rule in (first, last)], [rule.high for rule in (first, last)]
    wide, narrow = (float(high or 0) - float(low or 0) for low, high in zip(*ends, strict=True))
    assert narrow < wide


def test_judging_again_gives_the_same_bytes(judge_run: JudgeRun) -> None:
    judged = judge_run("ttfb.p95 < 100ms", "ttfb.p50(multi) <= 2 * ttfb.p50(single)")
    folder = RunFolder(judged.run.folder)
    first = folder.save_json("verdict.json", judged.verdict.to_json()).read_bytes()
    run = load_run(folder.path)
    again = judge(run, summarise(run)).to_json()
    assert folder.save_json("verdict.json", again).read_bytes() == first
    content = json.loads(first)
    assert (content["schema"], content["seed"]) == (1, run.plan.seed)


def test_every_decision_has_its_exit_code() -> None:
    assert EXIT_CODES == {"pass": 0, "none": 0, "fail": 10, "inconclusive": 11, "invalid": 12}


def test_a_few_blocks_decide_nothing(judge_run: JudgeRun) -> None:
    plan = {"load": Load(rate=30, duration_s=20, warmup_s=4, block_s=5)}
    judged = judge_run("ttfb.mean < 10s where region = cdg", plan=plan)
    assert {r.decision for r in judged.rules()} == {"inconclusive"}
    assert "blocks are too few" in judged.rules()[0].why


def test_a_made_up_plan_has_default_margins() -> None:
    gate = synth.make_plan().gate
    assert (gate.margin_share, gate.margin_ms, gate.max_looks) == (0.03, 5.0, 3)


@pytest.mark.parametrize(("size", "told"), [(0, True), (38, True), (3_900, False), (9_000, True)])
def test_answers_of_another_size_are_told_and_judged_by_nobody(
    judge_run: JudgeRun, revisions: dict[str, Any], size: int, told: bool
) -> None:
    """An error page with the status 200 is quick."""
    rule = "ttfb.p50 within 20% or 20ms of baseline"
    judged = judge_run(rule, plan=revisions, bytes_of={"candidate": size})
    expected = (
        f"Answers differ in size: cdg / candidate / browse, GET /recipes: {size:,} bytes in the "
        "mean, base 4,096; is it the same page? And 1 more."
    )
    assert judged.verdict.decision == "pass"
    assert judged.verdict.holds_for.endswith(expected) == told
    assert ("Answers differ" in judged.verdict.holds_for) == told
