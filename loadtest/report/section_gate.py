"""The gate: what each rule saw, against what, and what would have changed its mind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadtest.report.view import Block, Callout, Section, Table, Text
from loadtest.report.words import NOTHING, count, decision, interval_ms, ms, number, share

if TYPE_CHECKING:
    from loadtest.gate.results import RuleResult, Verdict
    from loadtest.report.context import Context

_HEADERS: Final = (
    "rule",
    "cell",
    "decision",
    "observed",
    "95 % interval",
    "limit",
    "n",
    "why, and what would flip it",
)
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
        blocks += [Text(_how(verdict)), gate_table(verdict)]
    else:
        blocks.append(
            Callout("note", "The plan has no threshold, so nothing was judged. Add `thresholds`.")
        )
    return Section("gate", "What the gate decided, and why", "Gate", tuple(blocks))


def gate_table(verdict: Verdict) -> Table:
    """Return the table of all decisions, in the order of the plan's rules."""
    return Table(
        key="gate",
        title=f"Gate: {decision(verdict.decision)}",
        headers=_HEADERS,
        rows=tuple(_row(rule) for rule in verdict.rules),
        align="wllrrrrw",
        note="The CSV file has blocks, p-values and the smallest detectable value of each rule.",
        marks=tuple(rule.decision for rule in verdict.rules),
        csv_headers=_CSV,
        csv_rows=tuple(
            tuple("" if getattr(rule, key) is None else getattr(rule, key) for key in _CSV)
            for rule in verdict.rules
        ),
    )


def quantity(value: float | None, unit: str) -> str:
    """Return a value in the unit of its rule."""
    if value is None:
        return NOTHING
    if unit == "ms":
        return ms(value)
    if unit == "%":
        return share(value / 100, digits=2)
    return f"{number(value)} {unit}".strip()


def interval(rule: RuleResult) -> str:
    """Return the interval of a rule's observed value, empty where there is none."""
    if rule.low is None or rule.high is None:
        return ""
    if rule.unit == "ms":
        return interval_ms(rule.low, rule.high)
    low, high = quantity(rule.low, rule.unit), quantity(rule.high, rule.unit)
    return f"[{low}, {high}]"


def _row(rule: RuleResult) -> tuple[str, ...]:
    limit = quantity(rule.limit, rule.unit)
    if rule.base is not None:
        limit = f"{limit} off {quantity(rule.base, rule.unit)}"
    return (
        rule.rule,
        rule.cell,
        decision(rule.decision),
        quantity(rule.observed, rule.unit),
        interval(rule),
        limit,
        count(rule.n),
        _sentences(rule),
    )


def _sentences(rule: RuleResult) -> str:
    texts = (text.strip().rstrip(".") for text in (rule.why, rule.flip))
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in texts if text)


def _how(verdict: Verdict) -> str:
    return (
        f"A rule fails when its whole interval lies beyond the limit, passes when the whole "
        f"interval lies inside, and is inconclusive otherwise. Intervals come from "
        f"{count(verdict.resamples)} resamples of blocks (seed {verdict.seed}), corrected by "
        f"Holm over {verdict.family} decisions at an error rate of {share(verdict.alpha)}, "
        f"look {verdict.look} of at most {verdict.looks}."
    )
