"""The report as markdown: verdict, tables and facts, for a pull request or a job summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loadtest.report.base.view import (
    Block,
    Callout,
    Code,
    Definitions,
    Files,
    Heading,
    Matrix,
    Report,
    Table,
    Text,
)
from loadtest.report.base.words import decision
from loadtest.report.pages.model import build_report
from loadtest.text import lines_of, markdown_text

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import Verdict


def render(run: Run, summary: Summary, verdict: Verdict, *, command: str = "") -> str:
    """
    Return the report of a run as GitHub-flavoured markdown, figures left out.

    Args:
        run: The stored run.
        summary: What the analysis made of it.
        verdict: What the gate decided.
        command: The command line that repeats the run; empty leaves it out.
    """
    return render_view(build_report(run, summary, verdict, command=command))


def render_view(report: Report) -> str:
    """Return the markdown of a view that is ready made."""
    lines = [f"# {markdown_text(report.headline)}", "", f"**{decision(report.verdict)}**", ""]
    lines += [f"- {markdown_text(reason)}" for reason in report.reasons]
    lines += ["", *(line for callout in report.callouts for line in _block(callout))]
    lines += [f"- {markdown_text(label)}: {markdown_text(value)}" for label, value in report.facts]
    for section in report.sections:
        lines += ["", f"## {markdown_text(section.title)}", ""]
        for block in section.blocks:
            lines += _block(block)
    lines += ["", markdown_text(report.footer), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def table_lines(table: Table) -> list[str]:
    """Return one table as markdown lines, caption first, note last."""
    rules = ["---:" if table.alignment(i) == "right" else "---" for i in range(len(table.headers))]
    headers, rows = table.headers, table.rows
    if table.details:
        headers, rules = (*headers, "why"), [*rules, "---"]
        rows = tuple((*row, why) for row, why in zip(rows, table.details, strict=True))
    title = f"**{markdown_text(table.title)}**"
    lines = [title, "", _row(headers), f"| {' | '.join(rules)} |", *(_row(row) for row in rows)]
    return [*lines, "", *([markdown_text(table.note), ""] if table.note else [])]


def _row(values: tuple[str, ...]) -> str:
    return f"| {' | '.join(markdown_text(value) for value in values)} |"


def _block(block: Block) -> list[str]:
    lines: list[str] = []
    match block:
        case Table():
            lines = table_lines(block)
        case Text(text):
            lines = [markdown_text(text), ""]
        case Callout(kind, text):
            word = {"note": "Note", "partial": "Partial run"}.get(kind) or decision(kind)
            lines = [f"> **{word}** {markdown_text(text)}", ""]
        case Heading(text):
            lines = [f"### {markdown_text(text)}", ""]
        case Code(label, text):
            text = lines_of(text)
            longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
            fence = "`" * max(3, longest + 1)
            lines = [f"{markdown_text(label)}:", "", fence, text, fence, ""]
        case Files(items):
            lines = [*(f"- [{name}]({name}): {markdown_text(what)}" for name, what in items), ""]
        case Definitions(items):
            lines = [
                *(
                    f"- **{markdown_text(term)}**: {markdown_text(meaning)}"
                    for term, meaning in items
                ),
                "",
            ]
        case Matrix():
            lines = _matrix(block)
    return lines


def _matrix(matrix: Matrix) -> list[str]:
    """Return the matrix with one line per cell: p50, p95, decision."""
    heads = ("region", *(column.name for column in matrix.columns))
    rules = ["---", *("---:" for _ in matrix.columns)]
    lines = [f"**{markdown_text(matrix.caption)}**", "", _row(heads), f"| {' | '.join(rules)} |"]
    rows = [region for region, _, _ in matrix.rows]
    for region, beside, cells in matrix.rows:
        texts = []
        for cell in cells:
            if cell is None:
                texts.append("–")
                continue
            texts.append(f"{cell.p50} (p95 {cell.p95}) {decision(cell.decision)}".strip())
            texts[-1] += "".join(f"; {v.name} {v.p50} (p95 {v.p95})" for v in cell.variants)
        name = f"{region}, {beside}" if rows.count(region) > 1 else region
        lines.append(_row((name, *texts)))
    return [*lines, "", *([markdown_text(matrix.note), ""] if matrix.note else [])]
