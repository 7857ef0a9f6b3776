"""
Thresholds: the rules of the gate, in one grammar for plan files and the command line.

    threshold  = absolute | relative | baseline
    absolute   = measure comparator limit clauses
    relative   = measure "(" name ")" comparator [ number "*" ] measure "(" name ")" clauses
    baseline   = measure [ "(" name ")" ] "within" margin "of" "baseline" [ "(" name ")" ] clauses
    measure    = metric "." aggregation
    metric     = "ttfb" | "ttfb_cold" | "response_from_schedule"
               | "queue" | "dns" | "connect" | "tls" | "send" | "wait" | "receive"
               | "db" | "app" | "db_round_trips" | "replayed" | "errors"
    aggregation = "p" number | "mean"             of times; db_round_trips has "mean" (the default)
               | "rate" | "share"                 of replayed and errors (the default)
    comparator = "<" | "<=" | ">" | ">="
    limit      = number "us" | number "ms" | number "s"    for times
               | number                                    for db_round_trips
               | number "%" | number                       for shares (0.01 is 1%)
    margin     = limit | number "%" | number "%" "or" limit | "margin"
    clauses    = { "where" condition { "and" condition } | "for" "each" each | "pooled" }
    condition  = dimension ( "=" | "!=" ) name | dimension [ "not" ] "in" names
    each       = dimension [ "in" names ] { "," dimension [ "in" names ] }
    dimension  = "region" | "deployment" | "scenario"
    names      = name { "," name }                name: letters, digits, _ - . / or "in quotes"

Meaning:

- A rule is judged in every cell (region x deployment x scenario) that its clauses select; it passes
  when it holds in each.  ``for each region in ord, syd`` selects, and says so aloud; ``pooled``
  puts the selected cells together, apart from the dimensions that ``for each`` names.
- A relative rule compares two deployments (arms) of one run, measured from the same region.
- A baseline rule asks that the candidate arm is not worse than the baseline arm of the same run by
  more than the margin; better is never a fault.  ``within 5% or 5ms`` allows the larger of the two,
  ``within margin`` takes both from the plan's ``[gate]``.  Arms that are not named are those called
  ``candidate`` and ``base``.
- Percentiles are 0 to 100, nearest rank, with failed requests as infinitely slow.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from loadtest.errors import PlanError
from loadtest.plan.model import Plan

Dimension = Literal["region", "deployment", "scenario"]
Kind = Literal["absolute", "relative", "baseline"]
Comparator = Literal["<", "<=", ">", ">="]
Unit = Literal["ms", "trips", "share"]

TIMES = (
    "ttfb",
    "ttfb_cold",
    "response_from_schedule",
    "queue",
    "dns",
    "connect",
    "tls",
    "send",
    "wait",
    "receive",
    "db",
    "app",
)
COUNTS = ("db_round_trips",)
SHARES = ("replayed", "errors")
METRICS = (*TIMES, *COUNTS, *SHARES)
DIMENSIONS: tuple[Dimension, ...] = ("region", "deployment", "scenario")
BASE_ARM = "base"
CANDIDATE_ARM = "candidate"


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric and how it is boiled down; ``percentile`` is None for mean, rate and share."""

    metric: str
    percentile: float | None

    @property
    def unit(self) -> Unit:
        """The unit of its value."""
        if self.metric in SHARES:
            return "share"
        return "trips" if self.metric in COUNTS else "ms"

    def __str__(self) -> str:
        if self.percentile is not None:
            return f"{self.metric}.p{self.percentile:g}"
        return f"{self.metric}.{'share' if self.metric in SHARES else 'mean'}"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a cell must be: its ``dimension`` among ``names``, or not among them."""

    dimension: Dimension
    names: tuple[str, ...]
    negated: bool = False

    def holds(self, value: str) -> bool:
        """Tell whether a cell with this value of the dimension is selected."""
        return (value in self.names) != self.negated


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse a candidate may be: the larger of a share of the baseline and ``absolute``."""

    share: float = 0.0
    absolute: float = 0.0
    from_plan: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """
    One parsed rule.

    ``limit`` is in milliseconds, round trips or as a share (0 to 1); for a relative rule it is the
    factor.  ``arm`` is the deployment that is judged, ``other`` the one it is compared with; both
    are empty in absolute rules.
    """

    text: str
    kind: Kind
    measure: Measure
    comparator: Comparator = "<="
    limit: float = 0.0
    arm: str = ""
    other: str = ""
    other_measure: Measure | None = None
    margin: Margin = Margin()
    conditions: tuple[Condition, ...] = ()
    each: tuple[Dimension, ...] = ()
    pooled: bool = False

    def selects(self, region: str, deployment: str, scenario: str) -> bool:
        """Tell whether the clauses select a cell."""
        value = {"region": region, "deployment": deployment, "scenario": scenario}
        return all(c.holds(value[c.dimension]) for c in self.conditions)

    def group(self, region: str, deployment: str, scenario: str) -> tuple[str, str, str]:
        """Return what a cell is judged with: its own key, or empty where cells are pooled."""
        if not self.pooled:
            return (region, deployment, scenario)
        each = self.each
        return (
            region if "region" in each else "",
            deployment if "deployment" in each else "",
            scenario if "scenario" in each else "",
        )


def parse_threshold(text: str) -> Threshold:
    """
    Parse one rule.

    Raises:
        PlanError: It is not of the grammar; the message has a caret under the fault, what was
            expected there, and the nearest word.
    """
    from loadtest.plan.threshold_parser import Parser  # the parser builds on this module's types

    return Parser(text).threshold()


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
        # A scenario's name stands in its Python file, which is not read here.
        if condition.dimension != "scenario":
            named += [(condition.dimension, name) for name in condition.names]
    unknown = False
    for dimension, name in dict.fromkeys(named):
        known = _names(plan, dimension)
        if name in known or name in ignored:
            continue
        unknown = True
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        yield (
            f"thresholds: {rule.text!r}: there is no {dimension} {name!r} in the plan{hint} "
            f"It has {', '.join(known)}"
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
