"""
What a run will be able to tell, reckoned before its load from the noise that a pilot met.

Made-up runs of the plan's own length, rate, rules, looks and error rates are decided by the gate's
own decision.  Their values are the pilot's, drawn again and blurred as a density estimate is, so a
tail or a second mode stays what it was.  What a pilot of seconds cannot see, such as drift, is not
in it: the run itself says what came of that.

Source of the blur: Silverman, "Density Estimation for Statistics and Data Analysis", 1986, 3.4 and
6.4 (smoothed bootstrap), on logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked, blocked
from loadtest.analysis.bootstrap import Weights, draw_weights
from loadtest.analysis.cells import CellRows
from loadtest.gate.decide import levels_of
from loadtest.gate.errors import Failures
from loadtest.gate.evidence import detectable
from loadtest.gate.judgement import FamilyJudgement, Judgement, decide_family
from loadtest.gate.questions import Question
from loadtest.plan.model import Plan
from loadtest.plan.threshold_checks import arms_of, parse_thresholds
from loadtest.plan.thresholds import Measure, Threshold

Values = NDArray[np.float64]
Cell = tuple[str, str]
"""Region and deployment."""

FEWEST: Final = 10
"""Values of a cell below which its noise is not known."""

_DRAWS: Final = 5
_SILVERMAN: Final = 0.9
_SCENARIO: Final = "pilot"


@dataclass(frozen=True, slots=True)
class DetectableChange:
    """The smallest slow-down that 80 of 100 such runs find: a rule's measure, a share of base."""

    measure: str
    share: float


@dataclass(frozen=True, slots=True)
class Foresight:
    """
    What a run can tell if its noise is the pilot's.

    Args:
        finds: What it finds when all looks are taken, in the noisiest region.
        passes_after_s: Seconds of load after which equal arms are passed; None if they never are.
        longest_s: Seconds of load with all looks taken.
    """

    finds: tuple[DetectableChange, ...]
    passes_after_s: float | None
    longest_s: float


@dataclass(frozen=True)
class SupposedSamples:
    """Samples of cells whose values are given, by block and request; nothing fails in them."""

    values: Mapping[Cell, Values]
    resamples: int

    def sample(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        """Return the values of one cell; of a count, one for each request."""
        values = self._of(cells)
        if measure.unit != "ms":
            values = np.ones_like(values)
        blocks, per = values.shape
        return blocked(values.ravel(), np.repeat(np.arange(blocks), per).astype(np.int32), blocks)

    def at_once(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        """Return the same: there is but one region in a cell."""
        return self.sample(cells, measure)

    def failures(self, cells: tuple[CellRows, ...], metric: str) -> Failures:  # noqa: ARG002
        """Return that none failed."""
        blocks, per = self._of(cells).shape
        return Failures(np.zeros(blocks), np.full(blocks, float(per)))

    def weights(self, cells: tuple[CellRows, ...]) -> Weights:
        """Return resampling weights of its blocks."""
        return draw_weights(self._of(cells).shape[0], self.resamples, 1, cells[0].region)

    def pages_on_links(self, cells: tuple[CellRows, ...]) -> Mapping[str, float]:  # noqa: ARG002
        """Return that apps tell their round trips."""
        return {}

    def _of(self, cells: tuple[CellRows, ...]) -> Values:
        (cell,) = cells
        return self.values[cell.region, cell.deployment]


def foresee(plan: Plan, pilot: Mapping[Cell, Sequence[float]]) -> Foresight | None:
    """
    Reckon what a run of a plan can tell.

    Args:
        plan: Resolved plan; its rules that compare percentiles of two arms are looked at.
        pilot: Times to first byte of a pilot, in milliseconds.

    Returns:
        None where the plan has no such rule, or the pilot too few values.
    """
    rules = [rule for rule in parse_thresholds(plan) if _compares(rule)]
    asked = [_questions(plan, rule) for rule in rules]
    cells = {(q.region, q.others[0].deployment) for some in asked for q in some}
    if not cells or any(len(pilot.get(cell, ())) < FEWEST for cell in cells):
        return None
    blocks = max(1, round(plan.load.duration_s / plan.load.block_s))
    per = max(1, round(plan.load.rate * plan.load.block_s))
    looks = plan.gate.max_looks
    draws = [_drawn(asked, pilot, (blocks * looks, per), number) for number in range(_DRAWS)]

    def judged(values: Mapping[Cell, Values], look: int) -> FamilyJudgement:
        seen = {cell: drawn[: blocks * look] for cell, drawn in values.items()}
        samples = SupposedSamples(seen, plan.gate.resamples)
        return decide_family(asked, samples, plan.gate, levels_of(plan.gate.alpha, look, looks))

    def pass_at(look: int) -> bool:
        return sum(_passes(judged(values, look)) for values in draws) > _DRAWS / 2

    first, last = 1, looks
    passes = pass_at(last)
    while passes and first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if pass_at(middle) else (middle + 1, last)
    whole = judged(draws[0], looks)
    strictest = levels_of(plan.gate.alpha, looks, looks).side / max(1, whole.size)
    return Foresight(
        finds=tuple(
            found for judged_rule in whole.rules if (found := _finding(judged_rule, strictest))
        ),
        passes_after_s=first * plan.load.duration_s if passes else None,
        longest_s=looks * plan.load.duration_s,
    )


def _compares(rule: Threshold) -> bool:
    measure = rule.measure
    return rule.kind == "baseline" and measure.percentile is not None and measure.unit == "ms"


def _questions(plan: Plan, rule: Threshold) -> list[Question]:
    arm, base = arms_of(rule, plan)
    return [
        Question(rule, region, arm, _SCENARIO, (_cell(region, arm),), (_cell(region, base),))
        for region in plan.regions
        if {arm, base} <= set(plan.arms_in(region)) and rule.selects(region, arm, _SCENARIO)
    ]


def _cell(region: str, deployment: str) -> CellRows:
    return CellRows(region, deployment, _SCENARIO, np.empty(0, np.int32))


def _drawn(
    asked: Sequence[Sequence[Question]],
    pilot: Mapping[Cell, Sequence[float]],
    shape: tuple[int, int],
    number: int,
) -> dict[Cell, Values]:
    """Draw both arms of every question from the noise of the one that is compared with."""
    rng = np.random.Generator(np.random.PCG64([number, 20_261_127]))
    drawn: dict[Cell, Values] = {}
    for question in (question for some in asked for question in some):
        for cell in (*question.cells, *question.others):
            source = pilot[question.region, question.others[0].deployment]
            if (cell.region, cell.deployment) not in drawn:
                drawn[cell.region, cell.deployment] = _blurred(source, shape, rng)
    return drawn


def _blurred(source: Sequence[float], shape: tuple[int, int], rng: np.random.Generator) -> Values:
    logs = np.log(np.maximum(np.asarray(source, np.float64), 1e-3))
    quartiles = np.percentile(logs, [25, 75])
    spread = min(float(logs.std()), float(quartiles[1] - quartiles[0]) / 1.34)
    width = _SILVERMAN * spread * logs.size**-0.2
    return np.asarray(np.exp(rng.choice(logs, shape) + width * rng.standard_normal(shape)))


def _passes(found: FamilyJudgement) -> bool:
    return all(one.decision == "pass" for judged in found.rules for one in judged)


def _finding(judged: Sequence[Judgement], side: float) -> DetectableChange | None:
    """Return what a rule finds in the region where it finds least; None where it finds nothing."""
    shares = []
    for one in judged:
        value, base = detectable(one.evidence, one.question.rule, side), one.evidence.base
        shares.append(math.inf if value is None or not base else value / base)
    worst = max(shares, default=math.inf)
    measure = str(judged[0].question.rule.measure) if judged else ""
    return DetectableChange(measure, worst) if math.isfinite(worst) else None
