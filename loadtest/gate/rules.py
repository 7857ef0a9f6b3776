"""Rules on cells: all questions measured, decided together, each with its reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from loadtest.analysis.cells import CellRows
from loadtest.analysis.checks import Validity
from loadtest.analysis.load import Run
from loadtest.analysis.scores import WIDE_BELOW
from loadtest.analysis.special import student_quantile
from loadtest.gate.decide import Levels, decide, holm
from loadtest.gate.evidence import Measurement, detectable, with_interval
from loadtest.gate.families import all_regions_p, arm_pair, drifting_pairs
from loadtest.gate.measure import measure
from loadtest.gate.questions import Question, Samples, questions_of
from loadtest.gate.results import Decision, RuleResult
from loadtest.gate.sentences import DRIFTED, STEADY_ARMS, flip, unit_of, why
from loadtest.gate.shown import show, show_result
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
        asked = [(rule, questions_of(self.run, self.cells, rule)) for rule in rules]
        questions = [question for _, some in asked for question in some]
        drifting = drifting_pairs(questions, self.samples)
        found = self._measured(questions, drifting)
        by_rule = [
            [(q, e) for q, e in zip(questions, found, strict=True) if q.rule is rule]
            for rule, _ in asked
        ]
        together = [self._all_regions(some, drifting) for some in by_rule]
        rejected = self._rejected(found, [p for p in together if p < 1])
        in_all = dict(
            zip(
                (number for number, p in enumerate(together) if p < 1),
                rejected[len(found) :],
                strict=True,
            )
        )
        strictest = self.levels.side / max(1, len(rejected))
        results = []
        for question, evidence, fails in zip(questions, found, rejected, strict=False):
            decision = decide(evidence.p_fail, evidence.p_pass, fails=fails, levels=self.levels)
            if evidence.lacking:
                decision = "invalid" if evidence.base_failed else "inconclusive"
            results.append(
                self._result(question, evidence, self._valid(question, decision), strictest)
            )
        for number, fails in in_all.items():
            if fails:
                results.append(self._together(by_rule[number], together[number]))
        return [*results, *(_unasked(rule) for rule, some in asked if not some)]

    def _all_regions(
        self, some: list[tuple[Question, Measurement]], drifting: set[tuple[str, str]]
    ) -> float:
        valid = [e for q, e in some if self._valid(q, "pass") == "pass"]
        if len(valid) < 2:
            return 1.0
        drifted = any(arm_pair(question) in drifting for question, _ in some)
        wide = drifted or min(e.blocks for e in valid) < WIDE_BELOW
        return all_regions_p(valid, wide=wide, drifting=drifted)

    def _together(self, some: list[tuple[Question, Measurement]], p_fail: float) -> RuleResult:
        """Return the failure of a rule in all its regions together."""
        worst = max(some, key=lambda one: one[1].excess if math.isfinite(one[1].excess) else -1.0)
        question = replace(worst[0], region="")
        result = self._result(question, worst[1], "fail", self.levels.side)
        reason = (
            f"{question.cell}: {worst[0].rule.measure} is slower than the rule allows in the mean "
            f"of {len(some)} regions, where one alone need not show it; the worst is "
            f"{worst[0].region}."
        )
        return replace(result, why=reason, p_fail=p_fail)

    def budget(self) -> list[RuleResult]:
        """
        Return a result of the error budget for each cell, a family of its own.

        It fails on evidence of more errors than the budget, and passes otherwise.  The errors of a
        baseline arm are not held against the candidate.
        """
        share = self.run.plan.gate.error_budget
        rule = Threshold(
            text=f"errors within the budget of {show(share, 'share')}",
            kind="absolute",
            measure=Measure("errors", None),
            limit=share,
            conditions=(Condition("deployment", (BASE_ARM,), negated=True),),
        )
        questions = [q for q in questions_of(self.run, self.cells, rule) if q.cells[0].rows.size]
        # A short run carries no pass; the budget passes anyway, and an outage must fail it.
        found = [replace(one, lacking="") for one in self._measured(questions, set())]
        return [
            self._budget_result(question, evidence, fails)
            for question, evidence, fails in zip(
                questions, found, self._rejected(found), strict=True
            )
        ]

    def _measured(
        self, questions: list[Question], drifting: set[tuple[str, str]]
    ) -> list[Measurement]:
        gate, levels = self.run.plan.gate, self.levels
        return [
            measure(q, self.samples, gate, levels, drifts=arm_pair(q) in drifting)
            for q in questions
        ]

    def _rejected(self, found: list[Measurement], more: Sequence[float] = ()) -> list[bool]:
        # What cannot be decided stays in the family, as a hypothesis that is not rejected.
        return holm([*(1.0 if e.lacking else e.p_fail for e in found), *more], self.levels.side)

    def _valid(self, question: Question, decision: Decision) -> Decision:
        used = (*question.cells, *question.others)
        counting = question.rule.measure.metric in COUNTS
        against = any(self.validity.against(*cell.key, counting=counting) for cell in used)
        return "invalid" if against else decision

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
        reason = why(result, self.levels.coverage, found.lacking)
        if decision == "invalid" and not found.base_failed:
            reason = self._why_invalid(question)
        if found.drifts and decision == "inconclusive" and not found.lacking:
            return replace(result, why=f"{reason} {DRIFTED}", flip=STEADY_ARMS)
        return replace(result, why=reason, flip=flip(result, rule, found.lacking))

    def _budget_result(self, question: Question, found: Measurement, fails: bool) -> RuleResult:
        decision = self._valid(question, "fail" if fails else "pass")
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
        if found.lacking:
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
