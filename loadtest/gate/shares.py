"""Shares of requests, such as errors: against a limit, a budget, or another arm."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from loadtest.analysis.blocks import MIN_GROUPS, Blocked
from loadtest.analysis.special import binomial_at_least, binomial_at_most
from loadtest.gate.comparison import margin_of
from loadtest.gate.decide import Levels
from loadtest.gate.errors import (
    SUPPOSED_CLUSTER,
    Failures,
    arms_interval,
    chance_of_difference,
    difference_interval,
    share_interval,
    supposed_cluster,
)
from loadtest.gate.evidence import Measurement, nothing, sign_of
from loadtest.gate.questions import Question, SampleSource
from loadtest.plan.model import Gate
from loadtest.plan.thresholds import Threshold

NEVER_OR_ALWAYS: Final = (0.0, 1.0)
"""No sample can show these shares: such a limit asks of this run alone."""


def share_against_limit(question: Question, samples: SampleSource, levels: Levels) -> Measurement:
    """Return the evidence on an arm's share against a limit."""
    rule = question.rule
    counted = samples.failures(question.cells, rule.measure.metric)
    found = judge_share(rule, counted, levels, supposed_cluster(counted))
    return _carried(found, samples.sample(question.cells, rule.measure))


def requests_to_pass(rule: Threshold, gate: Gate, side: float) -> int:
    """
    Return how many requests a rule on a share takes to pass, were all of them as they should be.

    Args:
        rule: Of a share, against a limit or a base; 0 where its limit asks of the run alone.
        gate: Margins.
        side: Error rate.
    """
    if rule.kind == "absolute":
        if rule.limit in NEVER_OR_ALWAYS:
            return 0
        good = rule.limit if sign_of(rule) < 0 else 1 - rule.limit
        return math.ceil(SUPPOSED_CLUSTER * math.log(side) / math.log(good))
    margin, few, many = max(margin_of(rule, gate)), 1.0, 2.0
    if not 0 < margin < 1:
        return 0
    while difference_interval(0, many, 0, many, side)[1] > margin:
        few, many = many, 2 * many
    while many - few > 1 / SUPPOSED_CLUSTER:
        middle = (few + many) / 2
        passes = difference_interval(0, middle, 0, middle, side)[1] <= margin
        few, many = (few, middle) if passes else (middle, many)
    return math.ceil(many * SUPPOSED_CLUSTER)


def share_against_base(
    question: Question, samples: SampleSource, gate: Gate, levels: Levels
) -> Measurement:
    """Return the evidence on an arm's share against a margin above another's."""
    found = _share_of_two(question, samples, gate, levels)
    return _carried(found, samples.sample(question.cells, question.rule.measure))


def measure_budget(question: Question, samples: SampleSource, levels: Levels) -> Measurement:
    """Return the evidence on an error budget, which fails on evidence and passes without any."""
    rule = question.rule
    counted = samples.failures(question.cells, rule.measure.metric)
    return judge_share(rule, counted, levels, counted.cluster)


def _carried(found: Measurement, sample: Blocked) -> Measurement:
    """Return a share's evidence, undecided where blocks are too few to tell how it clusters."""
    if found.lacking or found.limit in NEVER_OR_ALWAYS or sample.groups >= MIN_GROUPS:
        return found
    why = f"{sample.groups} blocks are too few to tell noise: {MIN_GROUPS} are needed"
    return replace(found, lacking=why, lacking_factor=MIN_GROUPS / max(1, sample.groups))


def judge_share(rule: Threshold, found: Failures, levels: Levels, supposed: float) -> Measurement:
    """
    Judge errors or replays by the exact binomial distribution, clusters counted once.

    Args:
        rule: What was asked.
        found: What counted, second by second.
        levels: The look's error rates.
        supposed: How many that count have to be supposed to come together before it is passed.
    """
    if not found.n:
        return nothing(Blocked.empty(), rule.limit)
    sign, share = sign_of(rule), found.count / found.n
    count, n = found.count / found.cluster, found.n / found.cluster
    few_count, few_n = found.count / supposed, found.n / supposed
    more, less = (
        share_interval(count, n, levels.coverage),
        share_interval(few_count, few_n, levels.coverage),
    )
    low, high = (more[0], less[1]) if sign > 0 else (less[0], more[1])
    if sign > 0:
        p_fail = binomial_at_least(count, n, rule.limit)
        p_pass = binomial_at_most(few_count, few_n, rule.limit)
    else:
        p_fail = binomial_at_most(count, n, rule.limit)
        p_pass = binomial_at_least(few_count, few_n, rule.limit)
    if rule.limit in NEVER_OR_ALWAYS:
        excess = sign * (share - rule.limit)
        broken = excess >= 0 if rule.comparator in ("<", ">") else excess > 0
        p_fail, p_pass = (0.0, 1.0) if broken else (1.0, 0.0)
    spread = max(count, 1) / n
    return Measurement(
        observed=share,
        low=low,
        high=high,
        limit=rule.limit,
        base=None,
        n=round(found.n),
        blocks=found.sent.size,
        excess=sign * (share - rule.limit),
        error=math.sqrt(spread * max(1 - spread, 0.5) / n),
        reach=1.0,
        p_fail=p_fail,
        p_pass=p_pass,
    )


def _share_of_two(
    question: Question, samples: SampleSource, gate: Gate, levels: Levels
) -> Measurement:
    """Judge a difference of two shares against a margin."""
    rule = question.rule
    here = samples.failures(question.cells, rule.measure.metric)
    there = samples.failures(question.others, rule.measure.metric)
    if not here.n or not there.n:
        return replace(nothing(Blocked.empty(), 0.0), lacking="one of the two arms was not asked")
    share, absolute = margin_of(rule, gate)
    base = there.count / there.n
    # `within 1% of baseline` is a difference of shares: 1 % of next to nothing would be nothing.
    margin = max(share, absolute)
    cluster, supposed = max(here.cluster, there.cluster), supposed_cluster(here, there)
    low = arms_interval(here, there, cluster, levels.side)[0]
    high = arms_interval(here, there, supposed, levels.side)[1]
    p_fail, p_pass = chance_of_difference(here, there, margin)
    difference = here.count / here.n - base
    return Measurement(
        observed=difference,
        low=low,
        high=high,
        limit=margin,
        base=base,
        n=round(min(here.n, there.n)),
        blocks=here.sent.size,
        excess=difference - margin,
        error=(high - low) / 4,
        reach=1.0,
        p_fail=p_fail,
        p_pass=p_pass,
    )
