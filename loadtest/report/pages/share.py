"""A report as it is handed on: one file without links to its folder, and a picture of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from loadtest.errors import RecordsError
from loadtest.report.base.view import Code, Files, Matrix, Table
from loadtest.report.pages.html import render_view
from loadtest.report.pages.model import build_report

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import Verdict
    from loadtest.report.base.view import Block, Report

_PRIVATE: Final = frozenset({"Machine", "Command"})
_WORKERS: Final = frozenset({"inputs", "reconciliation", "health"})


def render_shared(run: Run, summary: Summary, verdict: Verdict) -> str:
    """Return the report of a run as one HTML file for people who have not its folder."""
    return render_view(shareable(build_report(run, summary, verdict)))


def render_picture(run: Run, summary: Summary, verdict: Verdict) -> bytes:
    """
    Return the matrix of a run, under its verdict, as a PNG image.

    Raises:
        RecordsError: The run has no cell.
    """
    return picture(build_report(run, summary, verdict))


def shareable(report: Report) -> Report:
    """
    Return a report for people who have not its folder.

    Left out are links to files of the folder, downloads, commands to repeat the run, and what names
    machines and workers; the verdict with all that it rests on stays.
    """
    sections = (
        replace(section, blocks=tuple(block for block in section.blocks if _told(block)))
        for section in report.sections
    )
    return replace(
        report,
        facts=tuple(pair for pair in report.facts if pair[0] not in _PRIVATE),
        sections=tuple(section for section in sections if section.blocks),
        downloads=False,
    )


def picture(report: Report) -> bytes:
    """
    Return the first matrix of a report, under its verdict, as a PNG image.

    Raises:
        RecordsError: The run has no cell.
    """
    from loadtest.report.figures.picture import draw_picture

    found = [
        block
        for section in report.sections
        for block in section.blocks
        if isinstance(block, Matrix)
    ]
    if not found or not found[0].columns:
        raise RecordsError("no cell was measured, so there is no matrix to draw; see the report")
    return draw_picture(report, found[0])


def _told(block: Block) -> bool:
    if isinstance(block, Table):
        return block.key not in _WORKERS
    return not isinstance(block, Code | Files)
