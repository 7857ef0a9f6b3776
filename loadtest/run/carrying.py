"""Whether a run can carry its own rules: told before anything is started."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from loadtest.analysis.percentiles import needed
from loadtest.errors import PlanError
from loadtest.plan.model import Plan
from loadtest.plan.threshold_checks import parse_thresholds
from loadtest.plan.thresholds import Threshold

_ONE_REQUEST: Final = ("scenarios/pages.py", "scenarios/recipes.py")
"""Scenarios that send one request an arrival; of others nobody knows before they run."""


def refuse_too_short(plan: Plan) -> None:
    """
    Refuse a run whose requests, over all its looks, are too few for a percentile of its rules.

    Args:
        plan: Resolved plan.

    Raises:
        PlanError: With the duration that would do, for every such rule.
    """
    if faults := list(_too_short(plan)):
        raise PlanError(*faults)


def _too_short(plan: Plan) -> Iterator[str]:
    load, looks = plan.load, plan.gate.max_looks
    if load.model == "closed" or load.stages or plan.scenario not in _ONE_REQUEST:
        return
    for rule in parse_thresholds(plan):
        for percentile in _percentiles(rule):
            cells = len(plan.deployments) * len(plan.regions) if rule.pooled else 1
            per_s = load.rate * looks * cells
            want, most = needed(percentile, gate=True), math.floor(per_s * load.duration_s)
            if most < want:
                times = f", {looks} times at most," if looks > 1 else ""
                yield (
                    f"thresholds: {rule.text!r}: p{percentile:g} needs {want} requests in a cell, "
                    f"and {load.rate:g} a second for {load.duration_s:g} s{times} are {most}; "
                    f"give --duration {math.ceil(want / per_s)} or more, or a higher --rate"
                )


def _percentiles(rule: Threshold) -> Iterator[float]:
    """Yield the percentiles of response times that a rule reads, on either side."""
    for measure in (rule.measure, rule.other_measure):
        if measure is not None and measure.percentile is not None and measure.unit == "ms":
            yield measure.percentile
