"""The threshold grammar: what each form means, and where the caret points."""

from __future__ import annotations

import pytest
import synth
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.plan.apps import Deployment
from loadtest.plan.threshold_checks import arms_of, check_thresholds, parse_thresholds
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import METRICS, Condition, Margin, Measure, Threshold


@pytest.mark.parametrize(
    ("text", "unit", "limit"),
    [
        ("ttfb.p95 < 100ms", "ms", 100.0),
        ("ttfb.p95 <= 1.5 s", "ms", 1500.0),
        ("queue.p99 < 250us", "ms", 0.25),
        ("ttfb_cold.mean < 400ms", "ms", 400.0),
        ("db_round_trips <= 2", "trips", 2.0),
        ("db_round_trips.mean < 2.5", "trips", 2.5),
        ("errors < 1%", "share", 0.01),
        ("errors.rate < 0.01", "share", 0.01),
        ("replayed.share > 90%", "share", 0.9),
    ],
)
def test_a_limit_is_read_in_its_unit(text: str, unit: str, limit: float) -> None:
    rule = parse_threshold(text)
    assert (rule.kind, rule.measure.unit) == ("absolute", unit)
    assert rule.limit == pytest.approx(limit)


def test_a_relative_rule_names_two_arms() -> None:
    rule = parse_threshold(
        "ttfb.p50(replica) <= 0.5 * ttfb.p50(multi) for each region in ord, syd, scl"
    )
    assert rule == Threshold(
        text=rule.text,
        kind="relative",
        measure=Measure("ttfb", 50.0),
        comparator="<=",
        limit=0.5,
        arm="replica",
        other="multi",
        other_measure=Measure("ttfb", 50.0),
        conditions=(Condition("region", ("ord", "syd", "scl")),),
        each=("region",),
    )


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        ("5%", Margin(share=0.05)),
        ("5ms", Margin(absolute=5.0)),
        ("5% or 5ms", Margin(share=0.05, absolute=5.0)),
        ("margin", Margin(from_plan=True)),
    ],
)
def test_a_baseline_rule_has_a_margin(margin: str, expected: Margin) -> None:
    rule = parse_threshold(f"ttfb.p50(new) within {margin} of baseline(old)")
    assert (rule.kind, rule.margin, rule.arm, rule.other) == ("baseline", expected, "new", "old")


def test_a_share_has_a_margin_in_points() -> None:
    assert parse_threshold("errors within 1% of baseline").margin == Margin(absolute=0.01)


def test_clauses_add_up() -> None:
    rule = parse_threshold(
        "ttfb.p95 < 100ms where region in ord, syd and deployment != single for each scenario"
    )
    assert rule.selects("ord", "multi", "any")
    assert not rule.selects("ord", "single", "any")
    assert not rule.selects("cdg", "multi", "any")


def test_pooled_puts_cells_together_apart_from_each() -> None:
    alone = parse_threshold("ttfb.p95 < 100ms")
    pooled = parse_threshold("ttfb.p95 < 100ms for each region, deployment pooled")
    assert alone.group("ord", "multi", "browse") == ("ord", "multi", "browse", "")
    assert pooled.group("ord", "multi", "browse", "GET /") == ("ord", "multi", "", "")


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("tftb.p95 < 100ms", 0, "did you mean 'ttfb'"),
        ("ttfb < 100ms", 4, "ttfb.p50"),
        ("ttfb.p100 < 100ms", 5, "0 to 100"),
        ("ttfb.p95 < 100", 11, "unit"),
        ("ttfb.p95 100ms", 9, "comparator"),
        ("ttfb.p95 < 100ms were region = ord", 17, "did you mean 'where'"),
        ("ttfb.p95 < 100ms where regoin = ord", 23, "did you mean 'region'"),
        ("ttfb.p95 < 100ms where region ord", 30, "=, !=, in or not in"),
        ("ttfb.p95(replica) < 100ms", 18, "where deployment = replica"),
        ("ttfb.p95(a) < ttfb.p95", 22, "names both"),
        ("ttfb.p95(a) < ttfb.p95(a)", 22, "itself"),
        ("ttfb.p95(a) < errors(b)", 14, "no common unit"),
        ("ttfb.p95(a < 5ms", 11, "closing )"),
        ("ttfb.p50 within 5ms or 5% of baseline", 16, "share comes first"),
        ("ttfb.p50 within 5% baseline", 19, "'of'"),
        ("errors < 150%", 9, "1% or 0.01"),
        ("db_round_trips < 2ms", 17, "no unit"),
        ("ttfb.p95 < 100ms ;", 17, "no meaning"),
        ("", 0, "a metric"),
    ],
)
def test_a_fault_has_a_caret_under_it(text: str, column: int, words: str) -> None:
    with pytest.raises(PlanError) as raised:
        parse_threshold(text)
    what, shown, caret = str(raised.value).split("\n")
    assert words in what
    assert shown[2:] == text
    assert caret.index("^") - 2 == column


def fault_of(text: str) -> str | None:
    """Return what is wrong with a rule, None if nothing is; any other exception escapes."""
    try:
        parse_threshold(text)
    except PlanError as error:
        return str(error)
    return None


@given(st.text(max_size=60))
@example("ttfb.p95 < 1\n")
@settings(max_examples=150, deadline=None)
def test_any_text_parses_or_is_a_plan_error(text: str) -> None:
    told = fault_of(text)
    assert told is None or len(told.split("\n")) == 3


@given(
    st.sampled_from(sorted(METRICS)),
    st.sampled_from(["p50", "p99.9", "mean", "share", ""]),
    st.sampled_from(["< 5ms", "<= 2", "> 1%", "within 5% or 5ms of baseline"]),
    st.sampled_from(["", " where region = ord", " for each region pooled", " pooled pooled"]),
)
@settings(max_examples=150, deadline=None)
def test_words_of_the_grammar_in_any_order_never_crash(
    metric: str, aggregation: str, compare: str, clause: str
) -> None:
    text = f"{metric}{'.' if aggregation else ''}{aggregation} {compare}{clause}"
    told = fault_of(text)
    assert told is None or "^" in told


def test_names_of_the_plan_are_checked_with_a_suggestion() -> None:
    plan = synth.make_plan(
        thresholds=(
            "ttfb.p95 < 100ms where deployment = replcia",
            "ttfb.p95 < 1s where region = sdy",
            "ttfb.p50(multi) < 2 * ttfb.p50(sinlge)",
        )
    )
    with pytest.raises(PlanError) as raised:
        check_thresholds(plan)
    assert len(raised.value.faults) == 3
    for fault, name in zip(raised.value.faults, ("replica", "syd", "single"), strict=True):
        assert f"did you mean {name!r}" in fault


def test_a_rule_about_what_flags_took_away_is_dropped() -> None:
    texts = (
        "ttfb.p95 < 100ms where deployment = gone",
        "ttfb.p50(replica) <= 0.5 * ttfb.p50(gone)",
        "ttfb.p50(replica) <= 0.5 * ttfb.p50(multi) for each region in ord, lhr",
        "errors < 5%",
    )
    plan = synth.make_plan(thresholds=texts)
    assert check_thresholds(plan, frozenset({"gone", "lhr"})) == texts[2:]


def test_a_rule_that_selects_nothing_is_a_fault() -> None:
    plan = synth.make_plan(
        thresholds=("ttfb.p95 < 1s where deployment = multi and deployment = single",)
    )
    with pytest.raises(PlanError, match="selects no cell"):
        check_thresholds(plan)


def test_baseline_arms_have_default_names() -> None:
    rule = parse_threshold("ttfb.p50 within 5% of baseline")
    arms = tuple(Deployment(name=name, fly_toml="x") for name in ("base", "candidate"))
    assert arms_of(rule, synth.make_plan(deployments=arms)) == ("candidate", "base")
    with pytest.raises(PlanError, match="no deployment"):
        arms_of(rule, synth.make_plan())


def test_all_faults_of_a_plan_come_at_once() -> None:
    plan = synth.make_plan(thresholds=("ttfb < 1", "errors < 1%", "nonsense"))
    with pytest.raises(PlanError) as raised:
        parse_thresholds(plan)
    assert len(raised.value.faults) == 2
