"""
The error rates of the decision procedure, by simulation, with generous bounds.

``benchmarks/gate_simulation.py`` runs the same trials many more times, and prints the table.
"""

from __future__ import annotations

from typing import Any

import pytest
from gate_trials import Design, run_trials

QUICK: dict[str, Any] = {"looks": (24, 48), "per_block": 15}


@pytest.mark.parametrize(
    "noise", ["log-normal .08", "two modes 50/50", "shared AR .9 of 10 %", "step of 20 %", "ties"]
)
def test_equal_arms_never_fail_on_any_noise(noise: str) -> None:
    found = run_trials(Design(noise, **QUICK), 30, seed=1)
    assert found["fail"] == 0


@pytest.mark.parametrize("noise", ["own AR .9 of 5 %", "own AR .9 of 10 %"])
def test_an_arm_that_drifts_by_itself_is_not_blamed(noise: str) -> None:
    found = run_trials(Design(noise, **QUICK), 60, seed=2)
    assert found["fail"] <= 0.05


def test_ten_percent_more_is_found_on_ordinary_noise_and_never_passed() -> None:
    found = run_trials(Design("log-normal .35", effect=0.10), 30, seed=3)
    assert found["fail"] >= 0.8
    assert found["pass"] == 0


def test_equal_arms_pass_on_ordinary_noise() -> None:
    assert run_trials(Design("log-normal .35"), 30, seed=4)["pass"] >= 0.8


def test_twenty_milliseconds_more_are_found_at_once_on_a_quiet_target() -> None:
    found = run_trials(Design("log-normal .08", added_ms=20.0, looks=(24,)), 20, seed=5)
    assert found["fail"] == 1


def test_exactly_the_margin_fails_at_most_at_about_the_nominal_rate() -> None:
    found = run_trials(Design("log-normal .08", effect=0.05, **QUICK), 80, seed=6)
    assert found["fail"] <= 0.12
    assert found["pass"] <= 0.12
