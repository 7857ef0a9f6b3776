"""Visitors: shares are one together, of regions that are there, and nothing else is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.plan.resolve import load_plan, load_raw, resolve_plan
from loadtest.plan.visitors import parse_visitors, shares_of

REGIONS = ("cdg", "ord", "syd", "scl")


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("cdg=60,syd=40", {"cdg": 0.6, "syd": 0.4}),
        (" SYD=0.25, cdg=0.75 ", {"syd": 0.25, "cdg": 0.75}),
        ("cdg,syd", {"cdg": 0.5, "syd": 0.5}),
        ("cdg=33,ord=33,scl=33", dict.fromkeys(("cdg", "ord", "scl"), 1 / 3)),
        ("syd", {"syd": 1.0}),
    ],
)
def test_shares_are_of_one_or_of_a_hundred(text: str, shares: dict[str, float]) -> None:
    assert parse_visitors(text, REGIONS) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lhr=100", "'lhr' is no region of the plan; it has cdg, ord, syd, scl"),
        ("cdg=x,syd=1", "'x' of cdg is no share"),
        ("cdg=,syd=1", "'' of cdg is no share"),
        ("cdg=0,syd=100", "the share of cdg is 0; write more than 0"),
        ("cdg=-40,syd=140", "the share of cdg is -40"),
        ("cdg=nan,syd=1", "the share of cdg is nan"),
        ("cdg=60,syd=30", "the shares add up to 90; let them be 1 together, or 100 as percent"),
        ("cdg=2,syd=3", "the shares add up to 5"),
        ("cdg=60,syd", "some regions have no share"),
        ("cdg=60,cdg=40", "'cdg' is named twice"),
    ],
)
def test_shares_that_are_none_are_told(text: str, told: str) -> None:
    with pytest.raises(PlanError) as error:
        parse_visitors(text, REGIONS)
    assert told in str(error.value)


@given(st.text(alphabet="cdgosyrl=,.0123456789 -ex", max_size=40))
def test_whatever_is_written_is_read_as_one_or_refused(text: str) -> None:
    try:
        shares = parse_visitors(text, REGIONS)
    except PlanError:
        return
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) <= set(REGIONS)


@given(st.dictionaries(st.sampled_from(REGIONS), st.floats(0.01, 1), min_size=1))
def test_shares_keep_their_proportions(written: dict[str, float]) -> None:
    total = sum(written.values())
    found = shares_of({r: v / total for r, v in written.items()}, REGIONS, "visitors")
    assert found == pytest.approx({r: v / total for r, v in written.items()})


def raw(visitors: dict[str, Any]) -> dict[str, Any]:
    return {**load_raw("scenarios/latency-tables.toml", {})[0], "visitors": visitors}


def test_a_plan_s_visitors_are_kept_as_shares() -> None:
    assert resolve_plan(raw({"cdg": 60, "syd": 40})).visitors == {"cdg": 0.6, "syd": 0.4}
    assert load_plan().visitors == {}


def test_a_plan_s_wrong_visitors_are_told_with_their_key() -> None:
    with pytest.raises(PlanError, match="visitors: 'lhr' is no region of the plan"):
        resolve_plan(raw({"lhr": 100}))
    with pytest.raises(PlanError, match="visitors: the shares add up to 90"):
        resolve_plan(raw({"cdg": 50, "syd": 40}))


def test_visitors_of_a_region_that_a_flag_took_away_go_with_it() -> None:
    plan = raw({"cdg": 60, "syd": 30, "scl": 10})
    plan["regions"] = ["cdg", "syd"]
    kept = resolve_plan(plan, frozenset({"ord", "scl"})).visitors
    assert kept == pytest.approx({"cdg": 2 / 3, "syd": 1 / 3})
