"""The words of faults: each form is read, everything else refused in one sentence."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.faults import VERBS, Fault, RoadCondition, check_regions, parse_fault

REGIONS = ("cdg", "ord", "syd")


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("cut cdg-syd", RoadCondition(cut=True)),
        ("loss 1% cdg-syd", RoadCondition(loss=0.01)),
        ("LOSS  0.5%  cdg-syd", RoadCondition(loss=0.005)),
        ("reorder 5% cdg-syd", RoadCondition(reorder=0.05, reorder_ns=5_000_000)),
        ("reorder 5% by 10ms cdg-syd", RoadCondition(reorder=0.05, reorder_ns=10_000_000)),
        ("jitter 5ms cdg-syd", RoadCondition(jitter_ns=5_000_000, jitter="gamma")),
        ("jitter 500us pareto cdg-syd", RoadCondition(jitter_ns=500_000, jitter="pareto")),
        ("delay 1.5s cdg-syd", RoadCondition(delay_ns=1_500_000_000)),
        ("bandwidth 10mbit cdg-syd", RoadCondition(bits_per_s=1e7)),
        (
            "bandwidth 1gbit queue 64kB cdg-syd",
            RoadCondition(bits_per_s=1e9, queue_bytes=64_000),
        ),
    ],
)
def test_each_form_is_read(text: str, condition: RoadCondition) -> None:
    assert parse_fault(text).condition == condition


@pytest.mark.parametrize(
    ("path", "roads"),
    [
        ("cdg-syd", {("cdg", "syd"), ("syd", "cdg")}),
        ("syd>cdg", {("syd", "cdg")}),
        ("syd-syd", {("syd", "syd")}),
        ("syd>*", {("syd", "cdg"), ("syd", "ord")}),
        ("*>syd", {("cdg", "syd"), ("ord", "syd")}),
        ("syd-*", {("syd", "cdg"), ("syd", "ord"), ("cdg", "syd"), ("ord", "syd")}),
        ("*", {(a, b) for a in REGIONS for b in REGIONS if a != b}),
        ("*-*", {(a, b) for a in REGIONS for b in REGIONS if a != b}),
    ],
)
def test_a_path_names_directions(path: str, roads: set[tuple[str, str]]) -> None:
    assert set(parse_fault(f"cut {path}").roads(REGIONS)) == roads


def test_a_frozen_region_is_cut_from_all_and_from_itself() -> None:
    fault = parse_fault("freeze syd")
    assert fault.condition.cut
    assert set(fault.roads(REGIONS)) == {
        (a, b) for a in REGIONS for b in REGIONS if "syd" in (a, b)
    }


def test_a_machine_is_named_by_app_and_region() -> None:
    fault = parse_fault("kill replica/syd")
    assert (fault.app, fault.region, fault.of_machines) == ("replica", "syd", True)
    assert fault.of_app("recipes-replica").what == "kill recipes-replica/syd"
    assert parse_fault("restart database").region == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begins with none of"),
        ("break cdg-syd", "begins with none of"),
        ("cut", "names no link"),
        ("cut paris-syd", "is no link"),
        ("freeze cdg-syd", "takes one region"),
        ("loss cdg-syd", "write 'loss 1%"),
        ("loss 1 cdg-syd", "is no share"),
        ("loss 100% cdg-syd", "is no share"),
        ("jitter 5 cdg-syd", "is no time"),
        ("jitter 5ms normal cdg-syd", "gamma, uniform, pareto"),
        ("delay 61s cdg-syd", "is no time"),
        ("bandwidth 10 cdg-syd", "is no rate"),
        ("bandwidth 1mbit queue 1 cdg-syd", "is no length"),
        ("cut now cdg-syd", "write 'cut"),
        ("kill replica", "takes one machine"),
        ("restart", "takes one machine"),
    ],
)
def test_what_is_no_fault_is_refused_with_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(PlanError, match=r"^fault: ") as caught:
        parse_fault(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=100)
@given(st.lists(st.sampled_from([*VERBS, "1%", "5ms", "by", "cdg-syd", "*", "a/syd"]) | st.text()))
def test_any_words_are_a_fault_or_refused(words: list[str]) -> None:
    with contextlib.suppress(PlanError):
        fault = parse_fault(" ".join(words))
        assert parse_fault(fault.what) == fault
        fault.roads(REGIONS)


def test_a_region_that_is_not_there_is_told() -> None:
    with pytest.raises(PlanError, match="no region 'nrt'; allowed: cdg, ord, syd"):
        check_regions(parse_fault("cut cdg-nrt"), REGIONS, "faults[0].what")
    check_regions(Fault("cut *", "cut", "*"), REGIONS, "faults[0].what")


def test_faults_on_one_road_add_up() -> None:
    both = RoadCondition(loss=0.1, delay_ns=5, bits_per_s=1e6, queue_bytes=9_000).with_other(
        RoadCondition(loss=0.5, delay_ns=7, jitter_ns=3, jitter="pareto", cut=True)
    )
    assert both == RoadCondition(
        cut=True,
        loss=1 - 0.9 * 0.5,
        jitter_ns=3,
        jitter="pareto",
        delay_ns=12,
        bits_per_s=1e6,
        queue_bytes=9_000,
    )
    assert RoadCondition().with_other(RoadCondition()) == RoadCondition()
