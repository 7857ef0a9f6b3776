"""The page of `loadtest compare`: stored runs side by side, cell by cell."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from loadtest.report.base.style import arm_styles
from loadtest.report.base.view import Block, Callout, Figures, Report, Section, Table, Text, Trend
from loadtest.report.base.words import (
    NOT_ENOUGH,
    NOTHING,
    count,
    decision,
    listing,
    ms,
    signed_interval_ms,
    signed_ms,
    signed_share,
)

if TYPE_CHECKING:
    from loadtest.analysis.compare import CellComparison, Comparison, RunComparison, Shift

_ORDER: Final = ("slower", "unclear", "faster", "same")
_WEATHER: Final = (
    "Runs made at different times met different weather, which no statistic takes out. A "
    "comparison of stored runs shows trends; only arms of one run can fail a gate."
)
_CAPTION: Final = (
    "TTFB now minus TTFB of the base run at each percentile: below zero is faster now. The band is "
    "the interval from resampled blocks, wide enough for all cells of the page together."
)


def render(comparison: Comparison) -> str:
    """Return the comparison as a self-contained HTML document."""
    from loadtest.report.pages.html import render_view

    return render_view(build_comparison(comparison))


def render_markdown(comparison: Comparison) -> str:
    """Return the comparison as GitHub-flavoured markdown, figures left out."""
    from loadtest.report.pages.markdown import render_view

    return render_view(build_comparison(comparison))


def build_comparison(comparison: Comparison) -> Report:
    """Return everything the page says, figures yet to be drawn."""
    cells = [cell for run in comparison.runs for cell in run.cells]
    moved = {cell.movement for cell in cells}
    sentence = _headline(cells)
    return Report(
        title=f"Comparison with {comparison.base_run_id}",
        subtitle=f"{len(comparison.runs) + 1} runs compared",
        headline=sentence,
        verdict=next((word for word in _ORDER if word in moved), "same"),
        reasons=(_WEATHER,),
        callouts=_callouts(comparison),
        facts=(
            ("Base run", comparison.base_run_id),
            ("Compared with it", listing([run.run_id for run in comparison.runs])),
            ("Cells", count(len(cells))),
            ("Seed", str(comparison.seed)),
        ),
        sections=tuple(
            _section(comparison, number, run) for number, run in enumerate(comparison.runs, 1)
        ),
        footer="loadtest compare",
    )


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return what `loadtest compare` prints: a table per compared run, and one of its pages."""
    tables = []
    for number, run in enumerate(comparison.runs, 1):
        tables.append(_table(comparison, number, run, run.cells))
        if run.pages:
            tables.append(_table(comparison, number, run, run.pages, "-pages"))
    return tables


def _headline(cells: list[CellComparison]) -> str:
    moved = Counter(str(cell.movement) for cell in cells)
    told = [f"{moved[word]} {word}" for word in _ORDER if moved[word]]
    first = f"Of {len(cells)} {'cells' if len(cells) > 1 else 'cell'} {listing(told)}"
    sure = [
        (cell, shift)
        for cell in cells
        if cell.movement in {"slower", "faster"} and (shift := _at(cell, 50))
    ]
    if not sure:
        return first
    cell, shift = max(sure, key=lambda pair: abs(pair[1].share))
    return (
        f"{first}; {cell.deployment} from {cell.region} moved most, "
        f"{signed_ms(shift.difference_ms)} ({signed_share(shift.share)}) at p50"
    )


def _callouts(comparison: Comparison) -> tuple[Callout, ...]:
    doubts = tuple(Callout("invalid", doubt) for doubt in comparison.doubts)
    if not comparison.differences:
        return doubts
    listed = "; ".join(str(item) for item in comparison.differences[:8])
    more = len(comparison.differences) - 8
    rest = f"; and {more} more" if more > 0 else ""
    return (
        *doubts,
        Callout(
            "invalid",
            f"The comparison was forced: the runs did not measure the same thing. {listed}{rest}.",
        ),
    )


def _section(comparison: Comparison, number: int, run: RunComparison) -> Section:
    blocks: list[Block] = [
        Text(
            f"{run.run_id} against {comparison.base_run_id}. A cell is slower or faster when the "
            "interval of its p50 lies wholly beyond the margin, the same when it lies wholly "
            "inside, unclear otherwise."
        ),
        _table(comparison, number, run, run.cells),
        *([_table(comparison, number, run, run.pages, "-pages")] if run.pages else []),
    ]
    if any(len(_drawable(cell)) > 1 for cell in run.cells):
        blocks.append(Figures(_CAPTION, lambda: _draw(comparison, number, run)))
    return Section(f"run-{number}", run.run_id, run.run_id, tuple(blocks))


def _table_rows(cells: tuple[CellComparison, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            cell.label,
            decision(cell.movement),
            *_columns(_at(cell, 50)),
            *_columns(_at(cell, 95))[2:],
        )
        for cell in cells
    )


def _table(
    comparison: Comparison,
    number: int,
    run: RunComparison,
    cells: tuple[CellComparison, ...],
    suffix: str = "",
) -> Table:
    """Return the cells, or the pages, of one compared run."""
    what = ", by page" if suffix else ""
    return Table(
        key=f"compare-{number}{suffix}",
        title=f"{run.run_id} against {comparison.base_run_id}{what}",
        headers=(
            *("cell", "movement", "p50 before", "p50 now", "p50 moved", "interval"),
            *("p95 moved", "interval"),
        ),
        rows=_table_rows(cells),
        align="llrrrrrr",
        details=tuple(
            f"{cell.why}; {count(cell.base_n)} requests before, {count(cell.other_n)} now"
            for cell in cells
        ),
        marks=tuple(cell.movement for cell in cells),
        trends=_trends(comparison, cells),
        csv_headers=(
            *("region", "deployment", "scenario", "name", "movement", "margin_ms", "base_n"),
            "other_n",
            *("percentile", "base_ms", "other_ms", "difference_ms", "low_ms", "high_ms", "share"),
        ),
        csv_rows=tuple(
            (
                *(
                    cell.region,
                    cell.deployment,
                    cell.scenario,
                    cell.name,
                    cell.movement,
                    cell.margin_ms,
                ),
                *(cell.base_n, cell.other_n, shift.p, shift.base_ms, shift.other_ms),
                *(shift.difference_ms, shift.low_ms, shift.high_ms, shift.share),
            )
            for cell in cells
            for shift in cell.shifts
        ),
    )


def _trends(comparison: Comparison, cells: tuple[CellComparison, ...]) -> tuple[Trend, ...]:
    """Return each cell's p50 over the base and all compared runs; none where one has no p50."""
    found = []
    for cell in cells:
        values: list[float] = []
        for run in comparison.runs:
            for other in (*run.cells, *run.pages):
                if (*other.key, other.name) == (*cell.key, cell.name) and (shift := _at(other, 50)):
                    values += [shift.other_ms] if values else [shift.base_ms, shift.other_ms]
        if not values:
            return ()
        words = "p50 from run to run: " + ", ".join(ms(value) for value in values)
        found.append(Trend(tuple(values), words=words))
    return tuple(found)


def _columns(shift: Shift | None) -> tuple[str, str, str, str]:
    if shift is None:
        return NOTHING, NOTHING, NOT_ENOUGH, ""
    moved = f"{signed_ms(shift.difference_ms)} ({signed_share(shift.share)})"
    span = signed_interval_ms(shift.low_ms, shift.high_ms)
    return ms(shift.base_ms), ms(shift.other_ms), moved, span


def _at(cell: CellComparison, p: float) -> Shift | None:
    return next((shift for shift in cell.shifts if shift.p == p), None)


def _drawable(cell: CellComparison) -> list[Shift]:
    """Return the shifts that a figure has room for: failures put some at infinity."""
    return [
        shift
        for shift in cell.shifts
        if all(map(math.isfinite, (shift.difference_ms, shift.low_ms, shift.high_ms)))
    ]


def _draw(comparison: Comparison, number: int, run: RunComparison) -> list[str]:
    from loadtest.report.figures.shift import ShiftCurve as Drawn
    from loadtest.report.figures.shift import draw_shift

    styles = arm_styles({cell.deployment: "" for cell in run.cells})
    shown = [
        (at, cell, shifts)
        for at, cell in enumerate(run.cells)
        if len(shifts := _drawable(cell)) > 1
    ]
    low = min(0.0, *(shift.low_ms for _, _, shifts in shown for shift in shifts))
    high = max(0.0, *(shift.high_ms for _, _, shifts in shown for shift in shifts))
    room = max(high - low, 1.0) * 0.06
    return [
        draw_shift(
            f"{number}-{at}",
            f"{cell.region} / {cell.deployment}",
            Drawn(
                [shift.p for shift in shifts],
                [shift.difference_ms for shift in shifts],
                [shift.low_ms for shift in shifts],
                [shift.high_ms for shift in shifts],
                min(cell.base_n, cell.other_n),
            ),
            names=(comparison.base_run_id, run.run_id),
            style=styles[cell.deployment],
            limits_ms=(low - room, high + room),
        )
        for at, cell, shifts in shown
    ]
