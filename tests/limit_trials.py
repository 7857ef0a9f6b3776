"""Seeded runs of one target, judged by a percentile against a fixed limit: how often wrongly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from gate_trials import MEDIAN_MS, ar1

from loadtest.analysis.blocks import blocked, group_blocks
from loadtest.gate.absolute import against_limit, met_against_limit
from loadtest.gate.decide import levels_of
from loadtest.plan.threshold_parser import parse_threshold


@dataclass(frozen=True)
class LimitDesign:
    """
    A percentile against a fixed limit: blocks of a second, of which some are three times slower.

    Args:
        percentile: Which one, 0 to 100.
        slow: Share of blocks that are slow.
        sigma: Of the log-normal times.
        looks: Blocks at each look.
        per_block: Requests of a block.
        room: The limit, as a multiple of the percentile without any slow block.
        weather: Spread of the logarithms of blocks' levels.
        rho: How much of its level a block has from the one before it.
    """

    percentile: float = 95.0
    slow: float = 0.0
    sigma: float = 0.08
    looks: tuple[int, ...] = (30,)
    per_block: int = 5
    room: float = 1.3
    weather: float = 0.0
    rho: float = 0.0


def limit_trials(
    design: LimitDesign, trials: int, seed: int, *, believing: bool = False
) -> tuple[float, float]:
    """
    Return how often a rule on a limit passes and fails.

    Args:
        design: What is judged.
        trials: How many runs.
        seed: Of their times.
        believing: Suppose no trouble beyond that seen, as a procedure before this one did.
    """
    judge_one = met_against_limit if believing else against_limit
    whole = NormalDist(0.0, math.hypot(design.sigma, design.weather))
    limit_ms = MEDIAN_MS * design.room * math.exp(whole.inv_cdf(design.percentile / 100))
    rule = parse_threshold(f"ttfb.p{design.percentile:g} < {limit_ms:.3f}ms")
    passed = failed = 0
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        shape = (design.looks[-1], design.per_block)
        level = design.weather * ar1(rng, 1, shape[0], design.rho)[0]
        level += np.where(rng.random(shape[0]) < design.slow, math.log(3.0), 0.0)
        times = MEDIAN_MS * np.exp(rng.normal(0, design.sigma, shape) + level[:, None])
        for look, blocks in enumerate(design.looks, 1):
            cut = group_blocks(np.arange(blocks))
            group = np.repeat(cut.group, design.per_block)
            sample = blocked(times[:blocks].ravel(), group, cut.groups, cut.joined)
            levels = levels_of(0.05, look, len(design.looks))
            found = judge_one(rule, sample, levels)
            if min(found.p_pass, found.p_fail) <= levels.side:
                passed += found.p_pass <= levels.side
                failed += found.p_fail <= levels.side
                break
    return passed / trials, failed / trials
