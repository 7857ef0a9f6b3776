"""
Trials of the gate's decision on made-up arms: the very code of the gate, without files or sockets.

The weather of ``statistics``: log-normal request noise (sigma 0.35), and a slow drift of AR(1) with
120 s memory that both arms of a region share; 10 minutes, 3 000 requests an arm and look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from loadtest.analysis.blocks import MAX_GROUPS, Blocked, blocked
from loadtest.analysis.bootstrap import draw_weights
from loadtest.gate.decide import Levels, decide, holm, levels_of
from loadtest.gate.pairs import Arm, baseline
from loadtest.gate.results import Decision
from loadtest.plan.model import Gate
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import Threshold

SECONDS = 600
PER_ARM = 3_000
SIGMA = 0.35
MEMORY_S = 120.0
MEDIAN_MS = 100.0


@dataclass(frozen=True)
class Design:
    """What is judged and how: the rules, the gate's settings, the weather."""

    rules: tuple[str, ...] = (
        "ttfb.p50 within margin of baseline",
        "ttfb.p95 within margin of baseline",
    )
    gate: Gate = field(default_factory=Gate)
    drift: float = 0.05
    effect: float = 0.0
    """How much slower the candidate is, as a share of every request."""
    per_arm: int = PER_ARM


@dataclass
class Tally:
    """Decisions by rule and look, and the gate's own by look."""

    rules: list[list[list[Decision]]] = field(default_factory=list)

    def share(self, decision: Decision, *, rule: int | None = None, look: int = 0) -> float:
        """Return the share of trials with a decision at a look or before it was reached."""
        hits = 0
        for trial in self.rules:
            last = trial[min(look, len(trial) - 1)]
            hits += (last[rule] if rule is not None else overall(last)) == decision
        return hits / len(self.rules)


def overall(decisions: list[Decision]) -> Decision:
    """Return the gate's word on one look."""
    order: tuple[Decision, ...] = ("fail", "inconclusive", "pass")
    return next(decision for decision in order if decision in decisions)


def run_trials(design: Design, trials: int, seed: int) -> Tally:
    """Run seeded trials; each extends as the plan allows while the gate is undecided."""
    rules = tuple(parse_threshold(text) for text in design.rules)
    tally = Tally()
    for trial in range(trials):
        generator = np.random.Generator(np.random.PCG64([seed, trial]))
        looks: list[list[Decision]] = []
        for arms in _looks(design, generator):
            levels = levels_of(design.gate.alpha, len(looks) + 1, design.gate.max_looks)
            looks.append(_judge(design, rules, arms, levels, seed + trial))
            if overall(looks[-1]) != "inconclusive":
                break
        tally.rules.append(looks)
    return tally


def _looks(design: Design, generator: np.random.Generator) -> Iterator[tuple[Blocked, Blocked]]:
    """Yield candidate and base with all that was sampled up to each look."""
    values: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    times: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    level = generator.normal(0.0, design.drift)
    for look in range(design.gate.max_looks):
        drift, level = _drift(design.drift, level, generator)
        for arm, factor in enumerate((1.0 + design.effect, 1.0)):
            at = np.sort(generator.random(design.per_arm)) * SECONDS
            noise = generator.normal(0.0, SIGMA, design.per_arm)
            weather = np.interp(at, np.arange(drift.size), drift)
            values[arm].append(MEDIAN_MS * factor * np.exp(noise + weather))
            times[arm].append(at + look * SECONDS)
        total = (look + 1) * SECONDS
        candidate, base = (
            blocked(
                np.concatenate(values[arm]),
                (np.concatenate(times[arm]) * MAX_GROUPS / total).astype(np.int32),
                MAX_GROUPS,
            )
            for arm in (0, 1)
        )
        yield candidate, base


def _drift(spread: float, level: float, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    keep = math.exp(-1.0 / MEMORY_S)
    shocks = generator.normal(0.0, spread * math.sqrt(1 - keep * keep), SECONDS + 1)
    drift = np.empty(SECONDS + 1)
    for second in range(SECONDS + 1):
        level = keep * level + shocks[second]
        drift[second] = level
    return drift, level


def _judge(
    design: Design,
    rules: tuple[Threshold, ...],
    arms: tuple[Blocked, Blocked],
    levels: Levels,
    seed: int,
) -> list[Decision]:
    weights = draw_weights(MAX_GROUPS, design.gate.resamples, seed, "cdg")
    found = []
    for rule in rules:
        candidate, base = (Arm.of(arm, weights, rule.measure) for arm in arms)
        found.append(baseline(rule, candidate, base, MAX_GROUPS, gate=design.gate, levels=levels))
    rejected = holm([evidence.p_fail for evidence in found], levels.side)
    return [
        decide(evidence.p_fail, evidence.p_pass, fails=fails, levels=levels)
        for evidence, fails in zip(found, rejected, strict=True)
    ]
