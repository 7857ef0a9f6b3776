"""Stored runs side by side: comparison with a base run, and a history with its change points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import RecordsError
from loadtest.records.folder import RunFolder

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

    Args:
        folder: Where run folders are.
        page: HTML file to write, or None.

    Raises:
        RecordsError: There are no analysed runs.
    """
    from loadtest.analysis.history import history
    from loadtest.report.pages.history import NOTE, history_tables, render
    from loadtest.report.pages.write import write_whole

    runs = sorted({path.parent.resolve() for path in folder.glob("*/summary.json")})
    if not runs:
        raise RecordsError(
            f"{folder}: no run with a summary.json below it; `loadtest run` makes one"
        )
    series = history([RunFolder(run).load_json("summary.json") for run in runs])
    notes = [NOTE]
    if page is not None:
        write_whole(page, render(series, str(folder)))
        notes.append(f"page: {page}")
    return TrendTables(history_tables(series), notes)
