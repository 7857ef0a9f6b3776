"""Thresholds beside the plan that they stand in: which arms they mean, what it lacks."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from loadtest.errors import PlanError
from loadtest.plan.model import Plan
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM, SHARES, Dimension, Threshold


def parse_thresholds(plan: Plan) -> tuple[Threshold, ...]:
    """Parse all rules of a plan; PlanError with every fault of every rule."""
    parsed: list[Threshold] = []
    faults: list[str] = []
    for text in plan.thresholds:
        try:
            parsed.append(parse_threshold(text))
        except PlanError as error:
            faults += error.faults
    if faults:
        raise PlanError(*faults)
    return tuple(parsed)


def compares_arms(plan: Plan) -> bool:
    """Tell whether a rule of the plan holds one deployment against another."""
    return any(rule.kind != "absolute" for rule in parse_thresholds(plan))


def arms_of(rule: Threshold, plan: Plan) -> tuple[str, str]:
    """
    Return the arms that a baseline rule compares: candidate, base.

    Raises:
        PlanError: The rule does not name them and the plan has none of the default names.
    """
    names = [d.name for d in plan.deployments]
    base = rule.other or BASE_ARM
    others = [name for name in names if name != base]
    arm = rule.arm or (CANDIDATE_ARM if CANDIDATE_ARM in names or len(others) != 1 else others[0])
    for name, role in ((arm, "candidate"), (base, "baseline")):
        if name not in names:
            raise PlanError(
                f"thresholds: {rule.text!r}: the plan has no deployment {name!r} to be the "
                f"{role}; name one: {rule.measure}({others[0] if others else 'NAME'}) within ... "
                f"of baseline({names[0]}). It has {', '.join(names)}"
            )
    if arm == base:
        raise PlanError(
            f"thresholds: {rule.text!r}: {arm!r} is compared with itself; name two deployments"
        )
    return arm, base


def check_thresholds(plan: Plan, ignore_missing: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """
    Check that the plan's rules are of the grammar and speak of what the plan has.

    Args:
        plan: Its deployments and regions are looked up.
        ignore_missing: Names that flags took away from the plan: a rule that is about nothing else
            is dropped, not a fault.

    Returns:
        The texts of the rules that are kept.

    Raises:
        PlanError: With a sentence for each fault.
    """
    kept: list[str] = []
    faults: list[str] = []
    for text in plan.thresholds:
        try:
            rule = parse_threshold(text)
            missing = [name for name in _needed(rule) if name not in _names(plan, "deployment")]
            if any(name in ignore_missing for name in missing):
                continue
            if found := list(_faults(rule, plan, ignore_missing)):
                faults += found
            elif _selects_any(rule, plan):
                kept.append(text)
            elif not ignore_missing:
                faults.append(f"thresholds: {text!r} selects no cell of the plan")
        except PlanError as error:
            faults += error.faults
    if faults:
        raise PlanError(*faults)
    return tuple(kept)


def _needed(rule: Threshold) -> tuple[str, ...]:
    return tuple(name for name in (rule.arm, rule.other) if name)


def _names(plan: Plan, dimension: Dimension) -> tuple[str, ...]:
    return plan.regions if dimension == "region" else tuple(d.name for d in plan.deployments)


def _faults(rule: Threshold, plan: Plan, ignored: frozenset[str]) -> Iterator[str]:
    """Yield a sentence for each name that the plan does not know."""
    named: list[tuple[Dimension, str]] = [("deployment", name) for name in _needed(rule)]
    for condition in rule.conditions:
        # Names of scenarios and requests stand in a Python file, which is not read here.
        if condition.dimension not in ("scenario", "name"):
            named += [(condition.dimension, name) for name in condition.names]
    unknown = False
    for dimension, name in dict.fromkeys(named):
        known = _names(plan, dimension)
        if name in known or name in ignored:
            continue
        unknown = True
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}? It" if near else "; it"
        yield (
            f"thresholds: {rule.text!r}: there is no {dimension} {name!r} in the plan{hint} "
            f"has {', '.join(known)}"
        )
    if rule.kind == "relative" and rule.measure.metric in SHARES:
        yield (
            f"thresholds: {rule.text!r}: a ratio of shares says nothing where nearly nothing "
            f"fails; compare them by points: {rule.measure.metric}({rule.arm}) within 1% of "
            f"baseline({rule.other})"
        )
    if rule.kind == "baseline" and not unknown:
        arms_of(rule, plan)


def _selects_any(rule: Threshold, plan: Plan) -> bool:
    if rule.kind == "absolute":
        arms = [d.name for d in plan.deployments]
    else:
        arms = [rule.arm if rule.kind == "relative" else arms_of(rule, plan)[0]]
    scenario = next(
        (c.names[0] for c in rule.conditions if c.dimension == "scenario" and not c.negated), ""
    )
    return any(
        rule.selects(region, name, scenario)
        for name in arms
        for region in plan.clients_of(plan.deployment(name))
    )
