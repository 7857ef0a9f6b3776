"""The verdict as markdown: for a job summary or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from loadtest.analysis.percentiles import Quantile
from loadtest.analysis.summary import Summary
from loadtest.gate.results import RuleResult, Verdict
from loadtest.gate.sentences import show
from loadtest.units import format_ms

MARKER: Final = "<!-- loadtest verdict -->"
"""First line of the text, by which a comment is found again and updated."""
MAX_RULES: Final = 60
"""Rows of a table; a comment may hold 65 536 characters."""

_SIGNS: Final = {
    "pass": "✅ pass",
    "fail": "❌ fail",
    "inconclusive": "❔ inconclusive",
    "invalid": "⚠️ invalid",
    "none": "📏 measured",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!@])")


def render(verdict: Verdict, summary: Summary) -> str:
    """Return the verdict block: headline, rules, validity, TTFB of every cell."""
    sign = _SIGNS[verdict.decision].split()[0]
    lines = [MARKER, f"## {sign} {escape(verdict.sentence)}", ""]
    lines += _rules(verdict)
    if verdict.invalid:
        lines += ["### Why these numbers are not to be trusted", ""]
        lines += [f"- {escape(sentence)}" for sentence in verdict.invalid]
        lines += [""]
    lines += _cells(summary)
    lines += [
        f"Run `{verdict.run_id}`, look {verdict.look} of {verdict.looks}, {verdict.family} "
        f"decisions in the family (Holm), error rate {verdict.alpha:g} a side, "
        f"{verdict.resamples} resamples of blocks, seed {verdict.seed}.",
        "",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Return text that markdown shows as it is: no markup, no mention, no table cell, no HTML."""
    flat = " ".join(text.split())
    return _SPECIAL.sub(r"\\\1", flat).replace("@", "@\N{ZERO WIDTH NON-JOINER}")


def _rules(verdict: Verdict) -> list[str]:
    if not verdict.rules:
        return []
    order = ("invalid", "fail", "inconclusive", "pass")
    ranked = sorted(verdict.rules, key=lambda result: order.index(result.decision))
    rows = [_rule(result) for result in ranked[:MAX_RULES]]
    lines = _table(
        ("Decision", "Rule", "Cell", "Observed", "Interval", "Limit", "n", "What would flip it"),
        rows,
    )
    if len(ranked) > MAX_RULES:
        lines += [f"{len(ranked) - MAX_RULES} more are in verdict.json.", ""]
    return lines


def _rule(result: RuleResult) -> tuple[str, ...]:
    unit = result.unit
    interval = (
        "-"
        if result.low is None or result.high is None
        else f"{show(result.low, unit)} to {show(result.high, unit)}"
    )
    return (
        _SIGNS[result.decision],
        escape(result.rule),
        escape(result.cell),
        "-" if result.observed is None else show(result.observed, unit),
        interval,
        show(result.limit, unit),
        str(result.n),
        escape(result.flip),
    )


def _cells(summary: Summary) -> list[str]:
    rows = []
    for cell in summary.cells:
        served = ", ".join(cell.served_by) or "-"
        rows.append(
            (
                escape(cell.deployment),
                escape(cell.region),
                escape(cell.scenario),
                str(cell.n),
                _quantile(cell.ttfb.get(50)),
                _quantile(cell.ttfb.get(95)),
                str(cell.errors),
                escape(served),
                "yes" if cell.valid else "no",
            )
        )
    header = ("Deployment", "Region", "Scenario", "n", "TTFB p50", "TTFB p95", "Errors")
    return ["### Time to first byte", "", *_table((*header, "Served by", "Valid"), rows)]


def _quantile(quantile: Quantile | None) -> str:
    if quantile is None:
        return "-"
    interval = f"{format_ms(quantile.low)} to {format_ms(quantile.high)}"
    return f"{format_ms(quantile.value)} ({interval})"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
