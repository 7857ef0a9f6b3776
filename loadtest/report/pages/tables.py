"""The plain tables and lines that the terminal prints; how they look is the printer's business."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from loadtest.analysis.reproduction import reproduce
from loadtest.gate.causes import failure_lines
from loadtest.gate.rules import BUDGET_KIND
from loadtest.gate.shown import show_result
from loadtest.report.base.context import Context
from loadtest.report.base.view import Table
from loadtest.report.base.words import DECISIONS, count, decision
from loadtest.report.sections.pages import pages_tables
from loadtest.report.sections.published import published_table
from loadtest.report.sections.tables import deployment_tables
from loadtest.report.sections.world import events_table

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import RuleResult, Verdict

__all__ = ["Table", "terminal_tables", "verdict_block"]

_TERMINAL: Final = (
    *(
        "region",
        "n",
        "p50",
        "95 % interval",
        "p95",
        "95 % interval",
        "errors",
        "answers",
        "served by",
    ),
)
_PAGES: Final = ("page", *_TERMINAL[:-1])
MOST_LINES: Final = 40
"""Pages of a deployment, in each region, that a terminal shows; the report has them all."""
_PUBLISHED: Final = ("deployment", "region", "label", "published", "ours, p50", "difference")


def terminal_tables(run: Run, summary: Summary, verdict: Verdict) -> list[Table]:
    """
    Return what `loadtest run` prints at its end: a narrow table per deployment, one of its pages,
    the published values beside ours where the plan asks for them, and what happened in the world
    meanwhile.

    Args:
        run: The stored run.
        summary: What the analysis made of it.
        verdict: What the gate decided.
    """
    context = Context(run, summary, verdict, "")
    tables = [_narrow(table, _TERMINAL) for table in deployment_tables(context)]
    tables += [_shortened(_narrow(table, _PAGES)) for table in pages_tables(context)]
    found = reproduce(run, summary)
    if found.rows:
        tables.append(_narrow(published_table(found), _PUBLISHED))
    return [*tables, *([events_table(context)] if summary.events else [])]


def verdict_block(verdict: Verdict) -> list[str]:
    """
    Return the last lines of the terminal: each rule with what it saw, then the verdict.

    The verdict comes last, as the eye rests at the end of a terminal's output.
    """
    lines: list[str] = []
    kept = [r for r in verdict.rules if (r.kind, r.decision) == (BUDGET_KIND, "pass")]
    for rule in verdict.rules:
        if rule in kept:
            continue
        lines.append(f"{DECISIONS[rule.decision][0]} {rule.rule}  [{rule.cell}]")
        lines.append(f"    {_observed(rule)}: {decision(rule.decision)}")
        if rule.flip and rule.decision != "pass":
            lines.append(f"    {rule.flip}")
    if kept:
        worst = max(kept, key=lambda rule: rule.observed or 0.0)
        lines.append(f"✓ {worst.rule}  [each of {len(kept)} cells]")
        lines.append(f"    at most {_observed(worst)}: {decision('pass')}")
    if verdict.failures:
        lines += ["", "Why requests failed:"]
        lines += [f"  {line}" for line in failure_lines(verdict.failures)]
    lines += [f"⊘ {text}" for text in verdict.invalid if text not in verdict.sentence]
    if lines:
        lines.append("")
    if verdict.holds_for:
        lines.append(verdict.holds_for)
    lines.append(f"{DECISIONS[verdict.decision][0]} {verdict.sentence}")
    return lines


def _shortened(table: Table) -> Table:
    """Return the first rows of a long table, with a last one that says so."""
    rest = len(table.rows) - MOST_LINES
    if rest <= 1:
        return table
    more = (f"and {count(rest)} rows more: report", *("" for _ in table.headers[1:]))
    return replace(table, rows=(*table.rows[:MOST_LINES], more))


def _observed(rule: RuleResult) -> str:
    shown = show_result(rule)
    against = f"{shown.limit_name} {shown.limit}"
    parts = (shown.observed, shown.interval, against, f"n = {count(rule.n)}")
    return "  ".join(part for part in parts if part)


def _narrow(table: Table, names: tuple[str, ...]) -> Table:
    """Keep the named columns that there are, which fit 100 characters."""
    kept: list[int] = []
    for name in names:
        at = [i for i, h in enumerate(table.headers) if h == name and i not in kept]
        kept += at[:1]
    return Table(
        key=table.key,
        title=table.title,
        headers=tuple(table.headers[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
        align="".join("r" if table.alignment(i) == "right" else "l" for i in kept),
        note=table.note if names is _TERMINAL else "",
        marks=table.marks,
    )
