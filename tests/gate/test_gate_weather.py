"""Intervals of one arm: what tables print and limits are judged by allows for weather and shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked, blocked
from loadtest.analysis.percentiles import describe
from loadtest.analysis.worth import with_weather
from loadtest.gate.absolute import against_limit
from loadtest.gate.decide import Levels
from loadtest.plan.threshold_parser import parse_threshold

Noise = Callable[[np.random.Generator, NDArray[np.int64]], NDArray[np.float64]]
TRIALS = 150
SIDE = 0.025


def calm(rng: np.random.Generator, group: NDArray[np.int64]) -> NDArray[np.float64]:
    return 100 * np.exp(rng.normal(0, 0.35, group.size))


def weather(rng: np.random.Generator, group: NDArray[np.int64]) -> NDArray[np.float64]:
    levels = rng.normal(0, 0.15, int(group.max()) + 1)
    return calm(rng, group) * np.asarray(np.exp(levels[group]), np.float64)


def two_modes(rng: np.random.Generator, group: NDArray[np.int64]) -> NDArray[np.float64]:
    fast = rng.random(group.size) < 0.5
    return np.where(fast, 20.0, 200.0) * np.exp(rng.normal(0, 0.1, group.size))


def heavy(rng: np.random.Generator, group: NDArray[np.int64]) -> NDArray[np.float64]:
    return 20 * (1 + rng.pareto(1.5, group.size))


def samples(noise: Noise, blocks: int, each: int) -> list[Blocked]:
    rng = np.random.default_rng(20)
    group = np.repeat(np.arange(blocks), each)
    return [blocked(noise(rng, group), group.astype(np.int32), blocks) for _ in range(TRIALS)]


@pytest.mark.parametrize(
    ("noise", "truth"),
    [(calm, 100.0), (weather, 100.0), (two_modes, 60.0), (heavy, 20 * 2 ** (1 / 1.5))],
)
@pytest.mark.parametrize(("blocks", "each"), [(30, 6), (60, 15), (120, 30)])
def test_a_median_on_its_limit_is_neither_passed_nor_failed(
    noise: Noise, truth: float, blocks: int, each: int
) -> None:
    rule = parse_threshold(f"ttfb.p50 < {truth}ms")
    found = [against_limit(rule, one, Levels(SIDE)) for one in samples(noise, blocks, each)]

    assert sum(one.p_pass <= SIDE for one in found) <= 0.06 * TRIALS
    assert sum(one.p_fail <= SIDE for one in found) <= 0.06 * TRIALS


@pytest.mark.parametrize("noise", [calm, weather])
def test_a_limit_that_is_far_is_passed(noise: Noise) -> None:
    rule = parse_threshold("ttfb.p50 < 200ms")
    found = [against_limit(rule, one, Levels(SIDE)) for one in samples(noise, 30, 6)]

    assert sum(one.p_pass <= SIDE for one in found) >= 0.95 * TRIALS


def test_an_answer_within_a_tick_of_the_clock_leaves_the_others_their_say() -> None:
    """A server beside the client may answer in no time at all, once."""
    rng = np.random.default_rng(21)
    values = 0.05 * np.exp(np.repeat(rng.normal(0, 0.3, 12).cumsum(), 15) + rng.normal(0, 0.1, 180))
    values[7] = 0.0
    sample = blocked(values, np.repeat(np.arange(12), 15).astype(np.int32), 12)
    found = against_limit(parse_threshold("ttfb.p50 < 10s"), sample, Levels(SIDE))

    assert found.drifts
    assert found.p_pass <= SIDE
    assert found.high < 10_000


@pytest.mark.parametrize(("p", "truth"), [(50.0, 100.0), (95.0, 100 * np.exp(1.645 * 0.3808))])
def test_the_interval_of_a_table_holds_the_truth_under_weather(p: float, truth: float) -> None:
    held = 0
    for one in samples(weather, 60, 15):
        quantile = with_weather(describe(one.values), one).get(p)
        assert quantile is not None
        assert quantile.low <= quantile.value <= quantile.high
        held += quantile.low <= truth <= quantile.high

    assert held >= 0.92 * TRIALS


def test_an_interval_that_blocks_cannot_close_is_open() -> None:
    one = blocked(np.arange(1.0, 121.0), np.repeat([0, 1], 60).astype(np.int32), 2)
    quantile = with_weather(describe(one.values), one).get(95)

    assert quantile is not None
    assert quantile.high == np.inf
