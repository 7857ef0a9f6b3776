"""Jumps in short histories: told from six runs on, and hardly ever where there are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.analysis.history import MIN_ORDERED, MIN_PART, MIN_RUNS, change_points
from loadtest.analysis.jumps import SIGNIFICANCE, _cuts, _tail, find_jumps

Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]
SHORT = (MIN_RUNS, 8, 10, MIN_ORDERED - 1)


def runs(seed: int, *levels: tuple[int, float], sd: float = 1.0) -> NDArray[np.float64]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.concatenate([generator.normal(level, sd, n) for n, level in levels])


def places(values: NDArray[np.float64]) -> list[int]:
    return [one.index for one in change_points([(f"r{i}", float(v)) for i, v in enumerate(values)])]


@pytest.mark.parametrize(
    ("levels", "cuts"),
    [
        (((3, 76.0), (3, 154.0)), [3]),
        (((7, 76.0), (3, 154.0)), [7]),
        (((3, 154.0), (7, 76.0)), [3]),
        (((5, 76.0), (5, 154.0)), [5]),
        (((3, 76.0), (4, 154.0), (3, 76.0)), [3, 7]),
        (((3, 76.0), (3, 154.0), (3, 300.0)), [3, 6]),
        (((4, 76.0), (3, 154.0), (3, 76.0), (4, 154.0)), [4, 7, 10]),
    ],
)
def test_a_jump_far_outside_the_noise_is_told_from_six_runs_on(
    levels: tuple[tuple[int, float], ...], cuts: list[int]
) -> None:
    for seed in range(10):
        assert places(runs(seed, *levels)) == cuts


def test_two_runs_at_another_level_are_weather() -> None:
    assert places(runs(1, (8, 76.0), (2, 154.0))) == []
    assert places(runs(1, (4, 76.0), (1, 400.0), (5, 76.0))) == []


@pytest.mark.parametrize(("n", "at", "spreads"), [(6, 3, 12), (8, 4, 8), (10, 7, 7), (14, 11, 6)])
def test_how_far_a_jump_must_be(n: int, at: int, spreads: int) -> None:
    drawn = [runs(seed, (at, 1000.0), (n - at, 1000.0 + 10 * spreads), sd=10) for seed in range(20)]
    assert sum(places(values) == [at] for values in drawn) >= 17


def contaminated(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return noise in which one run of ten is twenty times as far off."""
    return generator.normal(0, 1, n) * np.where(generator.random(n) < 0.1, 20, 1)


@pytest.mark.parametrize(
    "noise",
    [
        lambda generator, n: generator.normal(0, 1, n),
        lambda generator, n: generator.standard_t(3, n),
        lambda generator, n: generator.standard_cauchy(n),
        lambda generator, n: np.round(generator.normal(0, 1, n)),
        contaminated,
    ],
    ids=["normal", "t of 3", "Cauchy", "in whole steps", "one in ten far off"],
)
def test_noise_of_any_tail_has_no_jumps(noise: Noise) -> None:
    generator = np.random.Generator(np.random.PCG64(11))
    false = sum(
        find_jumps(1000 + 10 * noise(generator, n), MIN_PART) is not None
        for n in SHORT
        for _ in range(25)
    )
    assert false <= 1  # 100 histories, each with at most one chance in a thousand


def test_values_without_any_noise_are_given_some() -> None:
    assert find_jumps(np.array([75.7] * 5 + [75.8] * 5), MIN_PART) is None
    assert find_jumps(np.array([75.7] * 5 + [85.7] * 5), MIN_PART) is not None
    assert find_jumps(np.zeros(10), MIN_PART) is None
    assert find_jumps(np.array([0.0] * 7 + [5.0] * 3), MIN_PART) is not None
    assert find_jumps(np.array([1e308] * 5 + [1.001e308] * 5), MIN_PART) is None


@pytest.mark.parametrize(("n", "ways"), [(5, 0), (6, 1), (9, 5), (14, 40)])
def test_every_way_to_cut_is_tried_and_no_part_is_too_short(n: int, ways: int) -> None:
    found = [way for k in range(1, n // MIN_PART) for way in _cuts(n, k, MIN_PART)]
    assert len(found) == len(set(found)) == ways
    assert all(min(np.diff([0, *way, n])) >= MIN_PART for way in found)


def test_the_tail_is_that_of_tables() -> None:
    # F(1, 4) = 74.137 and F(2, 7) = 21.689 at 0.001 (Fisher and Yates).
    assert _tail(74.137 / 4, 1, 4) == pytest.approx(SIGNIFICANCE, rel=1e-3)
    assert _tail(21.689 * 2 / 7, 2, 7) == pytest.approx(SIGNIFICANCE, rel=1e-3)
