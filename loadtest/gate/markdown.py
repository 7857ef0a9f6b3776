"""The verdict as markdown: for a job summary or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, urlsplit

from loadtest.analysis.page_summary import answers_phrase
from loadtest.analysis.percentiles import Quantile
from loadtest.analysis.summary import Summary
from loadtest.errors import PlanError
from loadtest.gate.causes import failure_lines
from loadtest.gate.results import RuleResult, Verdict
from loadtest.gate.shown import NOTHING, show_result
from loadtest.text import markdown_text
from loadtest.units import format_interval_ms, format_ms

MARKER: Final = "<!-- loadtest verdict -->"
"""First line of the text, by which a comment is found again and updated."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_CUT: Final = "\nThe rest did not fit; it is in the run's report.\n"
MAX_RULES: Final = 60
"""Rows of a table; a comment may hold 65 536 characters."""

_SIGNS: Final = {
    "pass": "✅ pass",
    "fail": "❌ fail",
    "inconclusive": "❔ inconclusive",
    "invalid": "⚠️ invalid",
    "none": "📏 measured",
}


def render(verdict: Verdict, summary: Summary, *, name: str = "", link: str = "") -> str:
    """
    Return the verdict block: headline, rules, validity, TTFB of every cell.

    Args:
        verdict: What the gate says.
        summary: What was measured.
        name: Tells this gate from others beside it; letters, digits, dot, dash, underscore.
        link: Where the run's files are to be had; empty leaves the line out.

    Raises:
        PlanError: The name or the link is none.
    """
    sign = _SIGNS[verdict.decision].split()[0]
    title = f"{markdown_text(name)}: " if name else ""
    lines = [marker_of(name), f"## {sign} {title}{markdown_text(verdict.sentence)}", ""]
    if link:
        lines += [f"[Report and all files of the run]({_address(link)})", ""]
    lines += _rules(verdict)
    if verdict.invalid:
        lines += ["### Why these numbers are not to be trusted", ""]
        lines += [f"- {markdown_text(sentence)}" for sentence in verdict.invalid]
        lines += [""]
    if verdict.failures:
        lines += ["### Why requests failed", ""]
        lines += [f"- {markdown_text(line)}" for line in failure_lines(verdict.failures)]
        lines += [""]
    lines += _cells(summary)
    if verdict.holds_for:
        lines += [markdown_text(verdict.holds_for), ""]
    lines += [
        f"Run {markdown_text(verdict.run_id)}, look {verdict.look} of {verdict.looks}, "
        f"{verdict.family} decisions in the family (Holm), error rate {verdict.alpha:g} a side, "
        f"{verdict.resamples} resamples of blocks, seed {verdict.seed}.",
        "",
    ]
    return "\n".join(lines)


def marker_of(name: str) -> str:
    """
    Return the first line of a gate's comment.

    Raises:
        PlanError: The name has letters that no comment of HTML may have, or too many.
    """
    if not name:
        return MARKER
    if not _NAME.fullmatch(name):
        raise PlanError(
            f"--name: {name[:60]!r} is no name; use up to 40 letters, digits, dots, dashes and "
            "underscores"
        )
    return MARKER.replace(" -->", f": {name} -->")


def fitting(text: str, characters: int) -> str:
    """Return what fits, cut at a line's end, with a note where something is left out."""
    if len(text) <= characters:
        return text
    kept = text[: characters - len(_CUT)]
    return kept[: kept.rfind("\n") + 1] + _CUT


def _address(link: str) -> str:
    """Return a web address that cannot end a markdown link early."""
    try:
        parts = urlsplit(link)
        whole = parts.scheme in ("http", "https") and bool(parts.netloc)
    except ValueError:
        whole = False
    if not whole:
        raise PlanError(f"--link: {link[:200]!r} is no address of a page; it begins with https://")
    return quote(link, safe="%/:=&?~#+!,;@'*[]")


def _rules(verdict: Verdict) -> list[str]:
    if not verdict.rules:
        return []
    order = ("invalid", "fail", "inconclusive", "pass")
    ranked = sorted(verdict.rules, key=lambda result: order.index(result.decision))
    rows = [_rule(result) for result in ranked[:MAX_RULES]]
    lines = _table(
        ("Decision", "Rule", "Cell", "Observed", "Interval", "Against", "n", "What would flip it"),
        rows,
    )
    if len(ranked) > MAX_RULES:
        lines += [f"{len(ranked) - MAX_RULES} more are in verdict.json.", ""]
    return lines


def _rule(result: RuleResult) -> tuple[str, ...]:
    shown = show_result(result)
    return (
        _SIGNS[result.decision],
        markdown_text(result.rule),
        markdown_text(result.cell),
        markdown_text(shown.observed),
        markdown_text(shown.interval or NOTHING),
        markdown_text(f"{shown.limit_name} {shown.limit}"),
        str(result.n),
        markdown_text(result.flip),
    )


def _cells(summary: Summary) -> list[str]:
    rows = []
    for cell in summary.cells:
        served = ", ".join(cell.served_by) or NOTHING
        rows.append(
            (
                markdown_text(cell.deployment),
                markdown_text(cell.region),
                markdown_text(cell.scenario),
                str(cell.n),
                _quantile(cell.ttfb.get(50)),
                _quantile(cell.ttfb.get(95)),
                markdown_text(answers_phrase(cell.statuses, cell.n)),
                markdown_text(served),
                "yes" if cell.valid else "no",
            )
        )
    header = ("Deployment", "Region", "Scenario", "n", "TTFB p50", "TTFB p95", "Answers")
    return ["### Time to first byte", "", *_table((*header, "Served by", "Valid"), rows)]


def _quantile(quantile: Quantile | None) -> str:
    if quantile is None:
        return NOTHING
    interval = markdown_text(format_interval_ms(quantile.low, quantile.high))
    return f"{format_ms(quantile.value)} {interval}".strip()


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
