"""The verdict on a run: validity first, then every rule, then one word and one exit code."""

from __future__ import annotations

from typing import Final

from loadtest.analysis.cells import cell_rows
from loadtest.analysis.load import Run
from loadtest.analysis.starts import starts_of
from loadtest.analysis.summary import Summary
from loadtest.gate.causes import failed_pages, with_cause
from loadtest.gate.decide import levels_of
from loadtest.gate.results import Decision, RuleResult, Verdict
from loadtest.gate.rules import Judge
from loadtest.gate.sizes import sizes_unlike
from loadtest.plan.threshold_checks import compares_arms, parse_thresholds

_PRECEDENCE: Final[tuple[Decision, ...]] = ("fail", "invalid", "inconclusive", "pass")


def judge(
    run: Run, summary: Summary, *, look: int | None = None, looks: int | None = None
) -> Verdict:
    """
    Judge a run by the thresholds of its plan and its error budget.

    A rule fails on valid evidence only, so one that does decides the run; then invalid goes before
    inconclusive, and inconclusive before pass.  A valid run without thresholds is ``none``.

    Args:
        run: The run, as loaded.
        summary: Its summary.
        look: Which look this is, 1 for the first; None takes it from the run's segments, so that a
            stored run is judged as it was then.
        looks: How many looks alpha is shared among; None takes the plan's ``gate.max_looks``.

    Raises:
        PlanError: A threshold is not of the grammar.
    """
    gate = run.plan.gate
    looks = gate.max_looks if looks is None else looks
    look = min(run.segments, looks) if look is None else look
    rules = parse_thresholds(run.plan)
    failures = failed_pages(summary)
    results: list[RuleResult] = []
    family = 0
    if rules:
        judging = Judge(
            run,
            cell_rows(run),
            summary.validity,
            measured_s=summary.run.measured_s,
            levels=levels_of(gate.alpha, look, looks),
        )
        results = judging.thresholds(rules)
        family = len(results)
        results += judging.budget()
        results = [with_cause(result, failures) for result in results]
    invalid = summary.validity.sentences
    decision = _overall(results, invalid)
    return Verdict(
        run_id=run.run_id,
        decision=decision,
        sentence=_sentence(decision, results, invalid, last=look >= looks),
        rules=tuple(results),
        invalid=invalid,
        family=family,
        alpha=gate.alpha,
        look=look,
        looks=looks,
        seed=run.plan.seed,
        resamples=gate.resamples,
        failures=failures,
        holds_for=" ".join(filter(None, (_holds_for(run), sizes_unlike(run, summary)))),
    )


def _holds_for(run: Run) -> str:
    """Say what a comparison of arms holds for, which is no more than what was drawn at random."""
    if not compares_arms(run.plan):
        return ""
    if times := run.world.exchanges:
        return (
            f"It holds for {times + 1} starts of each arm's processes on the machines of both, "
            f"which changed places {times} time{'s' if times > 1 else ''}: a lasting difference of "
            "machines is on both sides."
        )
    starts = starts_of(run)
    if starts is None:
        return (
            "It holds for the processes that ran: they were not started anew, so what belongs to "
            "one of them or to its machine looks like a difference of the arms."
        )
    if starts == 1:
        return (
            "It holds for one start of each arm's processes on one machine: what a start gives one "
            "of them by luck looks like a difference of the arms."
        )
    return f"It holds for {starts} starts of each arm's processes on one machine."


def _overall(results: list[RuleResult], invalid: tuple[str, ...]) -> Decision:
    found = {result.decision for result in results} | ({"invalid"} if invalid else set())
    return next((decision for decision in _PRECEDENCE if decision in found), "none")


def _nearness(result: RuleResult) -> tuple[float, float]:
    """Return what is smallest where a result is nearest to failing and farthest from passing."""
    p_fail, p_pass = (1.0 if p is None else p for p in (result.p_fail, result.p_pass))
    return p_fail, -p_pass


def _sentence(
    decision: Decision, results: list[RuleResult], invalid: tuple[str, ...], *, last: bool
) -> str:
    if decision == "none":
        return "Measured, not judged: the plan has no thresholds."
    total = len(results)
    named = [result for result in results if result.decision == decision]
    if decision == "invalid":  # a run's own fault, or of a rule whose base arm tells nothing
        told = invalid or tuple(dict.fromkeys(result.why for result in named))
        more = f" And {len(told) - 1} more." if len(told) > 1 else ""
        return f"Invalid: {told[0]}{more}"
    if decision == "pass":
        return f"Pass: all {total} rules hold, each in its cell."
    if decision == "inconclusive":  # what is nearest to failing tells most
        named.sort(key=_nearness)
    first = named[0].why
    more = f" And {len(named) - 1} more." if len(named) > 1 else ""
    if decision == "fail":
        return f"Fail: {len(named)} of {total} rules are broken. {first}{more}"
    end = " No look is left." if last else ""
    return f"Inconclusive: {len(named)} of {total} rules could not be decided. {first}{more}{end}"
