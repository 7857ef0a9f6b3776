"""One question's evidence, and the few rules that every kind of question shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from loadtest.analysis.blocks import MIN_GROUPS, Blocked
from loadtest.analysis.bootstrap import Evidence
from loadtest.analysis.percentiles import LEAST_BLOCKS, needed
from loadtest.analysis.scores import Series
from loadtest.analysis.special import student_quantile
from loadtest.plan.thresholds import Measure, Threshold

POWER_TAIL: Final = 0.20
"""A detectable effect is one that 80 of 100 runs would find."""
LEAST_COUNTS: Final = 20
"""So many equal counts, such as of round trips, are taken as what is always so."""
_EQUAL: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    What a question's samples say.

    ``excess`` is positive when the rule is broken as observed and ``error`` its standard error;
    both in the unit of the samples.  ``reach`` is what turns an excess into the unit of
    ``observed`` (1, or one over the other arm's value).  ``lacking`` says in words why nothing can
    be decided; empty when it can.
    """

    observed: float
    low: float
    high: float
    limit: float
    base: float | None
    n: int
    blocks: int
    excess: float
    error: float
    reach: float
    p_fail: float
    p_pass: float
    series: Series | None = field(default=None, compare=False)
    """Differences by block, of two percentiles; ``floor`` is the least variance of their mean."""
    floor: float = 0.0
    finder: Callable[[float], float] | None = field(default=None, compare=False)
    """Error of the failing side -> smallest value that 80 of 100 such runs would call fail."""
    bounds: Callable[[], tuple[float, float]] | None = field(default=None, compare=False)
    """The interval, where it takes long and a decision does without it: see `with_interval`."""
    freedom: float = 0.0
    """Degrees of freedom of the error; 0 stands for one less than blocks."""
    drifts: bool = False
    """An arm moved by itself while it was measured; probabilities allow for it."""
    base_failed: bool = False
    """Nearly nothing of the arm that is compared with was answered: it is no base."""
    base_failures: float = 0.0
    """Share of the requests of the arm that is compared with that failed."""
    lacking: str = ""
    lacking_factor: float = 0.0
    """How many times the present sample would do, where it is too small."""
    note: str = ""
    """How the number came about, where that bears on what it tells."""
    unseen: str = ""
    """Why it is too small to pass, though not to fail; empty where it is not."""


def detectable(found: Measurement, rule: Threshold, side: float) -> float | None:
    """
    Return the smallest true value that would have been called fail in 80 of 100 such runs.

    Args:
        found: The evidence.
        rule: What was asked.
        side: Error on the failing side, Holm's correction at its strictest included.
    """
    if found.finder is not None:
        value = found.finder(side)
        return value if math.isfinite(value) else None
    if not math.isfinite(found.error) or found.blocks < MIN_GROUPS:
        return None
    freedom = found.freedom or found.blocks - 1
    reach = student_quantile(side, freedom)
    reach += student_quantile(POWER_TAIL, freedom)
    return found.limit + sign_of(rule) * reach * found.error * found.reach


def with_interval(found: Measurement, side: float) -> Measurement:
    """
    Return a measurement with its interval, where it has been left out so far.

    The interval is the test turned round, so its width tells the error in the unit of the rule.

    Args:
        found: The evidence.
        side: Error on either side of the interval.
    """
    if found.bounds is None:
        return found
    low, high = found.bounds()
    error = (high - low) / 2 / student_quantile(side, found.freedom)
    return replace(found, low=low, high=high, error=error, bounds=None)


def sign_of(rule: Threshold) -> float:
    """Return 1 where more is worse, -1 where less is."""
    return -1.0 if rule.comparator in (">", ">=") else 1.0


def nothing(sample: Blocked, limit: float) -> Measurement:
    """Return the measurement of a sample that is empty."""
    nan = math.nan
    return Measurement(
        observed=nan,
        low=nan,
        high=nan,
        limit=limit,
        base=None,
        n=sample.n,
        blocks=sample.groups,
        excess=nan,
        error=math.inf,
        reach=1.0,
        p_fail=1.0,
        p_pass=1.0,
        lacking="there is no sample",
    )


def carries(asked: Measure, sample: Blocked) -> tuple[str, float]:
    """Return why a sample cannot carry a measure (empty if it can), and how many times it would."""
    if asked.unit != "ms" and is_constant(sample) and sample.n >= LEAST_COUNTS:
        return "", 0.0
    if asked.percentile is not None:
        want = needed(asked.percentile, gate=True)
        if sample.n < want:
            return f"{sample.n} samples do not carry p{asked.percentile:g}: {want} do", want / max(
                1, sample.n
            )
    least = LEAST_BLOCKS if asked.unit == "ms" else MIN_GROUPS
    if sample.groups < least:
        return (
            f"{sample.groups} blocks are too few to tell noise: {least} are needed",
            least / max(1, sample.groups),
        )
    return "", 0.0


def is_constant(sample: Blocked) -> bool:
    """Tell whether a sample has values and they are all the same."""
    return bool(sample.n) and sample.values[0] == sample.values[-1]


def strict(rule: Threshold, evidence: Evidence, point: float) -> Evidence:
    """Decide at once what does not vary, such as a count of round trips: by the comparator."""
    if evidence.error > _EQUAL:
        return evidence
    broken = point >= -_EQUAL if rule.comparator in ("<", ">") else point > _EQUAL
    return replace(
        evidence,
        p_above_is_chance=0.0 if broken else 1.0,
        p_below_is_chance=1.0 if broken else 0.0,
    )
