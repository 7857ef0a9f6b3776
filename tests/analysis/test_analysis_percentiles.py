"""Nearest rank, distribution-free intervals, and percentiles that a sample cannot carry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analysis.percentiles import describe, interval_ranks, needed, quantile, rank_of
from loadtest.analysis.special import binomial_at_most


def test_ranks_are_exact_where_floating_point_is_not() -> None:
    assert rank_of(99.9, 10_000) == 9_990
    assert rank_of(50, 3) == 2
    assert rank_of(95, 20) == 19


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=80), st.integers(1, 99))
@settings(max_examples=60, deadline=None)
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[int], p: int
) -> None:
    found = sorted(values)[rank_of(p, len(values)) - 1]
    assert sum(v <= found for v in values) * 100 >= p * len(values)
    assert sum(v < found for v in values) * 100 < p * len(values)


@pytest.mark.parametrize(("p", "n"), [(50, 100), (50, 1001), (95, 300), (99, 3000), (99.9, 20000)])
def test_intervals_cover_at_least_what_they_claim_and_hardly_more(p: float, n: int) -> None:
    low, high = interval_ranks(p, n)
    covered = binomial_at_most(high - 1, n, p / 100) - binomial_at_most(low - 1, n, p / 100)
    assert 0.95 <= covered < 0.985
    assert low <= rank_of(p, n) <= high


def test_a_percentile_needs_samples_beyond_it() -> None:
    assert needed(50) == 10
    assert needed(95) == 100
    assert needed(99) == 1_000
    assert needed(99, gate=True) == 3_000
    assert quantile(np.arange(99), 95) is None
    assert quantile(np.arange(200), 95) is not None


def test_failures_stand_at_infinity() -> None:
    values = np.concatenate([np.arange(90.0), np.full(110, np.inf)])
    described = describe(values)
    assert described.value(50) == math.inf
    assert described.to_json()["p50"] == "inf"
    assert described.mean == pytest.approx(44.5)


def test_an_empty_sample_says_so() -> None:
    described = describe(np.empty(0, np.int32))
    assert (described.n, described.mean, described.quantiles) == (0, None, ())
    assert described.to_json()["p50"] is None


def test_coverage_on_random_samples() -> None:
    """1 000 samples of 100: the p50 interval misses the true median in at most 5 %."""
    generator = np.random.Generator(np.random.PCG64(5))
    low, high = interval_ranks(50, 100)
    ordered = np.sort(generator.normal(size=(1_000, 100)), axis=1)
    missed = (ordered[:, low - 1] > 0) | (ordered[:, high - 1] < 0)
    assert missed.mean() <= 0.06
