"""
From samples to evidence: what a rule compares, its interval, and how likely chance is.

Every rule is brought to one form, an excess that is positive when the rule is broken: value minus
limit, arm minus factor times other arm, candidate minus base minus margin.  The excess is resampled
by blocks.  An absolute rule on a percentile is judged by the exact sign test too, and the weaker of
the two pieces of evidence counts: the one knows of weather, the other of small samples.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.bootstrap import Weights, resample, weigh
from loadtest.analysis.percentiles import interval_ranks
from loadtest.analysis.special import binomial_at_least, binomial_at_most
from loadtest.gate.budget import chance_of_so_few, chance_of_so_many, share_interval
from loadtest.gate.decide import Levels
from loadtest.gate.evidence import Measurement, carries, is_constant, nothing, sign_of, strict
from loadtest.gate.pairs import Arm, baseline, relative
from loadtest.gate.questions import Question, Samples
from loadtest.plan.model import Gate
from loadtest.plan.thresholds import SHARES, Threshold


def measure(question: Question, samples: Samples, gate: Gate, levels: Levels) -> Measurement:
    """Return the evidence on one question."""
    rule = question.rule
    sample = samples.sample(question.cells, rule.measure)
    if rule.kind == "absolute":
        if rule.measure.metric in SHARES:
            return _share(rule, sample, levels)
        return _absolute(rule, sample, samples.weights(question.cells), levels)
    other_measure = rule.other_measure or rule.measure
    other = samples.sample(question.others, other_measure) if question.others else None
    if other is None or not other.n or not sample.n:
        return replace(nothing(sample, 0.0), lacking="one of the two arms was not measured here")
    weights = samples.weights(question.cells)
    arm = Arm.of(sample, weights, rule.measure)
    base = Arm.of(other, weights, other_measure)
    blocks = sample.groups
    found = (
        relative(rule, arm, base, blocks, levels)
        if rule.kind == "relative"
        else baseline(rule, arm, base, blocks, gate=gate, levels=levels)
    )
    checks = (carries(rule.measure, sample), carries(other_measure, other))
    lacking, factor = max(checks, key=lambda item: item[1])
    return replace(found, n=min(sample.n, other.n), lacking=lacking, lacking_factor=factor)


def _absolute(rule: Threshold, sample: Blocked, weights: Weights, levels: Levels) -> Measurement:
    if not sample.n:
        return nothing(sample, rule.limit)
    percentile, sign = rule.measure.percentile, sign_of(rule)
    point = sample.point(percentile)
    draws = resample(sample, weights, percentile)
    excess = sign * (point - rule.limit)
    evidence = weigh(sign * (draws - rule.limit), excess, sample.groups, levels.coverage)
    evidence = strict(rule, evidence, excess)
    values = weigh(draws, point, sample.groups, levels.coverage)
    low, high = values.low, values.high
    p_fail, p_pass = evidence.p_above_is_chance, evidence.p_below_is_chance
    if percentile is not None and not is_constant(sample):
        low, high = _wider(sample, percentile, levels, low, high)
        exact_fail, exact_pass = _sign_test(rule, sample, percentile)
        p_fail, p_pass = max(p_fail, exact_fail), max(p_pass, exact_pass)
    lacking, factor = carries(rule.measure, sample)
    return Measurement(
        observed=point,
        low=low,
        high=high,
        limit=rule.limit,
        base=None,
        n=sample.n,
        blocks=sample.groups,
        excess=excess,
        error=evidence.error,
        reach=1.0,
        p_fail=p_fail,
        p_pass=p_pass,
        lacking=lacking,
        lacking_factor=factor,
    )


def _wider(
    sample: Blocked, percentile: float, levels: Levels, low: float, high: float
) -> tuple[float, float]:
    """Return the wider of the block bootstrap's interval and that of the order statistics."""
    first, last = interval_ranks(percentile, sample.n, levels.coverage)
    exact_low = float(sample.values[first - 1]) if first >= 1 else -math.inf
    exact_high = float(sample.values[last - 1]) if last <= sample.n else math.inf
    return min(low, max(exact_low, 0.0)), max(high, exact_high)


def _sign_test(rule: Threshold, sample: Blocked, percentile: float) -> tuple[float, float]:
    """Return the exact probabilities of so many values on the limit's either side."""
    share = percentile / 100
    at_most = int(np.searchsorted(sample.values, rule.limit, side="right"))
    below = int(np.searchsorted(sample.values, rule.limit, side="left"))
    # True percentile at or below the limit: at least `share` of all values are at most the limit.
    above_is_chance = binomial_at_most(at_most, sample.n, share)
    below_is_chance = binomial_at_least(below, sample.n, share)
    if sign_of(rule) > 0:
        return above_is_chance, below_is_chance
    return below_is_chance, above_is_chance


def _share(rule: Threshold, sample: Blocked, levels: Levels) -> Measurement:
    """Judge errors or replays by the exact binomial distribution."""
    if not sample.n:
        return nothing(sample, rule.limit)
    n, count, sign = sample.n, round(float(sample.values.sum())), sign_of(rule)
    low, high = share_interval(count, n, levels.coverage)
    many = chance_of_so_many(count, n, rule.limit)
    few = chance_of_so_few(count, n, rule.limit)
    p_fail, p_pass = (many, few) if sign > 0 else (few, many)
    if rule.limit in (0.0, 1.0):
        # No sample can show "never" or "always": such a limit asks of this run alone.
        excess = sign * (count / n - rule.limit)
        broken = excess >= 0 if rule.comparator in ("<", ">") else excess > 0
        p_fail, p_pass = (0.0, 1.0) if broken else (1.0, 0.0)
    spread = max(count, 1) / n
    return Measurement(
        observed=count / n,
        low=low,
        high=high,
        limit=rule.limit,
        base=None,
        n=n,
        blocks=sample.groups,
        excess=sign * (count / n - rule.limit),
        error=math.sqrt(spread * (1 - min(spread, 0.5)) / n),
        reach=1.0,
        p_fail=p_fail,
        p_pass=p_pass,
    )
