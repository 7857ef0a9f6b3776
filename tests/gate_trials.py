"""
Trials of the gate's decision on made-up arms: the very code of the gate, without files or sockets.

Three regions, two rules (p50 within 5 % or 5 ms, p95 within 10 % or 10 ms), blocks of one second.
Nine noises: log-normal of three widths, a heavy tail, two modes apart and even, weather that both
arms share, drift of one arm, steps, and values of a coarse clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked, blocked
from loadtest.analysis.scores import (
    DRIFT_PENALTY,
    WIDE_BELOW,
    Score,
    drifts,
    of_series,
    rank_series,
    score,
    slowed,
)
from loadtest.gate.decide import decide, holm, levels_of
from loadtest.gate.results import Decision

REGIONS = 3
MEDIAN_MS = 100.0
RULES = ((50.0, 0.05, 5.0), (95.0, 0.10, 10.0))
Values = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int], Values]
"""(generator, blocks, requests) -> factors of shape (arms, blocks, requests)."""


def lognormal(sigma: float) -> Noise:
    return lambda g, blocks, per: np.exp(g.normal(0, sigma, (2, blocks, per)))


def _pareto(g: np.random.Generator, blocks: int, per: int) -> Values:
    return np.asarray(1 + 0.1 * g.pareto(1.5, (2, blocks, per)))


def _modes(share: float) -> Noise:
    def noise(g: np.random.Generator, blocks: int, per: int) -> Values:
        slow = g.random((2, blocks, per)) < share
        return np.where(slow, 3.0, 1.0) * np.exp(g.normal(0, 0.05, (2, blocks, per)))

    return noise


def ar1(g: np.random.Generator, arms: int, blocks: int, rho: float) -> Values:
    """Return drifts of unit spread, one a row."""
    steps = g.normal(0, 1, (arms, blocks))
    for i in range(1, blocks):
        steps[:, i] = rho * steps[:, i - 1] + math.sqrt(1 - rho**2) * steps[:, i]
    return np.asarray(steps)


def drifting(sigma: float, spread: float, rho: float, *, own: bool) -> Noise:
    """Return noise with a drift that both arms share, or that each has for itself."""

    def noise(g: np.random.Generator, blocks: int, per: int) -> Values:
        level = spread * ar1(g, 2 if own else 1, blocks, rho)
        return np.exp(g.normal(0, sigma, (2, blocks, per)) + level[:, :, None])

    return noise


def _step(g: np.random.Generator, blocks: int, per: int) -> Values:
    level = np.where(np.arange(blocks) < g.integers(1, blocks), 0.0, 0.2)
    return np.exp(g.normal(0, 0.1, (2, blocks, per)) + level[None, :, None])


def _ties(g: np.random.Generator, blocks: int, per: int) -> Values:
    return np.asarray(np.ceil(20 * np.exp(g.normal(0, 0.08, (2, blocks, per)))) / 20)


NOISES: dict[str, Noise] = {
    "log-normal .08": lognormal(0.08),
    "log-normal .35": lognormal(0.35),
    "log-normal .8": lognormal(0.8),
    "Pareto 1.5": _pareto,
    "two modes 80/20": _modes(0.2),
    "two modes 50/50": _modes(0.5),
    "shared AR .9 of 10 %": drifting(0.08, 0.10, 0.9, own=False),
    "own AR .9 of 3 %": drifting(0.08, 0.03, 0.9, own=True),
    "own AR .9 of 5 %": drifting(0.08, 0.05, 0.9, own=True),
    "own AR .9 of 10 %": drifting(0.08, 0.10, 0.9, own=True),
    "step of 20 %": _step,
    "ties": _ties,
}


@dataclass(frozen=True)
class Design:
    """
    What is judged.

    Args:
        noise: One of NOISES.
        effect: How much slower the candidate is, as a share.
        added_ms: The same, as an amount.
        regions: In how many regions it is.
        looks: Blocks at each look.
        per_block: Requests of an arm and block.
    """

    noise: str
    effect: float = 0.0
    added_ms: float = 0.0
    regions: int = REGIONS
    looks: tuple[int, ...] = (30, 60, 90, 120, 150, 180, 210, 240)
    per_block: int = 15


def run_trials(design: Design, trials: int, seed: int) -> dict[Decision, float]:
    """Return the shares of each decision among seeded trials."""
    decisions = [
        _trial(design, np.random.Generator(np.random.PCG64([seed, trial])))
        for trial in range(trials)
    ]
    return {d: decisions.count(d) / trials for d in ("pass", "fail", "inconclusive")}


def _trial(design: Design, generator: np.random.Generator) -> Decision:
    data = []
    for region in range(REGIONS):
        values = MEDIAN_MS * NOISES[design.noise](generator, design.looks[-1], design.per_block)
        if region < design.regions:
            values[0] = values[0] * (1 + design.effect) + design.added_ms
        data.append(values)
    decision: Decision = "inconclusive"
    for look, blocks in enumerate(design.looks, 1):
        arms = [tuple(_sample(values[arm, :blocks]) for arm in (0, 1)) for values in data]
        decision = _judge(arms, look, len(design.looks))
        if decision != "inconclusive":
            break
    return decision


def _sample(values: Values) -> Blocked:
    blocks, per = values.shape
    return blocked(values.ravel(), np.repeat(np.arange(blocks), per).astype(np.int32), blocks)


def _judge(arms: list[tuple[Blocked, ...]], look: int, looks: int) -> Decision:
    levels = levels_of(0.05, look, looks)
    drift = drifts([rank_series(arm, base) for arm, base in arms])
    wide = drift or arms[0][0].groups < WIDE_BELOW
    penalty = DRIFT_PENALTY if drift else 1.0
    cells: list[Score] = []
    together: list[float] = []
    for percentile, share, absolute in RULES:
        found = [
            score(arm, slowed(base, share, absolute), percentile, wide=wide) for arm, base in arms
        ]
        mean = np.asarray(np.mean([one.series for one in found], axis=0))
        floor = math.fsum(one.floor for one in found) / len(found) ** 2
        together.append(min(1.0, penalty * of_series(mean, floor, wide=wide).p_fail))
        cells += found
    p_fail = [min(1.0, penalty * one.p_fail) for one in cells]
    rejected = holm([*p_fail, *together], levels.side)
    if any(rejected):
        return "fail"
    passes = [
        decide(p, min(1.0, penalty * one.p_pass), fails=False, levels=levels) == "pass"
        for p, one in zip(p_fail, cells, strict=True)
    ]
    return "pass" if all(passes) else "inconclusive"
