"""Stored runs side by side: comparison with a base run, and a history with its change points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import RecordsError
from loadtest.records.folder import RunFolder
from loadtest.units import format_ms

if TYPE_CHECKING:
    from loadtest.report.pages.tables import Table


@dataclass(frozen=True, slots=True)
class Trend:
    """Tables and closing lines, as the command line prints them."""

    tables: list[Table]
    notes: list[str] = field(default_factory=list)


def compare_folders(folders: Sequence[Path], *, force: bool, page: Path | None) -> Trend:
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
    return Trend(comparison_tables(comparison), notes)


def history_below(folder: Path) -> Trend:
    """
    Read every analysed run below a folder and look for changes of level.

    Raises:
        RecordsError: There are no analysed runs.
    """
    from loadtest.analysis.history import MIN_PART, history
    from loadtest.report.pages.tables import Table

    runs = sorted({path.parent.resolve() for path in folder.glob("*/summary.json")})
    if not runs:
        raise RecordsError(
            f"{folder}: no run with a summary.json below it; `loadtest run` makes one"
        )
    series = history([RunFolder(run).load_json("summary.json") for run in runs])
    rows = [
        (
            f"{one.region} / {one.deployment} / {one.scenario}",
            str(len(one.values_ms)),
            format_ms(one.values_ms[0]),
            format_ms(one.values_ms[-1]),
            "; ".join(f"{change.change_share:+.1%} at {change.run_id}" for change in one.changes)
            or "none",
        )
        for one in series
    ]
    headers = ("cell", "runs", "first p50", "last p50", "changes of level")
    notes = [f"A change needs {MIN_PART} runs on either side of it."]
    return Trend([Table("history", "Median TTFB over the runs", headers, tuple(rows))], notes)
