"""
All questions of a run decided together: what chance is allowed is shared by every rule and cell.

This is the whole of the decision.  Where samples come from is not asked: from a run's records, or
from a simulation that counts how often the decision is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.analysis.scores import WIDE_BELOW
from loadtest.gate.decide import Levels, decide, holm
from loadtest.gate.evidence import Measurement
from loadtest.gate.families import all_regions_p, arm_pair, drifting_pairs
from loadtest.gate.measure import measure
from loadtest.gate.questions import Question, SampleSource
from loadtest.gate.results import Decision
from loadtest.plan.model import Gate


@dataclass(frozen=True, slots=True)
class Judgement:
    """One question, its evidence, and what follows from it."""

    question: Question
    evidence: Measurement
    decision: Decision


@dataclass(frozen=True, slots=True)
class FamilyJudgement:
    """
    The judgements on a family of rules.

    ``rules`` has each rule's, in the order of its cells.  ``together`` has the probability that
    chance made all cells of a rule as slow as they were, for the rules that fail by that.  ``size``
    is how many hypotheses share the error rate.
    """

    rules: tuple[tuple[Judgement, ...], ...]
    together: dict[int, float]
    size: int


def decide_family(
    asked: Sequence[Sequence[Question]],
    samples: SampleSource,
    gate: Gate,
    levels: Levels,
    *,
    is_valid: Callable[[Question], bool] = lambda _: True,
) -> FamilyJudgement:
    """
    Decide every question of some rules.

    Args:
        asked: Of each rule, its questions.
        samples: What was measured.
        gate: Margins.
        levels: Error rates of the look.
        is_valid: Tells whether a question's cells can be trusted; others are ``invalid``.
    """
    drifting = drifting_pairs([question for some in asked for question in some], samples)
    found = [
        [(q, measure(q, samples, gate, levels, drifts=arm_pair(q) in drifting)) for q in some]
        for some in asked
    ]
    together = [_all_regions(some, drifting, is_valid) for some in found]
    asked_together = [number for number, p in enumerate(together) if p < 1]
    alone = [evidence for some in found for _, evidence in some]
    rejected = rejections(alone, levels, [together[number] for number in asked_together])
    fails = iter(rejected)
    rules = tuple(
        tuple(_judgement(q, evidence, next(fails), levels, is_valid) for q, evidence in some)
        for some in found
    )
    return FamilyJudgement(
        rules=rules,
        together={
            n: together[n] for n, failed in zip(asked_together, fails, strict=True) if failed
        },
        size=len(rejected),
    )


def rejections(
    found: Sequence[Measurement], levels: Levels, more: Sequence[float] = ()
) -> list[bool]:
    """
    Tell of which evidence Holm's procedure rejects that the rule holds.

    Args:
        found: The evidence; what cannot be decided stays in the family, as a hypothesis that is
            not rejected.
        levels: Error rates of the look.
        more: Probabilities of further hypotheses of the family.
    """
    return holm([*(1.0 if e.lacking else e.p_fail for e in found), *more], levels.side)


def _judgement(
    question: Question,
    evidence: Measurement,
    fails: bool,
    levels: Levels,
    is_valid: Callable[[Question], bool],
) -> Judgement:
    decision = decide(evidence.p_fail, evidence.p_pass, fails=fails, levels=levels)
    if evidence.lacking:
        decision = "invalid" if evidence.base_failed else "inconclusive"
    return Judgement(question, evidence, decision if is_valid(question) else "invalid")


def _all_regions(
    some: Sequence[tuple[Question, Measurement]],
    drifting: set[tuple[str, str]],
    is_valid: Callable[[Question], bool],
) -> float:
    """Return how likely chance made all valid regions of a rule as slow as they were; 1 for one."""
    valid = [evidence for question, evidence in some if is_valid(question)]
    if len(valid) < 2:
        return 1.0
    drifted = any(arm_pair(question) in drifting for question, _ in some)
    wide = drifted or min(evidence.blocks for evidence in valid) < WIDE_BELOW
    return all_regions_p(valid, wide=wide, drifting=drifted)
