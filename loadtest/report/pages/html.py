"""The report as one HTML file that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest.report.base.words import DECISIONS, decision
from loadtest.report.pages.curve import curve
from loadtest.report.pages.model import build_report
from loadtest.text import lines_of, one_line

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import Verdict
    from loadtest.report.base.view import Block, Report, Table

_TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
_CALLOUT_WORDS: Final = {"note": "Note", "invalid": "Invalid", "partial": "Partial run"}


def render(run: Run, summary: Summary, verdict: Verdict, *, command: str) -> str:
    """
    Return the report of a run as a self-contained HTML document.

    Args:
        run: The stored run.
        summary: What the analysis made of it.
        verdict: What the gate decided.
        command: The command line that repeats the run.
    """
    return render_view(build_report(run, summary, verdict, command=command))


def render_view(report: Report, template: str = "report.html.j2") -> str:
    """Return the HTML of a view that is ready made; every text in it is escaped."""
    return _environment().get_template(template).render(report=report)


def csv_uri(table: Table) -> str:
    """Return a table as a ``data:`` address of a CSV file: works without script or network."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    if table.csv_headers:
        rows: Iterable[Sequence[object]] = (table.csv_headers, *table.csv_rows)
    else:
        rows = (table.headers, *table.rows)
    writer.writerows([[_harmless(value) for value in row] for row in rows])
    packed = base64.b64encode(buffer.getvalue().encode("utf-8")).decode("ascii")
    return f"data:text/csv;charset=utf-8;base64,{packed}"


def _harmless(value: object) -> object:
    """Keep a spreadsheet from running a text that came from outside as a formula."""
    if not isinstance(value, str):
        return value
    plain = one_line(value)
    return f"'{plain}" if value[:1] in {"=", "@", "\t", "\r"} else plain


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        csv_uri=csv_uri,
        code=_code,
        curve=curve,
        decision=decision,
        kind=_kind,
        sign=lambda word: DECISIONS[word][0],
        verdict_word=lambda word: "no gate" if word == "none" else DECISIONS[word][1],
        callout_word=lambda kind: _CALLOUT_WORDS.get(kind, kind.capitalize()),
    )
    return environment


def _shown(value: object) -> object:
    """Keep control characters out of every text; markup of our own passes as it is."""
    return one_line(value) if type(value) is str else value


def _code(text: str) -> str:
    """Return the markup of a text that stands in a ``pre``: its lines stay."""
    return html.escape(lines_of(text))


def _kind(block: Block) -> str:
    return type(block).__name__
