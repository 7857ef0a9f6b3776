"""Stored runs side by side: comparison with a base run, and a history with its change points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import RecordsError
from loadtest.records.folder import RunFolder
from loadtest.records.seal import derived_print, verify

if TYPE_CHECKING:
    from loadtest.report.pages.tables import Table


@dataclass(frozen=True, slots=True)
class TrendTables:
    """Tables and closing lines, as the command line prints them."""

    tables: list[Table]
    notes: list[str] = field(default_factory=list)


def compare_folders(folders: Sequence[Path], *, force: bool, page: Path | None) -> TrendTables:
    """
    Compare stored runs with the first.

    Args:
        folders: Run folders, the base first.
        force: Compare unlike runs too.
        page: HTML file to write, or None.

    Raises:
        RecordsError: A run cannot be read, or the runs are not alike.
    """
    from loadtest.analysis.compare import compare
    from loadtest.analysis.load import load_run
    from loadtest.report.pages.compare import build_comparison, comparison_tables, render
    from loadtest.report.pages.write import write_whole

    runs = [load_run(RunFolder.open(folder).path) for folder in folders]
    comparison = compare(runs, force=force)
    built = build_comparison(comparison)
    notes = [built.headline, *built.reasons, *(callout.text for callout in built.callouts)]
    if page is not None:
        write_whole(page, render(comparison))
        notes.append(f"page: {page}")
    return TrendTables(comparison_tables(comparison), notes)


def history_below(folder: Path, *, page: Path | None) -> TrendTables:
    """
    Read every analysed run below a folder and look for changes of level.

    A run whose files or summary are not as they were written is left out and named; so are cells
    that are invalid.

    Args:
        folder: Where run folders are.
        page: HTML file to write, or None.

    Raises:
        RecordsError: There are no analysed runs, or none that can be believed.
    """
    from loadtest.analysis.history import history, invalid_runs, read_summary
    from loadtest.report.pages.history import NOTE, history_tables, render
    from loadtest.report.pages.write import write_whole

    runs = sorted({path.parent.resolve() for path in folder.glob("*/summary.json")})
    if not runs:
        raise RecordsError(
            f"{folder}: no run with a summary.json below it; `loadtest run` makes one"
        )
    summaries, notes = [], [NOTE]
    for run in runs:
        try:
            summaries.append(read_summary(_summary(run)))
        except RecordsError as error:
            notes.append(f"left out: {error}")
    if not summaries:
        raise RecordsError("\n".join(notes[1:]))
    series = history(summaries)
    notes += invalid_runs(summaries)
    if page is not None:
        write_whole(page, render(series, str(folder)))
        notes.append(f"page: {page}")
    return TrendTables(history_tables(series), notes)


def _summary(run: Path) -> dict[str, object]:
    """Return a run's summary.json, if it is what was derived from the run's files."""
    verify(run)
    content = RunFolder(run).load_json("summary.json")
    if content.pop("print", None) != derived_print(run, content):
        raise RecordsError(
            f"{run / 'summary.json'}: is not what was derived from the run's files; run "
            f"`loadtest analyze {run}`"
        )
    return content
