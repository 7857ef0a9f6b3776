"""Whether a run can carry its own rules: told before anything is started."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from loadtest.analysis.percentiles import LEAST_BLOCKS, needed
from loadtest.errors import PlanError
from loadtest.plan.model import Plan
from loadtest.plan.threshold_checks import parse_thresholds

_ONE_REQUEST: Final = ("scenarios/pages.py", "scenarios/recipes.py")
"""Scenarios that send one request an arrival; of others nobody knows before they run."""


def refuse_too_short(plan: Plan) -> None:
    """
    Refuse a run whose requests or blocks, over all its looks, are too few for one of its rules.

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
    times = f", {looks} times at most," if looks > 1 else ""
    for rule in parse_thresholds(plan):
        cells = len(plan.deployments) * len(plan.regions) if rule.pooled else 1
        per_s, blocks_per_s = load.rate * looks * cells, looks * cells / load.block_s
        least_s = LEAST_BLOCKS / blocks_per_s
        for measure in (rule.measure, rule.other_measure):
            if measure is None or measure.unit != "ms":
                continue
            want = 0 if measure.percentile is None else needed(measure.percentile, gate=True)
            most = math.floor(per_s * load.duration_s)
            enough = f"give --duration {math.ceil(max(want / per_s, least_s))} or more"
            if most < want:
                yield (
                    f"thresholds: {rule.text!r}: p{measure.percentile:g} needs {want} requests in "
                    f"a cell, and {load.rate:g} a second for {load.duration_s:g} s{times} are "
                    f"{most}; {enough}, or a higher --rate"
                )
            elif load.duration_s * blocks_per_s < LEAST_BLOCKS:
                yield (
                    f"thresholds: {rule.text!r}: a decision needs {LEAST_BLOCKS} blocks of "
                    f"{load.block_s:g} s, and {load.duration_s:g} s{times} hold fewer; {enough}"
                )
