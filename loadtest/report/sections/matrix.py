"""The first thing to look at: every region against every deployment, coloured by decision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loadtest.report.base.scales import log_limits
from loadtest.report.base.view import Matrix, MatrixCell, MatrixColumn, Section
from loadtest.report.base.words import NOT_ENOUGH, count, interval_ms, ms, slug

if TYPE_CHECKING:
    from loadtest.analysis.cells import CellSummary
    from loadtest.analysis.page_summary import PageSummary
    from loadtest.analysis.percentiles import Quantile
    from loadtest.report.base.context import Context

_NOTE = (
    "The colour and the sign tell what the gate decided for a cell, not how large its number is. "
    "The large number is the median. On the line below it the dot is the median, the bar runs to "
    "p95, and the tick is the network floor; the axis is logarithmic and the same in every cell. "
    "Brackets are 95 % intervals."
)


def section_matrix(context: Context) -> Section:
    """Return the section with one matrix per scenario."""
    limits = _limits(context)
    blocks = tuple(_matrix(context, scenario, limits) for scenario in context.scenarios)
    return Section("matrix", "Time to first byte by region and deployment", "Overview", blocks)


def floor_ms(context: Context, cell: CellSummary) -> float | None:
    """Return what round trips alone, to app and database, cost a cell; None if unknown."""
    parts, deployment = context.parts.get(cell.key), context.plan.deployment(cell.deployment)
    somewhere = bool(deployment.url) and not deployment.at and not cell.served_by
    if parts is None or somewhere:
        return None
    return parts.network_ms + parts.replay_ms + parts.database_network_ms


def served_words(cell: CellSummary) -> str:
    """Return which regions answered, with shares where there are several."""
    total = sum(cell.served_by.values())
    if not total:
        return "unknown"
    if len(cell.served_by) == 1:
        return next(iter(cell.served_by))
    ranked = sorted(cell.served_by.items(), key=lambda item: -item[1])
    return ", ".join(f"{region} {n / total:.0%}" for region, n in ranked)


def _matrix(context: Context, scenario: str, limits: tuple[float, float]) -> Matrix:
    """Return one scenario's matrix, without deployments and regions that do not play it."""
    played = {cell.deployment for cell in context.summary.cells if cell.scenario == scenario}
    # a variant stands in its original's cells, and for itself where that one has none
    columns = [n for n, original in context.arms.items() if n in played and original not in played]
    rows = []
    for region in context.regions:
        cells = {cell.deployment: cell for cell in context.cells_in(region, scenario)}
        line = []
        for name in columns:
            variants = tuple(
                _cell(context, cells[arm], limits)
                for arm, original in context.arms.items()
                if original == name and arm in cells
            )
            line.append(_cell(context, cells[name], limits, variants) if name in cells else None)
        if cells:
            rows.append((region, context.city(region), tuple(line)))
    suffix = f", scenario {scenario}" if len(context.scenarios) > 1 else ""
    return Matrix(
        key=f"matrix-{context.scenarios.index(scenario) + 1}",
        caption=f"Median TTFB on warm connections{suffix}",
        columns=tuple(
            MatrixColumn(name, context.plan.deployment(name).title, context.styles[name].role)
            for name in columns
        ),
        rows=tuple(rows),
        note=_NOTE if scenario == context.scenarios[-1] else "",
    )


def page_matrix(context: Context, pages: tuple[str, ...]) -> Matrix:
    """Return the matrix of pages: a row for each page in each region, a column a deployment."""
    columns = [name for name, original in context.arms.items() if not original]
    values: list[float] = []
    rows = []
    for cell in context.summary.cells:
        for page in cell.pages:
            values += [page.ttfb.value(50) or 0.0, page.ttfb.value(95) or 0.0]
    limits = log_limits(values)
    for name in pages:
        for region in context.regions:
            found: dict[str, MatrixCell] = {}
            for cell in context.cells_in(region):
                for page in cell.pages:
                    if page.name == name:  # of several scenarios, the first that asks for it
                        found.setdefault(cell.deployment, _page_cell(context, cell, page, limits))
            if found:
                rows.append((name, region, tuple(found.get(column) for column in columns)))
    note = "As the matrix above, but the colour is that of rules about the page itself."
    if len(pages) < len(context.pages):
        note += f" The most frequent of {count(len(context.pages))} pages; the tables have all."
    return Matrix(
        key="matrix-pages",
        caption="Median TTFB of each page",
        columns=tuple(
            MatrixColumn(name, context.plan.deployment(name).title, context.styles[name].role)
            for name in columns
        ),
        rows=tuple(rows),
        note=note,
        named=True,
    )


def _page_cell(
    context: Context, cell: CellSummary, page: PageSummary, limits: tuple[float, float]
) -> MatrixCell:
    median, tail = page.ttfb_with_failures.get(50), page.ttfb_with_failures.get(95)
    return MatrixCell(
        name=cell.deployment,
        p50=ms(median.value) if median else NOT_ENOUGH,
        p50_interval=interval_ms(median.low, median.high) if median else "",
        p95=ms(tail.value) if tail else NOT_ENOUGH,
        p95_interval=interval_ms(tail.low, tail.high) if tail else "",
        n=count(page.n),
        small=(_errors(page.errors),) if page.errors else (),
        decision=context.page_decision(cell, page.name),
        track=_track(median, tail, None, limits),
        key=f"page-{slug(cell.region)}-{slug(cell.deployment)}-{slug(page.name)}",
    )


def _cell(
    context: Context,
    cell: CellSummary,
    limits: tuple[float, float],
    variants: tuple[MatrixCell, ...] = (),
) -> MatrixCell:
    median, tail = cell.ttfb_with_failures.get(50), cell.ttfb_with_failures.get(95)
    floor = floor_ms(context, cell)
    small = [f"floor {ms(floor)}"] if floor is not None else []
    if cell.served_by:
        small.append(f"served by {served_words(cell)}")
    if cell.errors:
        small.append(_errors(cell.errors))
    return MatrixCell(
        name=cell.deployment,
        p50=ms(median.value) if median else NOT_ENOUGH,
        p50_interval=interval_ms(median.low, median.high) if median else "",
        p95=ms(tail.value) if tail else NOT_ENOUGH,
        p95_interval=interval_ms(tail.low, tail.high) if tail else "",
        n=count(cell.ttfb_with_failures.n),
        small=tuple(small),
        decision=context.decision(cell),
        track=_track(median, tail, floor, limits),
        variants=variants,
        key=f"cell-{slug(cell.region)}-{slug(cell.deployment)}-{slug(cell.scenario)}",
    )


def _errors(n: int) -> str:
    return f"{count(n)} error{'s' * (n != 1)}"


def _limits(context: Context) -> tuple[float, float]:
    values = []
    for cell in context.summary.cells:
        values += [cell.ttfb.value(50) or 0.0, cell.ttfb.value(95) or 0.0]
    return log_limits(values)


def _track(
    median: Quantile | None,
    tail: Quantile | None,
    floor: float | None,
    limits: tuple[float, float],
) -> tuple[float, ...]:
    if median is None or not math.isfinite(median.value) or median.value <= 0:
        return ()
    low, high = limits

    def at(value: float) -> float:
        place = math.log(min(max(value, low), high) / low) / math.log(high / low)
        return round(100 * place, 1)

    left = at(median.value)
    right = at(tail.value) if tail else left
    mark = at(floor) if floor and low <= floor <= high else -1.0
    return (left, round(right - left, 1), mark)
