"""What a verdict says in words: why, what would flip it, how long until it could be decided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from loadtest.gate.shown import show, show_amount, show_result

if TYPE_CHECKING:
    from loadtest.gate.results import RuleResult
    from loadtest.plan.thresholds import Threshold

DRIFTED: Final = "An arm moved by itself while it was measured, so far more evidence is asked for."
STEADY_ARMS: Final = (
    "Arms that stay as they are, or change machines during the run; else a longer run, in which "
    "the movement averages out."
)
HEALTHY_BASE: Final = "A base that answers what it is asked."
_FEWER_FAILURES: Final = "Fewer requests would have to fail."
_PLACES: Final = {"fail": "beyond", "pass": "within"}


def base_fails(share: float) -> str:
    """Return why a base that fails in a share of its requests leaves a rule open."""
    failed = show(share, "share")
    return (
        f"The arm that it is compared with failed in {failed} of its requests; a rule "
        "holds or is broken only if it is so with them as the slowest and without them."
    )


def unit_of(rule: Threshold) -> str:
    """Return the unit that a rule's result is in: ms, trips, share, or x for a ratio of arms."""
    return "x" if rule.kind == "relative" else rule.measure.unit


def why(result: RuleResult, rule: Threshold, coverage: float, lacking: str) -> str:
    """
    Return the sentence that gives the reason for a decision.

    Args:
        result: Numbers and decision; its own sentences are not read.
        rule: What was asked.
        coverage: Of the result's interval, such as 0.95.
        lacking: Why nothing can be decided; empty when it can.
    """
    if lacking:
        return f"{result.cell}: not decided, {lacking}."
    shown = show_result(result)
    link = "of" if result.kind in ("baseline", "relative") else "is"
    spread = f"{100 * coverage:.3g} % interval {shown.interval}" if shown.interval else "no spread"
    open_place = "so far within" if _is_within(result, rule) else "not clearly on either side of"
    place = _PLACES.get(result.decision, open_place)
    return (
        f"{result.cell}: {result.metric} {link} {shown.observed} ({spread}), {place} the "
        f"{shown.limit_name} of {shown.limit}."
    )


def _is_within(result: RuleResult, rule: Threshold) -> bool:
    """Tell whether all of an interval keeps the rule."""
    if rule.comparator in ("<", "<="):
        return result.high is not None and result.high < result.limit
    return result.low is not None and result.low > result.limit


def flip(result: RuleResult, rule: Threshold, lacking: str) -> str:
    """
    Return the sentence that says what would change a decision.

    Args:
        result: Numbers, decision and estimate of the time; its own sentences are not read.
        rule: What was asked.
        lacking: Why nothing can be decided; empty when it can.
    """
    if lacking and result.observed is None:
        return "Any sample at all."
    if result.decision == "invalid":
        return "A run that keeps within the limits of validity would decide it."
    if result.decision in ("pass", "fail") and result.observed is not None:
        if not math.isfinite(result.observed):
            return _FEWER_FAILURES
        up, down = ("rise", "fall") if rule.comparator in ("<", "<=") else ("fall", "rise")
        distance = show_amount(result.limit - result.observed, result.unit)
        what = {"baseline": "The difference", "relative": "The ratio"}.get(rule.kind, "It")
        if result.decision == "pass":
            return f"{what} would have to {up} by more than {distance} to break the rule."
        return f"{what} would have to {down} by {distance} to hold."
    return _to_decide(result)


def _to_decide(result: RuleResult) -> str:
    """Return what an undecided rule lacks."""
    if result.seconds_to_decide is not None:
        seconds = f"{result.seconds_to_decide:.0f} s"
        return f"About {seconds} more of the same sampling are estimated to decide."
    if _unbounded(result):
        return "The run is too short to bound the value on both sides; measure longer."
    return "The observed value lies so near the limit that more sampling is unlikely to decide."


def _unbounded(result: RuleResult) -> bool:
    """Tell whether a value that is known has an interval that is not."""
    ends = (result.low, result.high)
    known = result.observed is not None and math.isfinite(result.observed)
    return known and any(end is None or math.isinf(end) for end in ends)
