"""The gate: what each rule saw, against what, and what would have changed its mind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadtest.gate.rules import BUDGET_KIND
from loadtest.gate.shown import NOTHING, show_result
from loadtest.report.base.context import WORST_FIRST
from loadtest.report.base.view import Block, Callout, Section, Table, Text
from loadtest.report.base.words import count, decision, share

if TYPE_CHECKING:
    from loadtest.gate.results import RuleResult, Verdict
    from loadtest.report.base.context import Context

_CSV: Final = (
    *(
        "rule",
        "region",
        "deployment",
        "scenario",
        "name",
        "kind",
        "metric",
        "unit",
        "observed",
        "low",
    ),
    *(
        "high",
        "limit",
        "other",
        "base",
        "n",
        "blocks",
        "decision",
        "p_fail",
        "p_pass",
        "detectable",
    ),
    *("seconds_to_decide", "why", "flip"),
)


def section_gate(context: Context) -> Section:
    """Return the section about the gate."""
    verdict = context.verdict
    blocks: list[Block] = []
    if verdict.rules:
        blocks += [Text(_how(verdict)), *gate_tables(context)]
    else:
        blocks.append(
            Callout("note", "The plan has no threshold, so nothing was judged. Add `thresholds`.")
        )
    return Section("gate", "What the gate decided, and why", "Gate", tuple(blocks))


def gate_tables(context: Context) -> list[Table]:
    """Return a table for each rule of the plan, in their order, and that of the error budget."""
    rules = context.verdict.rules
    asked = tuple(rule for rule in rules if rule.kind != BUDGET_KIND)
    budget = tuple(rule for rule in rules if rule.kind == BUDGET_KIND)
    by_rule: dict[str, list[RuleResult]] = {}
    for result in asked:
        by_rule.setdefault(result.rule, []).append(result)
    tables = [
        _rule_table(context, f"gate-rule-{number}", tuple(results))
        for number, results in enumerate(by_rule.values(), 1)
    ]
    if budget:
        tables.append(_budget_table(context, budget))
    return tables


def _budget_table(context: Context, rules: tuple[RuleResult, ...]) -> Table:
    """Return the error budget without the sentences of the cells that keep it."""
    return Table(
        key="gate-budget",
        title=f"Error budget: {rules[0].rule}",
        headers=("cell", "decision", "errors", "interval", "n"),
        rows=tuple(
            (
                place_of(rule, context),
                decision(rule.decision),
                show_result(rule).observed,
                show_result(rule).interval,
                count(rule.n),
            )
            for rule in rules
        ),
        align="llrrr",
        note=" ".join(
            (
                *(rule.why for rule in rules if rule.decision != "pass"),
                "The budget fails a cell only on evidence: when so many errors were improbable "
                "with a target that keeps it.",
            )
        ),
        marks=tuple(rule.decision for rule in rules),
        csv_headers=_CSV,
        csv_rows=_raw(rules),
    )


def _raw(rules: tuple[RuleResult, ...]) -> tuple[tuple[object, ...], ...]:
    return tuple(
        tuple("" if getattr(rule, key) is None else getattr(rule, key) for key in _CSV)
        for rule in rules
    )


def _rule_table(context: Context, key: str, results: tuple[RuleResult, ...]) -> Table:
    """Return one rule in all its cells: what is compared has a column for each of its names."""
    shown = [show_result(result) for result in results]
    # Where an arm was not measured in the first cell, another result has its name.
    fullest = max(zip(results, shown, strict=True), key=lambda pair: bool(pair[0].other))[1]
    names = tuple(name for name, _ in fullest.values)
    word = next(word for word in WORST_FIRST if word in {r.decision for r in results})
    return Table(
        key=key,
        title=f"{results[0].rule}: {decision(word)}",
        headers=("cell", "decision", *names, "interval", shown[0].limit_name, "n"),
        rows=tuple(
            (
                place_of(result, context),
                decision(result.decision),
                *(value for _, value in one.values),
                one.interval or NOTHING,
                one.limit,
                count(result.n),
            )
            for result, one in zip(results, shown, strict=True)
        ),
        align=f"ll{'r' * len(names)}rrr",
        details=tuple(_sentences(result) for result in results),
        note="The CSV file has blocks, p-values and the smallest detectable value of each cell.",
        marks=tuple(result.decision for result in results),
        csv_headers=_CSV,
        csv_rows=_raw(results),
    )


def place_of(rule: RuleResult, context: Context) -> str:
    """Return which cell a result is about; a scenario is named only where there are several."""
    named = [rule.region, rule.deployment]
    if len(context.scenarios) < 2 and all(named):
        return " / ".join((*named, *([rule.name] if rule.name else [])))
    return rule.cell


def _sentences(rule: RuleResult) -> str:
    # The cell has a column of its own.
    why = rule.why.removeprefix(f"{rule.cell}: ")
    return " ".join(text for text in (why, rule.flip) if text)


def _how(verdict: Verdict) -> str:
    return (
        f"A rule fails when its whole interval lies beyond the limit, passes when the whole "
        f"interval lies inside, and is inconclusive otherwise. Intervals come from "
        f"{count(verdict.resamples)} resamples of blocks (seed {verdict.seed}), corrected by "
        f"Holm over {verdict.family} decisions at an error rate of {share(verdict.alpha)}, "
        f"look {verdict.look} of at most {verdict.looks}; the correction makes them wider than the "
        "95 % intervals of the tables."
    )
