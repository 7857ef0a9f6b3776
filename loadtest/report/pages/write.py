"""Puts the report into the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import RecordsError
from loadtest.records.whole import whole_file

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import Verdict

HTML_NAME = "report.html"
MARKDOWN_NAME = "report.md"


def write_report(
    folder: Path, run: Run, summary: Summary, verdict: Verdict, command: str
) -> tuple[Path, Path]:
    """
    Write report.html and report.md, each whole or not at all.

    Args:
        folder: The run folder; it exists.
        run: The stored run.
        summary: What the analysis made of it.
        verdict: What the gate decided.
        command: The command line that repeats the run.

    Returns:
        The paths of both files, HTML first.

    Raises:
        RecordsError: The folder cannot be written.
    """
    from loadtest.report.pages import html, markdown
    from loadtest.report.pages.model import build_report

    report = build_report(run, summary, verdict, command=command)
    pages = {HTML_NAME: html.render_view(report), MARKDOWN_NAME: markdown.render_view(report)}
    for name, text in pages.items():
        write_whole(folder / name, text)
    return folder / HTML_NAME, folder / MARKDOWN_NAME


def write_whole(path: Path, content: str | bytes) -> None:
    """
    Replace a file at once, so that a reader or a crash never meets half of it.

    Raises:
        RecordsError: The file cannot be written; the message says where and why.
    """
    try:
        with whole_file(path) as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RecordsError(
            f"cannot write {path}: {reason}; make the folder writable or give another with --out"
        ) from error
