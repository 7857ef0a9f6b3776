"""
A percentile against a fixed limit: exact binomial, with as many requests as the blocks are worth.

Where the limit is far, the blocks' own levels may decide.  Sources: see `analysis/worth.py`.
"""

from __future__ import annotations

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.special import binomial_at_least, binomial_at_most, student_quantile
from loadtest.analysis.worth import UNLIKELY, Weather
from loadtest.gate.decide import Levels
from loadtest.gate.evidence import Measurement, sign_of
from loadtest.gate.trouble import beyond_limit, share_that_breaks, with_rare_trouble
from loadtest.plan.thresholds import Threshold


def against_limit(rule: Threshold, sample: Blocked, levels: Levels) -> Measurement:
    """Return the evidence on a percentile against a limit; the sample is not empty."""
    found, percentile = met_against_limit(rule, sample, levels), rule.measure.percentile
    if percentile is None or sign_of(rule) < 0:
        return found
    met = beyond_limit(sample, rule.limit)
    return with_rare_trouble(found, met, share_that_breaks(percentile, met), levels)


def met_against_limit(rule: Threshold, sample: Blocked, levels: Levels) -> Measurement:
    """Return the same of what was met alone: trouble that no block saw is not supposed."""
    percentile = rule.measure.percentile
    assert percentile is not None
    weather = Weather(sample)
    observed = sample.point(percentile)
    worth = weather.worth_at(rule.limit, observed)
    side = weather.side_of(levels.side)
    effective = worth.at(side)
    share = percentile / 100
    # True percentile within the limit: at least `share` of all requests are.
    at_most = float((sample.values <= rule.limit).mean())
    below = float((sample.values < rule.limit).mean())

    def counted(n: float) -> tuple[float, float]:
        """Return how likely chance is that so few, and so many of ``n`` are within the limit."""
        return binomial_at_most(at_most * n, n, share), binomial_at_least(below * n, n, share)

    level = weather.level(percentile)
    by_block = level.chances(rule.limit) if level is not None and rule.limit > 0 else (1.0, 1.0)
    p_fail, p_pass = (
        min(1.0, min(weighed, by_level if plain <= UNLIKELY else 1.0) * levels.side / side)
        for weighed, by_level, plain in zip(
            counted(effective), by_block, counted(sample.n), strict=True
        )
    )
    if sign_of(rule) < 0:
        p_fail, p_pass = p_pass, p_fail
    low, high = weather.interval(percentile, worth, side)
    return Measurement(
        observed=observed,
        low=low,
        high=high,
        limit=rule.limit,
        base=None,
        n=sample.n,
        blocks=sample.groups,
        excess=sign_of(rule) * (observed - rule.limit),
        error=(high - low) / 2 / student_quantile(levels.side, worth.freedom),
        reach=1.0,
        p_fail=p_fail,
        p_pass=p_pass,
        drifts=weather.drifts,
    )
