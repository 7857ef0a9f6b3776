"""The gate: what each rule saw, against what, and what would have changed its mind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from loadtest.gate.rules import BUDGET_KIND
from loadtest.report.base.view import Block, Callout, Section, Table, Text
from loadtest.report.base.words import NOTHING, count, decision, interval_ms, ms, number, share

if TYPE_CHECKING:
    from loadtest.gate.results import RuleResult, Verdict
    from loadtest.report.base.context import Context

_HEADERS: Final = (
    "rule",
    "cell",
    "decision",
    "observed",
    "interval",
    "limit",
    "n",
    "why, and what would flip it",
)
_UNITS: Final = {"x": "×", "trips": " round trips"}
_CSV: Final = (
    *("rule", "region", "deployment", "scenario", "kind", "metric", "unit", "observed", "low"),
    *("high", "limit", "base", "n", "blocks", "decision", "p_fail", "p_pass", "detectable"),
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
    """Return the table of the plan's rules, in their order, and that of the error budget."""
    rules = context.verdict.rules
    asked = tuple(rule for rule in rules if rule.kind != BUDGET_KIND)
    budget = tuple(rule for rule in rules if rule.kind == BUDGET_KIND)
    tables = []
    if asked:
        title = f"Thresholds of the plan: {decision(context.verdict.decision)}"
        tables.append(_gate_table(context, "gate-rules", title, asked))
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
                quantity(rule.observed, rule.unit),
                interval(rule),
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


def _gate_table(context: Context, key: str, title: str, rules: tuple[RuleResult, ...]) -> Table:
    return Table(
        key=key,
        title=title,
        headers=_HEADERS,
        rows=tuple(_row(context, rule) for rule in rules),
        align="wllrrrrw",
        note="The CSV file has blocks, p-values and the smallest detectable value of each rule.",
        marks=tuple(rule.decision for rule in rules),
        csv_headers=_CSV,
        csv_rows=_raw(rules),
    )


def quantity(value: float | None, unit: str) -> str:
    """Return a value in the unit of its rule."""
    if value is None:
        return NOTHING
    if unit == "ms":
        return ms(value)
    if unit == "share":
        return share(value, digits=2)
    return f"{number(value)}{_UNITS.get(unit, f' {unit}')}".rstrip()


def interval(rule: RuleResult) -> str:
    """Return the interval of a rule's observed value, empty where there is none."""
    if rule.low is None or rule.high is None:
        return ""
    if rule.unit == "ms":
        return interval_ms(rule.low, rule.high)
    if math.isinf(rule.high):
        return f"from {quantity(rule.low, rule.unit)}"
    low, high = quantity(rule.low, rule.unit), quantity(rule.high, rule.unit)
    return f"[{low}, {high}]"


def place_of(rule: RuleResult, context: Context) -> str:
    """Return which cell a result is about; a scenario is named only where there are several."""
    named = [rule.region, rule.deployment]
    if len(context.scenarios) < 2 and all(named):
        return " / ".join(named)
    return rule.cell


def _row(context: Context, rule: RuleResult) -> tuple[str, ...]:
    limit = quantity(rule.limit, rule.unit)
    if rule.base is not None:
        limit = f"{limit} off {quantity(rule.base, rule.unit)}"
    return (
        rule.rule,
        place_of(rule, context),
        decision(rule.decision),
        quantity(rule.observed, rule.unit),
        interval(rule),
        limit,
        count(rule.n),
        _sentences(rule),
    )


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
