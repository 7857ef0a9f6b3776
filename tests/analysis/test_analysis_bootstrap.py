"""The block bootstrap: exact percentiles of resamples, nominal intervals, cancelled weather."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analysis.blocks import Blocked, blocked, group_blocks
from loadtest.analysis.bootstrap import draw_weights, join_weights, resample, weigh
from loadtest.analysis.percentiles import rank_of


def naive(sample: Blocked, weights: np.ndarray, p: float) -> np.ndarray:
    """Repeat every value as often as its group was drawn, sort, take the rank."""
    found = []
    for row in weights:
        pooled = np.sort(np.repeat(sample.values, row[sample.group].astype(int)))
        found.append(pooled[rank_of(p, pooled.size) - 1] if pooled.size else np.nan)
    return np.array(found)


@given(
    st.integers(1, 3000),
    st.integers(2, 12),
    st.sampled_from([50.0, 95.0, 99.9, 2.0]),
    st.integers(0, 2**20),
)
@settings(max_examples=40, deadline=None)
def test_resampled_percentiles_equal_those_of_a_naive_bootstrap(
    n: int, groups: int, p: float, seed: int
) -> None:
    generator = np.random.Generator(np.random.PCG64(seed))
    values = np.round(generator.lognormal(4, 1, n), 1)
    sample = blocked(values, generator.integers(0, groups, n).astype(np.int32), groups)
    weights = draw_weights(groups, 25, seed, "x")
    np.testing.assert_array_equal(resample(sample, weights, p), naive(sample, weights, p))


def test_a_large_sample_is_resampled_to_within_one_rank() -> None:
    generator = np.random.Generator(np.random.PCG64(3))
    sample = blocked(
        generator.lognormal(4, 0.5, 60_000), np.repeat(np.arange(60, dtype=np.int32), 1_000), 60
    )
    weights = draw_weights(60, 20, 1, "x")
    np.testing.assert_allclose(
        resample(sample, weights, 95.0), naive(sample, weights, 95.0), rtol=2e-3
    )


def test_failures_reach_resamples() -> None:
    values = np.concatenate([np.arange(50.0), np.full(60, np.inf)])
    sample = blocked(values, np.tile(np.arange(10, dtype=np.int32), 11), 10)
    assert np.isinf(resample(sample, draw_weights(10, 50, 1, "x"), 95.0)).all()


def test_weights_are_drawn_from_the_seed_and_the_purpose() -> None:
    first = draw_weights(20, 30, 7, "cdg")
    np.testing.assert_array_equal(first, draw_weights(20, 30, 7, "cdg"))
    assert not np.array_equal(first, draw_weights(20, 30, 7, "syd"))
    assert not np.array_equal(first, draw_weights(20, 30, 8, "cdg"))
    assert (first.sum(axis=1) == 20).all()
    assert join_weights([first, first]).shape == (30, 40)


def test_intervals_of_a_mean_of_few_blocks_cover_what_they_claim() -> None:
    """600 samples of 15 blocks: a plain percentile interval would miss 8 to 9 %."""
    generator = np.random.Generator(np.random.PCG64(11))
    group = np.repeat(np.arange(15, dtype=np.int32), 8)
    missed = 0
    for trial in range(600):
        block = generator.normal(size=15)
        values = block[group] + generator.normal(size=group.size)
        sample = blocked(values, group, 15)
        draws = resample(sample, draw_weights(15, 400, trial, "x"), None)
        found = weigh(draws, sample.point(None), 15, 0.95)
        missed += not found.low <= 0 <= found.high
    assert 0.02 <= missed / 600 <= 0.075


def test_tail_probabilities_are_nominal() -> None:
    generator = np.random.Generator(np.random.PCG64(12))
    group = np.repeat(np.arange(20, dtype=np.int32), 10)
    small = 0
    for trial in range(600):
        values = generator.normal(size=20)[group] + generator.normal(size=group.size)
        sample = blocked(values, group, 20)
        draws = resample(sample, draw_weights(20, 400, trial, "x"), None)
        small += weigh(draws, sample.point(None), 20, 0.95).p_above_is_chance < 0.025
    assert small / 600 <= 0.045


def test_what_does_not_vary_is_certain() -> None:
    found = weigh(np.full(100, 1.0), 1.0, 10, 0.95)
    assert (found.low, found.high, found.p_above_is_chance) == (1.0, 1.0, 0.0)


def test_nothing_is_claimed_of_nothing() -> None:
    found = weigh(np.full(10, np.nan), math.nan, 10, 0.95)
    assert (found.p_above_is_chance, found.p_below_is_chance) == (1.0, 1.0)


def test_blocks_are_joined_to_equal_groups() -> None:
    grouping = group_blocks(np.repeat(np.arange(4, 304), 3), 60)
    assert grouping.groups == 60
    assert set(np.bincount(grouping.group)) == {5}
    assert group_blocks(np.array([7, 9, 9, 12])).groups == 3


@pytest.mark.parametrize("groups", [1, 2])
def test_too_few_blocks_claim_nothing_or_little(groups: int) -> None:
    sample = blocked(np.arange(10.0), (np.arange(10) % groups).astype(np.int32), groups)
    draws = resample(sample, draw_weights(groups, 200, 1, "x"), 50.0)
    assert weigh(draws - 100, -95.0, groups, 0.95).p_above_is_chance > 0.5
