"""What drift, blocks of unequal size and a handful of blocks may not do to a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gate_trials import ar1

from loadtest.analysis.blocks import blocked
from loadtest.analysis.bootstrap import (
    allow_for_drift,
    draw_weights,
    leave_one_out,
    pseudo_values,
    resample,
    weigh,
)
from loadtest.analysis.scores import block_scores, score
from loadtest.plan.model import Load

JudgeRun = Callable[..., Any]


def test_a_mean_of_blocks_that_drift_is_not_claimed_to_be_known() -> None:
    """Plain resampling calls the true mean improbable far too often; the wide error does not."""
    plain = wide = 0
    group = np.repeat(np.arange(36, dtype=np.int32), 5)
    for trial in range(120):
        generator = np.random.Generator(np.random.PCG64([5, trial]))
        values = 100 + 5 * ar1(generator, 1, 36, 0.9)[0][group] + generator.normal(size=group.size)
        sample = blocked(values, group, 36)
        point = sample.point(None)
        draws = resample(sample, draw_weights(36, 200, trial, "x"), None)
        found = weigh(draws - 100, point - 100, 36, 0.9)
        series = pseudo_values(point, resample(sample, leave_one_out(36), None))
        allowed = allow_for_drift(found, series, point - 100, 0.9)
        plain += found.p_above_is_chance < 0.01
        wide += allowed.p_above_is_chance < 0.01
        assert allowed.low <= found.low <= found.high <= allowed.high
    assert plain / 120 > 0.1
    assert wide / 120 <= 0.05


def test_pseudo_values_of_a_mean_are_the_blocks_own() -> None:
    group = np.repeat(np.arange(8, dtype=np.int32), 4)
    values = np.random.Generator(np.random.PCG64(6)).normal(100, 5, group.size)
    sample = blocked(values, group, 8)
    found = pseudo_values(sample.point(None), resample(sample, leave_one_out(8), None))
    np.testing.assert_allclose(found, values.reshape(8, 4).mean(axis=1), rtol=1e-4)


def test_blocks_that_merely_hold_more_requests_are_no_noise() -> None:
    generator = np.random.Generator(np.random.PCG64(7))
    sizes = generator.integers(2, 40, 36)
    arms = []
    for _ in range(2):
        group = np.repeat(np.arange(36, dtype=np.int32), generator.permutation(sizes))
        arms.append(blocked(100 * np.exp(generator.normal(0, 0.1, group.size)), group, 36))
    first, second = arms
    found = score(first, second, 50, wide=False)
    assert found.error <= 1.6 * math.sqrt(found.floor)
    below = [
        float((arm.values < np.median(np.concatenate([a.values for a in arms]))).mean())
        for arm in arms
    ]
    assert float(block_scores(first, second, 50).mean()) == pytest.approx(
        below[1] - below[0], abs=2e-3
    )


@pytest.mark.parametrize(
    "rule", ["errors < 50% where region = cdg", "errors(replica) within 50% of baseline(multi)"]
)
def test_a_share_of_a_few_blocks_is_not_judged(judge_run: JudgeRun, rule: str) -> None:
    plan = {"load": Load(rate=60, duration_s=20, warmup_s=4, block_s=5)}
    judged = judge_run(rule, plan=plan, seconds=20)
    assert {r.decision for r in judged.rules()} == {"inconclusive"}
    assert "blocks are too few" in judged.rules()[0].why


def test_an_arm_that_drifts_is_said_beside_what_it_leaves_open(judge_run: JudgeRun) -> None:
    for measure in ("p50", "mean"):
        rule = f"ttfb.{measure} < 80ms where deployment = single and region = cdg"
        (found,) = judge_run(rule, seconds=120, drift_sd=0.1).rules()
        assert found.decision == "inconclusive"
        assert "moved by itself" in found.why
        assert "longer run" in found.flip
