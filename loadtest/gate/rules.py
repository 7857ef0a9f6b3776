"""Rules on cells: all questions measured, decided together, each with its reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from loadtest.analysis.cells import CellRows
from loadtest.analysis.checks import Validity
from loadtest.analysis.load import Run
from loadtest.analysis.special import student_quantile
from loadtest.gate.decide import Levels
from loadtest.gate.evidence import Measurement, detectable, with_interval
from loadtest.gate.judgement import Judgement, decide_family, rejections
from loadtest.gate.questions import Question, Samples, questions_of
from loadtest.gate.results import Decision, RuleResult
from loadtest.gate.sentences import (
    DRIFTED,
    HEALTHY_BASE,
    STEADY_ARMS,
    base_fails,
    flip,
    unit_of,
    why,
)
from loadtest.gate.shares import measure_budget
from loadtest.gate.shown import show, show_result
from loadtest.plan.threshold_checks import compares_arms
from loadtest.plan.thresholds import BASE_ARM, COUNTS, Condition, Measure, Threshold

BUDGET_KIND: Final = "budget"
_LONGEST_S: Final = 86_400.0


class Judge:
    """
    Judges rules on the cells of one run.

    Args:
        run: The run.
        cells: Its cells.
        validity: What speaks against some of them.
        measured_s: Seconds of steady sampling so far.
        levels: The look's error rates.
    """

    def __init__(
        self,
        run: Run,
        cells: tuple[CellRows, ...],
        validity: Validity,
        *,
        measured_s: float,
        levels: Levels,
    ) -> None:
        self.run = run
        self.cells = cells
        self.validity = validity
        self.measured_s = measured_s
        self.levels = levels
        self.samples = Samples(run, cells, run.plan.gate.resamples)

    def thresholds(self, rules: Sequence[Threshold]) -> list[RuleResult]:
        """Return a result for each rule and cell; Holm's family is all of them."""
        asked = [questions_of(self.run, self.cells, rule) for rule in rules]
        found = decide_family(
            asked, self.samples, self.run.plan.gate, self.levels, is_valid=self._is_valid
        )
        strictest = self.levels.side / max(1, found.size)
        results = [
            self._result(one.question, one.evidence, one.decision, strictest)
            for judged in found.rules
            for one in judged
        ]
        results += [self._together(found.rules[n], p) for n, p in found.together.items()]
        unasked = (rule for rule, some in zip(rules, asked, strict=True) if not some)
        return [*results, *map(_unasked, unasked)]

    def _together(self, some: Sequence[Judgement], p_fail: float) -> RuleResult:
        """Return the failure of a rule in all its regions together."""
        worst = max(
            some,
            key=lambda one: one.evidence.excess if math.isfinite(one.evidence.excess) else -1.0,
        )
        question = replace(worst.question, region="")
        result = self._result(question, worst.evidence, "fail", self.levels.side)
        reason = (
            f"{question.cell}: {question.rule.measure} is slower than the rule allows in the mean "
            f"of {len(some)} regions, where one alone need not show it; the worst is "
            f"{worst.question.region}."
        )
        return replace(result, why=reason, p_fail=p_fail)

    def budget(self) -> list[RuleResult]:
        """
        Return a result of the error budget for each cell, a family of its own.

        It fails on evidence of more errors than the budget, and passes otherwise.  The errors of an
        arm that others are compared with are not held against the candidate.
        """
        share = self.run.plan.gate.error_budget
        excused = (Condition("deployment", (BASE_ARM,), negated=True),)
        rule = Threshold(
            text=f"errors within the budget of {show(share, 'share')}",
            kind="absolute",
            measure=Measure("errors", None),
            limit=share,
            conditions=excused if compares_arms(self.run.plan) else (),
        )
        questions = [q for q in questions_of(self.run, self.cells, rule) if q.cells[0].rows.size]
        levels = self.levels
        found = [measure_budget(question, self.samples, levels) for question in questions]
        return [
            self._budget_result(question, evidence, fails)
            for question, evidence, fails in zip(
                questions, found, rejections(found, levels), strict=True
            )
        ]

    def _is_valid(self, question: Question) -> bool:
        used = (*question.cells, *question.others)
        counting = question.rule.measure.metric in COUNTS
        return not any(self.validity.against(*cell.key, counting=counting) for cell in used)

    def _result(
        self, question: Question, found: Measurement, decision: Decision, strictest: float
    ) -> RuleResult:
        found = with_interval(found, self.levels.side)
        seconds = self._seconds(found) if decision == "inconclusive" else None
        rule = question.rule
        result = RuleResult(
            rule=rule.text,
            cell=question.cell,
            region=question.region,
            deployment=question.deployment,
            scenario=question.scenario,
            kind=rule.kind,
            metric=str(rule.measure),
            unit=unit_of(rule),
            observed=_known(found.observed),
            low=_known(found.low),
            high=_known(found.high),
            limit=found.limit,
            base=_known(found.base),
            n=found.n,
            decision=decision,
            why="",
            flip="",
            detectable=detectable(found, rule, strictest),
            seconds_to_decide=seconds,
            p_fail=found.p_fail,
            p_pass=found.p_pass,
            blocks=found.blocks,
            other=question.others[0].deployment if question.others else "",
            name=question.name,
        )
        reason = f"{why(result, rule, self.levels.coverage, found.lacking)} {found.note}".strip()
        if decision == "invalid" and not found.base_failed:
            reason = self._why_invalid(question)
        if decision == "invalid" and found.base_failed:
            return replace(result, why=reason, flip=HEALTHY_BASE)
        if decision == "inconclusive" and not found.lacking:
            if found.base_failures:
                failed = base_fails(found.base_failures)
                return replace(result, why=f"{reason} {failed}", flip=HEALTHY_BASE)
            if found.drifts:
                return replace(result, why=f"{reason} {DRIFTED}", flip=STEADY_ARMS)
            if found.unseen:
                reason = f"{reason} {found.unseen}"
        return replace(result, why=reason, flip=flip(result, rule, found.lacking))

    def _budget_result(self, question: Question, found: Measurement, fails: bool) -> RuleResult:
        decision: Decision = "fail" if fails else "pass"
        if not self._is_valid(question):
            decision = "invalid"
        result = self._result(question, found, decision, self.levels.side)
        high = show(found.high, "share")
        meaning = (
            "more than chance explains"
            if fails
            else f"no evidence against it (though up to {high} cannot be excluded)"
        )
        result = replace(result, kind=BUDGET_KIND)
        shown = show_result(result)
        reason = (
            f"{question.cell}: {shown.observed} requests failed; with a budget of {shown.limit} "
            f"that is {meaning}."
        )
        turn = (
            "Errors within the budget would make it hold."
            if fails
            else "More errors than the budget explains would fail it."
        )
        why_ = result.why if decision == "invalid" else reason
        return replace(result, why=why_, flip=turn)

    def _why_invalid(self, question: Question) -> str:
        cells = (*question.cells, *question.others)
        against = [sentence for cell in cells for sentence in self.validity.against(*cell.key)]
        more = len(set(against)) - 1
        rest = f" (and {more} more)" if more > 0 else ""
        first = against[0] if against else "Its numbers cannot be trusted."
        return f"{question.cell}: not judged. {first}{rest}"

    def _seconds(self, found: Measurement) -> float | None:
        """Estimate the further sampling: standard errors shrink with the root of the time."""
        if found.lacking or found.unseen:
            more = self.measured_s * (found.lacking_factor - 1)
            return more if 0 < more <= _LONGEST_S else None
        if not math.isfinite(found.error) or not found.excess or found.blocks < 2:
            return None
        wanted = student_quantile(self.levels.side, found.blocks - 1)
        factor = (wanted * found.error / abs(found.excess)) ** 2
        # The exact tests may want more than the standard error says: at least half as much again.
        more = self.measured_s * max(factor - 1, 0.5)
        return more if more <= _LONGEST_S else None


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _unasked(rule: Threshold) -> RuleResult:
    """A rule that no cell of the records answers cannot be passed."""
    reason = "no cell of the run is selected by this rule"
    return RuleResult(
        rule=rule.text,
        cell="no cell",
        region="",
        deployment="",
        scenario="",
        kind=rule.kind,
        metric=str(rule.measure),
        unit=unit_of(rule),
        observed=None,
        low=None,
        high=None,
        limit=rule.limit,
        base=None,
        n=0,
        decision="inconclusive",
        why=f"Not decided: {reason}; see the names of its scenarios, regions and deployments.",
        flip="A run that measures what the rule is about.",
        detectable=None,
        seconds_to_decide=None,
        p_fail=None,
        p_pass=None,
        blocks=0,
    )
