"""
From samples to evidence: what a rule compares, its interval, and how likely chance is.

Percentiles of two arms are compared by the score test (`comparison`), a percentile against a limit
by the exact binomial with design effect (`absolute`), shares with clusters counted once (`shares`).
Means and counts are resampled by blocks: each is brought to an excess that is positive when the
rule is broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.bootstrap import (
    Weights,
    allow_for_drift,
    leave_one_out,
    pseudo_values,
    resample,
    weigh,
)
from loadtest.analysis.cells import CellRows
from loadtest.analysis.drift import DRIFT_PENALTY, arm_drifts, mean_ranks
from loadtest.analysis.scores import WIDE_BELOW
from loadtest.gate.absolute import against_limit
from loadtest.gate.comparison import ArmPair, within_factor, within_margin
from loadtest.gate.decide import Levels
from loadtest.gate.errors import Failures
from loadtest.gate.evidence import Measurement, carries, nothing, sign_of, strict
from loadtest.gate.links import with_links
from loadtest.gate.pairs import Arm, baseline, relative
from loadtest.gate.questions import Question, SampleSource
from loadtest.gate.shares import share_against_base, share_against_limit
from loadtest.gate.trouble import (
    beyond_limit,
    mean_with_rare_trouble,
    share_that_breaks,
    with_rare_trouble,
)
from loadtest.plan.model import Gate
from loadtest.plan.thresholds import COUNTS, SHARES, Threshold

_BASE_ANSWERS = 0.5
"""An arm of which fewer than this share were answered is no base to compare with."""
_MEAN_LOSES = 0.01
"""A mean leaves failures out; with more of them it is no mean of what was asked."""
_TOLD_UNLIKE = 0.05
"""Two arms whose answers tell a number in shares that differ by more tell of other requests."""


def measure(
    question: Question, samples: SampleSource, gate: Gate, levels: Levels, *, drifts: bool = False
) -> Measurement:
    """
    Return the evidence on one question.

    Args:
        question: A rule and its cells.
        samples: SampleSource of the run.
        gate: Margins.
        levels: Error rates of the look.
        drifts: One of the two arms moved by itself while it was measured.
    """
    found = _measured(question, samples, gate, levels, drifts=drifts)
    return with_links(found, question, samples) if question.rule.measure.metric in COUNTS else found


def _measured(
    question: Question, samples: SampleSource, gate: Gate, levels: Levels, *, drifts: bool
) -> Measurement:
    rule = question.rule
    if rule.kind == "absolute":
        return _of_one(question, samples, levels)
    sample = samples.sample(question.cells, rule.measure)
    helped = (*question.others, *(question.cells if sign_of(rule) < 0 else ()))
    if question.others and any(_is_no_base(samples, (cell,)) for cell in helped):
        return replace(
            nothing(sample, 0.0),
            lacking="the arm that it is compared with answered fewer than half of its requests",
            base_failed=True,
        )
    other_measure = rule.other_measure or rule.measure
    other = samples.sample(question.others, other_measure) if question.others else None
    if other is None or not other.n or not sample.n:
        return replace(nothing(sample, 0.0), lacking="one of the two arms was not measured here")
    if rule.kind == "baseline" and rule.measure.metric in SHARES and not _elsewhere(question):
        return share_against_base(question, samples, gate, levels)
    if unlike := _unlike(question, samples):
        return replace(nothing(sample, 0.0), lacking=unlike)
    if (p := rule.measure.percentile) is not None and other_measure == rule.measure:
        sample = samples.at_once(question.cells, rule.measure)
        other = samples.at_once(question.others, rule.measure)
        wide = drifts or sample.groups < WIDE_BELOW

        def compare(arm: Blocked, base: Blocked) -> Measurement:
            pair = ArmPair(arm, base, p, wide=wide)
            if rule.kind == "relative":
                return within_factor(rule, pair, levels)
            return within_margin(rule, pair, gate=gate, levels=levels)
    else:
        wide = rule.measure.unit == "ms" and (drifts or sample.groups < WIDE_BELOW)

        def compare(arm: Blocked, base: Blocked) -> Measurement:
            return _resampled(question, samples, arm, base, gate=gate, levels=levels, wide=wide)

    found = compare(sample, other)
    if (answered := other.answered()).n < other.n:
        failed = 1 - answered.n / other.n
        found = replace(_cautious(found, compare(sample, answered)), base_failures=failed)
    if sign_of(rule) < 0 and (own := sample.answered()).n < sample.n:
        failed = 1 - own.n / sample.n
        found = replace(_cautious(found, compare(own, answered)), base_failures=failed)
    if drifts and rule.measure.unit == "ms":
        found = _penalised(found, DRIFT_PENALTY)
    checks = (carries(rule.measure, sample), carries(other_measure, other))
    lacking, factor = max(checks, key=lambda item: item[1])
    return replace(
        found,
        n=min(sample.n, other.n),
        lacking=lacking,
        lacking_factor=factor or found.lacking_factor,
    )


def _cautious(counted: Measurement, answered: Measurement) -> Measurement:
    """
    Return the evidence against an arm that failed in part of its requests.

    A failure counts as infinitely slow, so a base that fails looks slow and lets a candidate pass;
    left out, a base that fails where it is slow looks fast and lets a candidate fail.  So a rule
    holds only if it does against the answers alone, and is broken only if it is against both.

    Args:
        counted: The evidence with its failures as infinity.
        answered: The same without them.
    """
    return replace(
        answered,
        p_fail=max(counted.p_fail, answered.p_fail),
        p_pass=max(counted.p_pass, answered.p_pass),
        series=counted.series,
        floor=counted.floor,
    )


def _of_one(question: Question, samples: SampleSource, levels: Levels) -> Measurement:
    """Return the evidence on an arm against a limit."""
    rule = question.rule
    if rule.measure.metric in SHARES:
        return share_against_limit(question, samples, levels)
    sample = samples.at_once(question.cells, rule.measure)
    if not sample.n:
        return nothing(sample, rule.limit)
    if rule.measure.percentile is not None:
        return _against_limit(rule, sample, levels)
    moments, sample = sample, samples.sample(question.cells, rule.measure)
    if lost := _lost_by_mean([samples.failures(question.cells, "errors")]):
        return replace(nothing(sample, rule.limit), lacking=lost)
    found = _mean(rule, sample, samples.weights(question.cells), levels)
    if rule.measure.unit == "ms" and sign_of(rule) > 0:
        found = mean_with_rare_trouble(found, moments, None, levels)
    return found


def _is_no_base(samples: SampleSource, cells: tuple[CellRows, ...]) -> bool:
    found = samples.failures(cells, "errors")
    return found.n > 0 and 1 - found.count / found.n < _BASE_ANSWERS


def _elsewhere(question: Question) -> list[str]:
    """Return the regions in which one of the two arms alone has what is compared."""
    here, there = (
        {(cell.region, cell.scenario, cell.name) for cell in cells}
        for cells in (question.cells, question.others)
    )
    return sorted({region for region, *_ in here ^ there})


def _unlike(question: Question, samples: SampleSource) -> str:
    """Return why two arms cannot be held against each other; empty where they can."""
    rule = question.rule
    arms = (question.cells, question.others)
    if alone := _elsewhere(question):
        return f"{', '.join(alone)} is measured for one of the two arms alone"
    failures = [samples.failures(cells, "errors") for cells in arms]
    if rule.measure.percentile is None and (lost := _lost_by_mean(failures)):
        return lost
    told = [
        samples.sample(cells, rule.measure).answered().n / (found.n - found.count)
        for cells, found in zip(arms, failures, strict=True)
        if found.n > found.count
    ]
    if len(told) == len(arms) and abs(told[0] - told[1]) > _TOLD_UNLIKE:
        return (
            f"{told[0]:.0%} of one arm's answers tell their {rule.measure.metric}, and "
            f"{told[1]:.0%} of the other's"
        )
    return ""


def _lost_by_mean(arms: Sequence[Failures]) -> str:
    """Return why a mean is not that of what was asked; empty where it is."""
    worst = max(found.count / found.n if found.n else 0.0 for found in arms)
    if worst <= _MEAN_LOSES:
        return ""
    return (
        f"{worst:.1%} of an arm's requests failed, and the mean of those that it answered "
        "is that of other requests"
    )


def _penalised(found: Measurement, penalty: float) -> Measurement:
    return replace(
        found,
        p_fail=min(1.0, found.p_fail * penalty),
        p_pass=min(1.0, found.p_pass * penalty),
        drifts=True,
    )


def _resampled(
    question: Question,
    samples: SampleSource,
    sample: Blocked,
    other: Blocked,
    *,
    gate: Gate,
    levels: Levels,
    wide: bool,
) -> Measurement:
    """Compare means, counts, or two different measures by resampling blocks."""
    rule = question.rule
    weights = samples.weights(question.cells)
    arm = Arm.of(sample, weights, rule.measure, wide=wide)
    base = Arm.of(other, weights, rule.other_measure or rule.measure, wide=wide)
    if rule.kind == "relative":
        found = relative(rule, arm, base, sample.groups, levels)
    else:
        found = baseline(rule, arm, base, sample.groups, gate=gate, levels=levels)
    if rule.measure.unit != "ms" or sign_of(rule) < 0:
        return found
    percentile = rule.measure.percentile
    if percentile is None:
        # A far region is no trouble: a block is that of all regions.
        moments = samples.at_once(question.cells, rule.measure)
        others = samples.at_once(question.others, rule.other_measure or rule.measure)
        return mean_with_rare_trouble(found, moments, others, levels)
    met = beyond_limit(sample, arm.point - found.excess)
    return with_rare_trouble(found, met, share_that_breaks(percentile, met), levels)


def _against_limit(rule: Threshold, sample: Blocked, levels: Levels) -> Measurement:
    lacking, factor = carries(rule.measure, sample)
    found = against_limit(rule, sample, levels)
    return replace(found, lacking=lacking, lacking_factor=factor)


def _mean(rule: Threshold, sample: Blocked, weights: Weights, levels: Levels) -> Measurement:
    lacking, factor = carries(rule.measure, sample)
    sign, point = sign_of(rule), sample.point(None)
    draws = resample(sample, weights, None)
    excess = sign * (point - rule.limit)
    evidence = weigh(sign * (draws - rule.limit), excess, sample.groups, levels.coverage)
    values = weigh(draws, point, sample.groups, levels.coverage)
    drifting = rule.measure.unit == "ms" and arm_drifts(mean_ranks(sample))
    if rule.measure.unit == "ms" and (drifting or sample.groups < WIDE_BELOW):
        series = pseudo_values(point, resample(sample, leave_one_out(sample.groups), None))
        evidence = allow_for_drift(evidence, sign * series, excess, levels.coverage)
        values = allow_for_drift(values, series, point, levels.coverage)
    evidence = strict(rule, evidence, excess)
    found = Measurement(
        observed=point,
        low=values.low,
        high=values.high,
        limit=rule.limit,
        base=None,
        n=sample.n,
        blocks=sample.groups,
        excess=excess,
        error=evidence.error,
        reach=1.0,
        p_fail=evidence.p_above_is_chance,
        p_pass=evidence.p_below_is_chance,
        lacking=lacking,
        lacking_factor=factor,
    )
    return _penalised(found, DRIFT_PENALTY) if drifting else found
