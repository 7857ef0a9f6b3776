"""
Trials of the gate's decision on made-up arms: the very code of the gate, without files or sockets.

The rules, margins and error rates are those of the committed gate plan; only the samples are made
up: three regions, blocks of one second, one database round trip a page, no error.  The noises:
log-normal of three widths, heavy tails, two modes apart and even, weather that both arms share,
drift of one arm, steps, coarse clocks, the course of a day, and a region that is slow.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked, blocked
from loadtest.analysis.bootstrap import Weights, draw_weights
from loadtest.analysis.cells import CellRows
from loadtest.gate.decide import Levels, levels_of
from loadtest.gate.errors import Failures, supposed_cluster
from loadtest.gate.judgement import decide_family
from loadtest.gate.questions import Question
from loadtest.gate.results import Decision
from loadtest.gate.shares import judge_share
from loadtest.plan.model import Gate
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM, Measure

PLAN = tomllib.loads(
    (Path(__file__).parent.parent / "scenarios" / "gate.toml").read_text(encoding="utf-8")
)
REGIONS = len(PLAN["regions"])
MEDIAN_MS = 100.0
RULES = tuple(map(parse_threshold, PLAN["thresholds"]))
GATE = Gate(**PLAN["gate"])
Values = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int], Values]
"""(generator, blocks, requests) -> factors of shape (arms, blocks, requests)."""


def lognormal(sigma: float) -> Noise:
    return lambda g, blocks, per: np.exp(g.normal(0, sigma, (2, blocks, per)))


def _pareto(shape: float) -> Noise:
    return lambda g, blocks, per: np.asarray(1 + 0.1 * g.pareto(shape, (2, blocks, per)))


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


def _course_of_a_day(g: np.random.Generator, blocks: int, per: int) -> Values:
    """Both arms become slower and quicker by a third, beginning at any hour."""
    hour = np.arange(blocks) / blocks + g.random()
    level = 0.3 * np.sin(2 * np.pi * hour)
    return np.exp(g.normal(0, 0.08, (2, blocks, per)) + level[None, :, None])


def _some_slow(g: np.random.Generator, blocks: int, per: int) -> Values:
    """One region of four takes four times as long, in both arms."""
    slow = 4.0 if g.random() < 0.25 else 1.0
    return slow * np.exp(g.normal(0, 0.08, (2, blocks, per)))


def rarely_slow(sigma: float, share: float) -> Noise:
    """Return noise in which a share of the candidate's blocks takes three times as long."""

    def noise(g: np.random.Generator, blocks: int, per: int) -> Values:
        values = lognormal(sigma)(g, blocks, per)
        values[0] *= np.where(g.random(blocks) < share, 3.0, 1.0)[:, None]
        return values

    return noise


def _quiet(g: np.random.Generator, blocks: int, per: int) -> Values:
    """Hardly any noise, at a level that lies anywhere between two ticks of a coarse clock."""
    return np.exp(g.normal(0, 0.03, (2, blocks, per)) + g.uniform(-0.05, 0.05))


NOISES: dict[str, Noise] = {
    "log-normal .08": lognormal(0.08),
    "log-normal .35": lognormal(0.35),
    "log-normal .8": lognormal(0.8),
    "Pareto 1.5": _pareto(1.5),
    "Pareto 1.1": _pareto(1.1),
    "two modes 80/20": _modes(0.2),
    "two modes 70/30": _modes(0.3),
    "two modes 50/50": _modes(0.5),
    "shared AR .9 of 10 %": drifting(0.08, 0.10, 0.9, own=False),
    "own AR .9 of 3 %": drifting(0.08, 0.03, 0.9, own=True),
    "own AR .9 of 5 %": drifting(0.08, 0.05, 0.9, own=True),
    "own AR .9 of 10 %": drifting(0.08, 0.10, 0.9, own=True),
    "own AR .7 of 5 %": drifting(0.08, 0.05, 0.7, own=True),
    "own AR .98 of 5 %": drifting(0.08, 0.05, 0.98, own=True),
    "step of 20 %": _step,
    "ties": _ties,
    "clock of 1 ms": _quiet,
    "clock of 10 ms": lognormal(0.08),
    "course of a day": _course_of_a_day,
    "one slow region of four": _some_slow,
    "6 % slow blocks of .08": rarely_slow(0.08, 0.06),
    "6 % slow blocks of .35": rarely_slow(0.35, 0.06),
}
CLOCK_MS = {"clock of 1 ms": 1.0, "clock of 10 ms": 10.0}
"""Ticks of the clock that a noise is read by."""


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
    data: dict[tuple[str, str], Values] = {}
    for number, region in enumerate(PLAN["regions"]):
        values = MEDIAN_MS * NOISES[design.noise](generator, design.looks[-1], design.per_block)
        if number < design.regions:
            values[0] = values[0] * (1 + design.effect) + design.added_ms
        if tick_ms := CLOCK_MS.get(design.noise):
            values = np.floor(values / tick_ms) * tick_ms
        data[region, CANDIDATE_ARM], data[region, BASE_ARM] = values
    decision: Decision = "inconclusive"
    for look, blocks in enumerate(design.looks, 1):
        looked = {key: values[:blocks] for key, values in data.items()}
        decision = _decision(MadeUp(looked), look, len(design.looks))
        if decision != "inconclusive":
            break
    return decision


@dataclass(frozen=True)
class MadeUp:
    """Samples of cells by region and arm: times to first byte, by block and request."""

    values: Mapping[tuple[str, str], Values]

    def sample(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        (cell,) = cells
        values = self.values[cell.region, cell.deployment]
        if measure.unit != "ms":  # one round trip a page
            values = np.ones_like(values)
        blocks, per = values.shape
        return blocked(values.ravel(), np.repeat(np.arange(blocks), per).astype(np.int32), blocks)

    def at_once(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        return self.sample(cells, measure)

    def failures(self, cells: tuple[CellRows, ...], metric: str) -> Failures:
        (cell,) = cells
        blocks, per = self.values[cell.region, cell.deployment].shape
        assert metric == "errors"
        return Failures(np.zeros(blocks), np.full(blocks, float(per)))

    def weights(self, cells: tuple[CellRows, ...]) -> Weights:
        (cell,) = cells
        return _weights(self.values[cell.region, cell.deployment].shape[0], cell.region)

    def pages_on_links(self, cells: tuple[CellRows, ...]) -> Mapping[str, float]:
        return {}


@cache
def _weights(groups: int, region: str) -> Weights:
    return draw_weights(groups, GATE.resamples, 1, region)


def _cell(region: str, arm: str) -> CellRows:
    return CellRows(region, arm, "pages", np.arange(1, dtype=np.int32))


QUESTIONS = tuple(
    [
        Question(
            rule, region, CANDIDATE_ARM, "pages",
            (_cell(region, CANDIDATE_ARM),), (_cell(region, BASE_ARM),),
        )
        for region in PLAN["regions"]
    ]
    for rule in RULES
)  # fmt: skip


def _decision(samples: MadeUp, look: int, looks: int) -> Decision:
    """Return what the gate says at a look: its own family of rules, cells and error rates."""
    found = decide_family(QUESTIONS, samples, GATE, levels_of(GATE.alpha, look, looks))
    decisions = {one.decision for judged in found.rules for one in judged}
    if found.together or "fail" in decisions:
        return "fail"
    return "pass" if decisions == {"pass"} else "inconclusive"


def clustered_failures(
    seed: int, *, share: float, size: int, seconds: int, rate: int = 15
) -> Failures:
    """Return failures that come ``size`` in a row, a share of all requests."""
    rng = np.random.default_rng([seed, size])
    n = rate * seconds
    failed = np.zeros(n)
    for first in rng.integers(0, n, rng.binomial(n, share / size)):
        failed[first : first + size] = 1
    return Failures.by_second(failed, np.arange(n) // rate)


def share_trials(
    share: float, size: int, seconds: int, *, trials: int, believing: bool = False
) -> tuple[float, float]:
    """
    Return how often ``errors < 1%`` passes and fails at 5 % a side.

    Args:
        share: True share of failures.
        size: How many come together.
        seconds: Length of each run, of 15 requests a second.
        trials: How many runs.
        believing: Suppose no clusters beyond those seen, as a procedure before this one did.
    """
    rule, passed, failed = parse_threshold("errors < 1%"), 0, 0
    for seed in range(trials):
        found = clustered_failures(seed, share=share, size=size, seconds=seconds)
        supposed = found.cluster if believing else supposed_cluster(found)
        one = judge_share(rule, found, Levels(0.05), supposed)
        passed += one.p_pass <= 0.05
        failed += one.p_fail <= 0.05
    return passed / trials, failed / trials
