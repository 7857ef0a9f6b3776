"""The probability functions against exact sums and published tables."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analysis.special import (
    binomial_at_least,
    binomial_at_most,
    normal_quantile,
    normal_tail,
    regularised_beta,
    student_quantile,
    student_tail,
)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 99))
@settings(max_examples=80, deadline=None)
def test_binomial_tails_equal_exact_sums(n: int, k: int, percent: int) -> None:
    p = Fraction(percent, 100)
    exact = float(sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(min(k, n) + 1)))
    assert binomial_at_most(k, n, percent / 100) == pytest.approx(exact, rel=1e-9, abs=1e-12)
    assert binomial_at_least(k + 1, n, percent / 100) == pytest.approx(
        1 - exact, rel=1e-6, abs=1e-12
    )


@pytest.mark.parametrize(
    ("tail", "freedom", "t"),
    [(0.025, 4, 2.776), (0.025, 14, 2.145), (0.025, 59, 2.001), (0.005, 10, 3.169)],
)
def test_student_quantiles_are_those_of_the_tables(tail: float, freedom: int, t: float) -> None:
    assert student_quantile(tail, freedom) == pytest.approx(t, abs=6e-4)
    assert student_tail(student_quantile(tail, freedom), freedom) == pytest.approx(tail)


def test_the_ends_of_the_beta_function() -> None:
    assert regularised_beta(0, 2, 3) == 0
    assert regularised_beta(1, 2, 3) == 1
    assert regularised_beta(0.5, 3, 3) == pytest.approx(0.5)


def test_large_counts_keep_their_precision() -> None:
    assert binomial_at_most(5_000_000, 10_000_000, 0.5) == pytest.approx(0.5, abs=2e-4)


def test_tails_far_out_do_not_vanish() -> None:
    assert 0 < normal_tail(20) < 1e-80
    assert normal_tail(normal_quantile(0.001)) == pytest.approx(0.001)
    assert student_tail(float("inf"), 5) == 0
    assert student_tail(-1.0, 5) == pytest.approx(1 - student_tail(1.0, 5))
