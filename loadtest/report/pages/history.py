"""The page of `loadtest history`: each cell's median over the runs, and where its level moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from loadtest.analysis.history import MIN_ORDERED, MIN_PART, MIN_RUNS
from loadtest.report.base.view import Report, Section, Table, Text, Trend
from loadtest.report.base.words import count, ms, signed_share

if TYPE_CHECKING:
    from loadtest.analysis.history import ChangePoint, Series

NOTE: Final = (
    f"A change of level needs at least {MIN_PART} runs on either side of it. With fewer than "
    f"{MIN_ORDERED} runs only a jump far outside the noise is told: of {MIN_RUNS} runs, one of "
    "about twelve times their spread."
)
_WEATHER: Final = (
    "Runs made at different times met different weather, so a history shows trends and fails no "
    "release. A dotted mark in a curve is where a new level begins."
)


def render(series: Sequence[Series], place: str) -> str:
    """Return the history as a self-contained HTML document; ``place`` is where the runs are."""
    from loadtest.report.pages.html import render_view

    return render_view(build_history(series, place))


def build_history(series: Sequence[Series], place: str) -> Report:
    """Return everything the page says."""
    cells = [one for one in series if not one.name]
    runs = list(dict.fromkeys(run_id for one in series for run_id in one.run_ids))
    return Report(
        title=f"History of {place}",
        subtitle=f"{count(len(runs))} runs below {place}",
        headline=_headline(cells),
        verdict=_verdict(cells),
        badge=_badge(cells),
        reasons=(_WEATHER, NOTE),
        callouts=(),
        facts=(
            ("Runs", count(len(runs))),
            ("Cells", count(len(cells))),
            ("Oldest run", runs[0] if runs else ""),
            ("Newest run", runs[-1] if runs else ""),
        ),
        sections=tuple(
            Section(table.key, table.title, table.title, (_text(table), table))
            for table in history_tables(series)
        ),
        footer="loadtest history",
    )


def history_tables(series: Sequence[Series]) -> list[Table]:
    """Return what `loadtest history` prints: the cells, and the pages of those with several."""
    cells = tuple(one for one in series if not one.name)
    pages = tuple(one for one in series if one.name)
    tables = [_table("history", "Median TTFB over the runs", cells)]
    if pages:
        tables.append(_table("history-pages", "Median TTFB over the runs, by page", pages))
    return tables


def _verdict(cells: Sequence[Series]) -> str:
    """Return ``slower`` where the newest level of any cell is, else ``faster`` where one is."""
    newest = [one.changes[-1].change_share for one in cells if one.changes]
    if not newest:
        return "none"
    return "slower" if max(newest) > 0 else "faster"


def _badge(cells: Sequence[Series]) -> str:
    if any(one.changes for one in cells):
        return ""
    return "no change found" if _longest(cells) >= MIN_RUNS else "too few runs"


def _longest(cells: Sequence[Series]) -> int:
    return max((len(one.values_ms) for one in cells), default=0)


def _text(table: Table) -> Text:
    return Text(f"{count(len(table.rows))} rows; the curve runs from the oldest run to the newest.")


def _table(key: str, title: str, series: tuple[Series, ...]) -> Table:
    return Table(
        key=key,
        title=title,
        headers=("cell", "runs", "first p50", "last p50", "changes of level"),
        rows=tuple(
            (
                one.label,
                str(len(one.values_ms)),
                ms(one.values_ms[0]),
                ms(one.values_ms[-1]),
                "; ".join(_change(change) for change in one.changes) or "none",
            )
            for one in series
        ),
        align="wrrrw",
        trends=tuple(
            Trend(
                one.values_ms,
                tuple(change.index for change in one.changes),
                f"Median TTFB of {one.label}: {ms(one.values_ms[0])} to {ms(one.values_ms[-1])}",
            )
            for one in series
        ),
        csv_headers=("region", "deployment", "scenario", "name", "run", "p50_ms", "new_level"),
        csv_rows=tuple(
            (
                *(one.region, one.deployment, one.scenario, one.name, run_id, value),
                index in {change.index for change in one.changes},
            )
            for one in series
            for index, (run_id, value) in enumerate(zip(one.run_ids, one.values_ms, strict=True))
        ),
    )


def _change(change: ChangePoint) -> str:
    direction = "slower" if change.change_share > 0 else "faster"
    return f"{signed_share(change.change_share)} ({direction}) at {change.run_id}"


def _headline(cells: Sequence[Series]) -> str:
    moved = [(one, change) for one in cells for change in one.changes]
    if not moved and _longest(cells) < MIN_RUNS:
        return (
            f"Too few runs to see a change of level: {count(_longest(cells))}, and it takes at "
            f"least {MIN_RUNS}"
        )
    if not moved:
        return f"No change of level found in {count(len(cells))} cell{'s' * (len(cells) != 1)}"
    one, change = max(moved, key=lambda pair: abs(pair[1].change_share))
    return (
        f"{count(len({id(one) for one, _ in moved}))} of {count(len(cells))} cells changed their "
        f"level; most of all {one.label}, {_change(change)}"
    )
