"""What a run will be able to tell is reckoned from a pilot's noise, and holds in trials."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gate_trials import PLAN

from loadtest.gate.foresight import Foresight, foresee
from loadtest.plan.model import Plan
from loadtest.plan.resolve import resolve_plan
from loadtest.run.pilot import foreseen_words

Noise = Callable[[np.random.Generator, int], np.ndarray]


@pytest.fixture(scope="module")
def plan() -> Plan:
    arms = [{"name": n, "url": f"http://127.0.0.1:{p}"} for n, p in (("base", 1), ("candidate", 2))]
    raw = {key: value for key, value in PLAN.items() if key != "paths"}
    return resolve_plan({**raw, "deployments": arms})


def lognormal(sigma: float) -> Noise:
    return lambda rng, n: np.exp(sigma * rng.standard_normal(n))


def two_modes(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random(n) < 0.5, 3.0, 1.0) * lognormal(0.05)(rng, n)


def foreseen(plan: Plan, noise: Noise, n: int = 45) -> Foresight | None:
    rng = np.random.default_rng(3)
    cells = [(region, arm) for region in plan.regions for arm in ("base", "candidate")]
    return foresee(plan, {cell: (100 * noise(rng, n)).tolist() for cell in cells})


def test_a_quiet_target_is_decided_as_soon_as_blocks_can_show_rare_trouble(plan: Plan) -> None:
    found = foreseen(plan, lognormal(0.05))
    assert found is not None
    assert (found.passes_after_s, found.longest_s) == (60.0, 240.0)
    assert [one.measure for one in found.finds][:2] == ["ttfb.p50", "ttfb.p95"]
    assert 0.05 < found.finds[0].share < 0.08
    assert foreseen_words(found).startswith("by the pilot's noise a candidate slower by ttfb.p50 +")
    assert foreseen_words(found).endswith("an equal one passes after about 60 s")


def test_ordinary_noise_takes_the_looks_that_the_plan_was_sized_for(plan: Plan) -> None:
    """The same noise passes equal arms in 95 of 100 trials, and finds 10 % everywhere in all."""
    found = foreseen(plan, lognormal(0.35))
    assert found is not None
    assert found.passes_after_s is not None
    assert 60 <= found.passes_after_s <= 240
    assert 0.08 < found.finds[0].share < 0.15


@pytest.mark.parametrize("noise", [lognormal(1.2), two_modes])
def test_noise_that_cannot_be_decided_is_told_before_the_load(plan: Plan, noise: Noise) -> None:
    found = foreseen(plan, noise)
    assert found is not None
    assert found.passes_after_s is None
    assert "stays undecided within 240 s" in foreseen_words(found)
    assert "--looks" in foreseen_words(found)


def test_nothing_is_foreseen_of_too_few_values_or_without_a_rule(plan: Plan) -> None:
    assert foreseen(plan, lognormal(0.1), n=9) is None
    assert foresee(plan.model_copy(update={"thresholds": ("ttfb.p50 < 300ms",)}), {}) is None


def test_a_pilot_reckons_the_same_each_time(plan: Plan) -> None:
    assert foreseen(plan, lognormal(0.35)) == foreseen(plan, lognormal(0.35))
