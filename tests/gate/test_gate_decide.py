"""The decision procedure: looks spend alpha once, Holm steps down, errors are counted exactly."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.gate.decide import decide, holm, levels_of
from loadtest.gate.errors import share_interval


@pytest.mark.parametrize("looks", [1, 2, 3, 10])
def test_looks_together_spend_no_more_than_alpha(looks: int) -> None:
    spent = sum(levels_of(0.05, look, looks).side for look in range(1, looks + 1))
    assert spent == pytest.approx(0.05)


def test_a_single_look_has_all_of_alpha() -> None:
    assert levels_of(0.05, 1, 1).side == 0.05
    assert levels_of(0.05, 1, 1).coverage == pytest.approx(0.9)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.04, 0.001], 0.05) == [True, True]
    assert holm([], 0.05) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_holm_rejects_no_less_than_bonferroni_and_no_more_than_raw(p_values: list[float]) -> None:
    for p, rejected in zip(p_values, holm(p_values, 0.05), strict=True):
        assert rejected or p > 0.05 / len(p_values)
        assert p <= 0.05 or not rejected


@pytest.mark.parametrize(
    ("p_fail", "p_pass", "fails", "decision"),
    [
        (0.001, 0.9, True, "fail"),
        (0.9, 0.001, False, "pass"),
        (0.2, 0.3, False, "inconclusive"),
        (0.001, 0.9, False, "inconclusive"),
    ],
)
def test_decisions(p_fail: float, p_pass: float, fails: bool, decision: str) -> None:
    assert decide(p_fail, p_pass, fails=fails, levels=levels_of(0.05, 1, 1)) == decision


@given(st.integers(1, 200), st.data())
@settings(max_examples=50, deadline=None)
def test_limits_of_a_share_invert_the_exact_tails(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    low, high = (Fraction(edge) for edge in share_interval(count, n, 0.9))
    assert low <= Fraction(count, n) <= high
    if count < n:
        tail = sum(comb(n, i) * high**i * (1 - high) ** (n - i) for i in range(count + 1))
        assert float(tail) == pytest.approx(0.05, rel=1e-6)
    if count:
        tail = sum(comb(n, i) * low**i * (1 - low) ** (n - i) for i in range(count, n + 1))
        assert float(tail) == pytest.approx(0.05, rel=1e-6)


def test_the_rule_of_three() -> None:
    assert share_interval(0, 300, 0.9)[1] == pytest.approx(0.00994, abs=1e-4)
    assert share_interval(5, 5, 0.9)[1] == 1.0
