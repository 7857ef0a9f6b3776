"""What a verdict says in words: why, what would flip it, how long until it could be decided."""

from __future__ import annotations

import math

from loadtest.gate.evidence import Measurement
from loadtest.gate.questions import Question
from loadtest.gate.results import Decision
from loadtest.plan.thresholds import Threshold
from loadtest.units import format_ms


def unit_of(rule: Threshold) -> str:
    """Return the unit that a rule's result is in: ms, trips, share, or x for a ratio of arms."""
    return "x" if rule.kind == "relative" else rule.measure.unit


def show(value: float, unit: str) -> str:
    """Return a value with its unit, for people."""
    if unit == "ms":
        return format_ms(value)
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "without bound"
    if unit == "share":
        return f"{value:.3g}" if abs(value) > 1 else f"{value * 100:.3g} %"
    if unit == "x":
        return f"{value:.3g}x"
    return f"{value:.3g} round trip{'' if value == 1 else 's'}"


def why(question: Question, found: Measurement, decision: Decision, coverage: float) -> str:
    """Return the sentence that gives the reason for a decision."""
    rule = question.rule
    if found.lacking:
        return f"{question.cell}: not decided, {found.lacking}."
    unit = unit_of(rule)
    if math.isnan(found.low) or found.low == found.high:
        interval = "does not vary"
    else:
        interval = (
            f"{100 * coverage:.3g} % interval {show(found.low, unit)} to {show(found.high, unit)}"
        )
    place = {"fail": "beyond", "pass": "within"}.get(decision, "not clearly on either side of")
    limit = "margin" if rule.kind == "baseline" else "limit"
    return (
        f"{question.cell}: {_observed(question, found)} ({interval}), {place} the {limit} of "
        f"{show(found.limit, unit)}."
    )


def _observed(question: Question, found: Measurement) -> str:
    rule, unit = question.rule, unit_of(question.rule)
    if rule.kind == "relative":
        return f"{rule.measure} is {show(found.observed, unit)} that of {rule.other}"
    if rule.kind == "baseline":
        base = found.base or 0.0
        change = f", {found.observed / base:+.1%}" if base else ""
        direction = "more" if found.observed >= 0 else "less"
        amount = show(abs(found.observed), unit)
        return (
            f"{rule.measure} is {amount} {direction} than the baseline's {show(base, unit)}{change}"
        )
    return f"{rule.measure} is {show(found.observed, unit)}"


def flip(question: Question, found: Measurement, decision: Decision, seconds: float | None) -> str:
    """Return the sentence that says what would change a decision."""
    rule, unit = question.rule, unit_of(question.rule)
    if found.lacking and math.isnan(found.observed):
        return "Any sample at all."
    if decision == "invalid":
        return "A run that keeps within the limits of validity would decide it."
    up, down = ("rise", "fall") if rule.comparator in ("<", "<=") else ("fall", "rise")
    distance = abs(found.limit - found.observed)
    if decision == "pass":
        return f"A {up} by more than {show(distance, unit)} would break it."
    if decision == "fail":
        return f"It would have to {down} by {show(distance, unit)} to hold."
    if seconds is None:
        return "The observed value lies so near the limit that more sampling is unlikely to decide."
    return f"About {seconds:.0f} s more of the same sampling are estimated to decide."
