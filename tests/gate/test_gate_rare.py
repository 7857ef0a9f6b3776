"""Trouble that is rare and comes in clusters is not passed because a run happened to miss it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gate_trials import clustered_failures, rarely_slow, share_trials
from limit_trials import LimitDesign, limit_trials
from numpy.typing import NDArray
from odd_trials import Arms, OddDesign, World, lognormals, odd_trials

from loadtest.analysis.blocks import Blocked, blocked
from loadtest.gate.comparison import ArmPair, within_margin
from loadtest.gate.decide import Levels
from loadtest.gate.errors import Failures, chance_of_difference, supposed_cluster
from loadtest.gate.evidence import Measurement
from loadtest.gate.shares import judge_share
from loadtest.gate.trouble import (
    Trouble,
    beyond_limit,
    blocks_to_pass,
    share_that_breaks,
    with_rare_trouble,
)
from loadtest.plan.model import Gate
from loadtest.plan.threshold_parser import parse_threshold

SIDE = 0.05
P95 = parse_threshold("ttfb.p95 within 10% or 10ms of baseline")


def judged(found: Failures) -> Measurement:
    rule = parse_threshold("errors < 1%")
    return judge_share(rule, found, Levels(SIDE), supposed_cluster(found))


@pytest.mark.parametrize("seconds", [30, 120, 240])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_errors_in_clusters_on_the_limit_are_not_passed(size: int, seconds: int) -> None:
    passed, failed = share_trials(0.01, size, seconds, trials=60)

    assert passed <= 0.1
    assert failed <= 0.12


def test_errors_that_come_alone_keep_their_power() -> None:
    assert share_trials(0.002, 1, 240, trials=30)[0] >= 0.85
    assert share_trials(0.03, 1, 120, trials=30)[1] == 1


def test_a_share_is_judged_by_the_interval_that_is_printed() -> None:
    found = judged(clustered_failures(1, share=0.0, size=1, seconds=30))

    assert found.p_pass > SIDE
    assert found.low == 0
    assert found.high > 0.01


def test_a_difference_of_errors_in_clusters_is_not_passed() -> None:
    trials = 60
    passed = 0
    for seed in range(trials):
        arm = clustered_failures(seed, share=0.01, size=10, seconds=120)
        base = clustered_failures(seed, share=0, size=1, seconds=120)
        passed += chance_of_difference(arm, base, 0.01)[1] <= SIDE

    assert passed <= 0.05 * trials


def arms(seed: int, blocks: int, sigma: float, share: float) -> tuple[Blocked, Blocked]:
    values: NDArray[np.float64] = 100 * rarely_slow(sigma, share)(
        np.random.default_rng(seed), blocks, 15
    )
    group = np.repeat(np.arange(blocks), 15).astype(np.int32)
    return blocked(values[0].ravel(), group, blocks), blocked(values[1].ravel(), group, blocks)


def compared(seed: int, blocks: int, *, sigma: float = 0.08, share: float) -> Measurement:
    arm, base = arms(seed, blocks, sigma, share)
    return within_margin(
        P95, ArmPair(arm, base, 95.0, wide=False), gate=Gate(), levels=Levels(SIDE)
    )


@pytest.mark.parametrize("blocks", [30, 60, 90])
def test_blocks_in_trouble_are_not_passed_where_few_were_met(blocks: int) -> None:
    found = [compared(seed, blocks, share=0.06) for seed in range(100)]

    assert sum(one.p_pass <= SIDE for one in found) <= 0.05 * len(found)


def test_enough_blocks_without_trouble_pass() -> None:
    few, enough = compared(1, 30, share=0), compared(1, 60, share=0)

    assert few.p_pass > SIDE
    assert few.unseen.startswith("30 blocks, 0 of them much slower, can hide trouble in one of 20")
    assert few.lacking_factor * 30 == pytest.approx(59)
    assert enough.p_pass <= SIDE
    assert not enough.unseen


def test_few_blocks_do_not_keep_a_slow_arm_from_failing() -> None:
    arm, base = arms(1, 30, 0.08, 0)
    slow = Blocked(arm.values * 1.3, arm.group, arm.groups)
    pair = ArmPair(slow, base, 95.0, wide=False)

    assert within_margin(P95, pair, gate=Gate(), levels=Levels(SIDE)).p_fail <= 0.001


@pytest.mark.parametrize("looks", [(30,), (20, 40, 60)])
def test_a_limit_is_not_passed_where_trouble_may_have_been_missed(looks: tuple[int, ...]) -> None:
    passed, _ = limit_trials(LimitDesign(slow=0.06, looks=looks), 100, 1)
    before, _ = limit_trials(LimitDesign(slow=0.06, looks=looks), 100, 1, believing=True)

    assert passed <= 0.05 < before


def test_a_limit_is_passed_by_enough_blocks_without_trouble() -> None:
    assert limit_trials(LimitDesign(looks=(58,)), 10, 1)[0] == 0
    assert limit_trials(LimitDesign(looks=(60,)), 10, 1)[0] == 1
    assert limit_trials(LimitDesign(50.0, room=1.5, looks=(20,)), 10, 1)[0] == 1


def test_blocks_count_where_a_long_run_joins_them() -> None:
    far = LimitDesign(99.0, per_block=15)

    assert limit_trials(replace(far, looks=(260,)), 5, 1)[0] == 0
    assert limit_trials(replace(far, looks=(300,)), 5, 1)[0] == 1
    assert limit_trials(replace(far, looks=(300,), slow=0.015), 40, 1)[0] <= 0.05


def test_a_block_of_which_half_is_quick_is_not_in_trouble() -> None:
    values = np.array([10.0, 10.0, 500.0, 500.0, 500.0, 10.0, 10.0, 10.0])
    sample = blocked(values, np.array([0, 0, 0, 0, 1, 1, 3, 3], np.int32), 5)

    assert sample.shares_beyond(100.0).tolist() == [0.5, 0.5, 0.0, 0.0, 0.0]
    met = beyond_limit(sample, 100.0)
    assert (met.blocks, met.troubled) == (3, 0)  # those that hold a request
    assert met.usual == pytest.approx(1 / 3 - (8 / 3) ** 0.5 / 8)  # the mean less its error


def test_usual_requests_beyond_a_limit_leave_less_to_trouble() -> None:
    assert share_that_breaks(95) == pytest.approx(0.05)
    assert share_that_breaks(95, Trouble(100, usual=0.02)) == pytest.approx(0.03 / 0.98)
    assert share_that_breaks(95, Trouble(100, usual=0.06)) == 0.01
    # blocks in trouble of which a fifth is quick break it where a sixteenth of them are
    assert share_that_breaks(95, Trouble(100, 50, fill=0.8)) == pytest.approx(0.0625)
    assert blocks_to_pass(share_that_breaks(95), SIDE) == 59
    assert blocks_to_pass(share_that_breaks(95, Trouble(100, usual=0.02)), SIDE) == 97


@pytest.mark.parametrize(("sigma", "room"), [(0.08, 1.03), (0.35, 1.1)])
def test_a_near_limit_is_not_passed_where_little_trouble_breaks_it(
    sigma: float, room: float
) -> None:
    """Some 2.5 % of the usual requests lie beyond it, and trouble in 3 % of blocks breaks it."""
    broken = LimitDesign(slow=0.03, sigma=sigma, room=room, looks=(60, 90, 120), per_block=15)

    assert limit_trials(broken, 100, 1)[0] <= 0.06
    assert limit_trials(replace(broken, slow=0.0, looks=(240,)), 20, 1)[0] == 1


def test_a_candidate_near_the_margin_is_not_passed_where_little_trouble_breaks_it() -> None:
    found = [compared(seed, 90, sigma=0.35, share=0.025) for seed in range(100)]

    assert sum(one.p_pass <= SIDE for one in found) <= 0.06 * len(found)
    told = next(one.unseen for one in found if one.unseen)
    assert "of the usual requests are beyond already" in told


def test_trouble_that_was_met_takes_each_looks_own_error_rate() -> None:
    """A later look may pass what an earlier did not, so all of them together must not exceed it."""
    evidence = replace(compared(1, 60, share=0), p_pass=0.0)
    levels = Levels(0.01, SIDE)

    def passes(blocks: int, troubled: int) -> bool:
        return with_rare_trouble(evidence, Trouble(blocks, troubled), 0.05, levels).p_pass <= 0.01

    assert (passes(58, 0), passes(59, 0)) == (False, True)
    assert (passes(93, 1), passes(130, 1)) == (False, True)  # 93 would do at 5 %


def test_a_median_passes_where_few_requests_a_block_lie_beyond_by_chance() -> None:
    """Most of five may be beyond a limit that 40 of 100 are; blocks that are joined are alike."""
    near = LimitDesign(50.0, sigma=0.35, room=1.1, per_block=15, looks=(240,))

    assert limit_trials(near, 10, 1)[0] == 1
    assert limit_trials(replace(near, per_block=5, looks=(100,)), 20, 1)[0] >= 0.9


def rare_blocks(share: float, times: float) -> World:
    """Return arms of which the candidate takes some times longer in a share of its blocks."""

    def world(g: np.random.Generator, blocks: int, per: int, number: int) -> Arms:
        arm, base = lognormals(0.08)(g, blocks, per, number)
        return arm * np.where(g.random(blocks) < share, times, 1.0)[:, None], base

    return world


@pytest.mark.parametrize(
    "rule", ["ttfb.mean within 5% of baseline for each region", "ttfb.mean < 105ms"]
)
@pytest.mark.parametrize("looks", [(60,), (60, 120)])
def test_a_mean_is_not_passed_where_a_few_blocks_would_break_it(
    rule: str, looks: tuple[int, ...]
) -> None:
    """Its mean is 6 % larger; a third of runs of 60 blocks meet no slow one."""
    design = OddDesign(rare_blocks(0.02, 4.0), (rule,), 1, looks)

    assert odd_trials(design, 40, 1)["pass"] <= 0.05


def test_a_mean_passes_where_enough_blocks_or_a_far_limit_rule_trouble_out() -> None:
    within = "ttfb.mean within 5% of baseline for each region"

    assert odd_trials(OddDesign(lognormals(0.08), (within,), 1, (200,)), 10, 1)["pass"] == 1
    assert (
        odd_trials(OddDesign(lognormals(0.08), ("ttfb.mean < 200ms",), 1, (20,)), 10, 1)["pass"]
        == 1
    )


def test_two_percentiles_of_an_arm_pass_only_where_trouble_was_looked_for() -> None:
    rule = "ttfb.p95(candidate) <= 2 * ttfb.p50(base) for each region"

    found = [
        odd_trials(OddDesign(lognormals(0.08), (rule,), 1, (blocks,)), 5, 1)["pass"]
        for blocks in (40, 60)
    ]
    assert found == [0, 1]


def test_a_far_region_is_no_trouble_of_the_mean_of_all() -> None:
    def far(g: np.random.Generator, blocks: int, per: int, number: int) -> Arms:
        return lognormals(0.08, 300.0 if number == 2 else 20.0)(g, blocks, per, number)

    assert odd_trials(OddDesign(far, ("ttfb.mean < 124ms pooled",), 3, (120,)), 10, 1)["pass"] == 1
