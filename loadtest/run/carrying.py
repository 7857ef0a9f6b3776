"""Whether a run can carry its own rules, and how long it takes to pass them: told before load."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadtest.analysis.percentiles import LEAST_BLOCKS, needed
from loadtest.errors import PlanError
from loadtest.gate.comparison import margin_of
from loadtest.gate.decide import levels_of
from loadtest.gate.shares import requests_to_pass
from loadtest.gate.trouble import blocks_to_pass, share_that_breaks, share_that_breaks_mean
from loadtest.plan.model import Plan
from loadtest.plan.threshold_checks import parse_thresholds
from loadtest.plan.thresholds import SHARES, Threshold

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
            passes_s = 0.0
            if measure.percentile is not None:
                share = share_that_breaks(measure.percentile)
                passes_s = blocks_to_pass(share, plan.gate.alpha) * load.block_s
            enough_s = max(want / per_s, least_s, passes_s / looks)
            enough = f"give --duration {math.ceil(enough_s)} or more"
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


@dataclass(frozen=True, slots=True)
class PassLength:
    """
    What a plan's rules take to pass, at the least.

    Args:
        told: In words; empty where the first look may pass them all.
        never: No look of the run may.
    """

    told: str
    never: bool = False


def pass_length(plan: Plan) -> PassLength:
    """
    Return how long a run is before rare trouble is ruled out, and every rule may pass.

    Args:
        plan: Resolved plan.
    """
    load, looks = plan.load, plan.gate.max_looks
    wants = [want for rule in parse_thresholds(plan) if (want := _pass_after(plan, rule))]
    if not wants:
        return PassLength("")
    wanted_s, text, why = max(wants)
    look_s = sum(stage.duration_s for stage in load.stages) or load.duration_s
    takes = f"{text!r} passes after {math.ceil(wanted_s)} s of load"
    if wanted_s <= look_s:
        return PassLength("")
    if wanted_s <= look_s * looks:
        return PassLength(f"{takes}, in {math.ceil(wanted_s / look_s)} looks: {why}")
    times = f" {looks} times" if looks > 1 else ""
    give = f"--duration {math.ceil(wanted_s / looks)}"
    if plan.locustfile is not None:
        give = f"--run-time {math.ceil(wanted_s + load.warmup_s)}"
    return PassLength(
        f"{takes}, and {look_s:g} s{times} are all there is: it may fail or stay undecided, not "
        f"pass, since {why}; give {give} or more",
        never=True,
    )


def _pass_after(plan: Plan, rule: Threshold) -> tuple[float, str, str] | None:
    """Return after how many seconds a rule may pass, its text, and why; None where nobody knows."""
    load, looks, percentile = plan.load, plan.gate.max_looks, rule.measure.percentile
    if rule.measure.unit == "ms" and percentile is not None and rule.comparator in ("<", "<="):
        blocks = blocks_to_pass(share_that_breaks(percentile), plan.gate.alpha)
        # How many of the usual requests lie beyond, and so how much trouble is too much, is met.
        why = f"{blocks} blocks of {load.block_s:g} s rule out trouble in a few of them (more do "
        why += "where usual requests lie beyond the limit, too)"
        return blocks * load.block_s, rule.text, why
    if rule.measure.unit == "ms" and percentile is None and rule.kind == "baseline":
        margin, absolute = margin_of(rule, plan.gate)
        blocks = blocks_to_pass(share_that_breaks_mean(margin), plan.gate.alpha)
        why = f"{blocks} blocks of {load.block_s:g} s rule out trouble that moves a mean so far"
        return None if absolute else (blocks * load.block_s, rule.text, why)
    known = load.model == "open" and not load.stages and plan.scenario in _ONE_REQUEST
    if rule.measure.metric in SHARES and rule.kind in ("absolute", "baseline") and known:
        side = levels_of(plan.gate.alpha, looks, looks).side
        cells = len(plan.deployments) * len(plan.regions) if rule.pooled else 1
        requests = requests_to_pass(rule, plan.gate, side)
        why = f"{requests:,} requests, all as they should be, rule out that others come in tens"
        return requests / (load.rate * cells), rule.text, why
    return None
