"""One table per deployment, as the article has them, with what a table of numbers owes a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadtest.analysis.page_summary import answers_phrase, failure_phrase
from loadtest.analysis.percentiles import needed
from loadtest.report.base.view import Section, Table, Text
from loadtest.report.base.words import (
    NOT_ENOUGH,
    NOTHING,
    count,
    decision,
    interval_ms,
    listing,
    ms,
    number,
    share,
)
from loadtest.report.sections.matrix import served_words

if TYPE_CHECKING:
    from loadtest.analysis.cells import CellSummary
    from loadtest.analysis.percentiles import Quantile
    from loadtest.report.base.context import Context

_HEADERS: Final = (
    "region",
    "n",
    "p50",
    "95 % interval",
    "p95",
    "95 % interval",
    "p99",
    "errors",
    "served by",
    "db trips",
    "gate",
    "answers",
)
_CSV: Final = (
    *("region", "deployment", "scenario", "n", "p50_ms", "p50_low_ms", "p50_high_ms"),
    *(
        "p95_ms",
        "p95_low_ms",
        "p95_high_ms",
        "p99_ms",
        "errors",
        "dropped",
        "statuses",
        "served_by",
    ),
    *("db_round_trips", "replayed_share", "response_from_schedule_p95_ms", "decision"),
)
_INTRO: Final = (
    "TTFB on warm connections in the steady stage. Failed requests count as infinitely slow. "
    "A percentile is printed where the sample carries it."
)


def section_tables(context: Context) -> Section:
    """Return the section with a table per deployment."""
    return Section(
        "tables",
        "Each deployment in numbers",
        "Tables",
        (Text(_INTRO), *deployment_tables(context)),
    )


def deployment_tables(context: Context) -> list[Table]:
    """Return the tables, one per deployment and variant, in plan order."""
    return [_table(context, name) for name in context.arms]


def _table(context: Context, name: str) -> Table:
    cells = [
        cell
        for region in context.regions
        for cell in context.cells_in(region)
        if cell.deployment == name
    ]
    deployment = context.plan.deployment(name)
    decisions = tuple(context.decision(cell) for cell in cells)
    # A column that says nothing teaches nothing.
    far = any(cell.ttfb_with_failures.get(99) for cell in cells)
    idle = {
        "p99": not far,
        "served by": not any(cell.served_by for cell in cells),
        "db trips": all(cell.db_round_trips is None for cell in cells),
    }
    left_out = {_HEADERS.index(header) for header, empty in idle.items() if empty}
    return Table(
        key=f"ttfb-{name}",
        title=f"{name}: {deployment.title}" if deployment.title else name,
        headers=_without(_HEADERS, left_out),
        rows=tuple(
            _without(_row(context, cell, word), left_out)
            for cell, word in zip(cells, decisions, strict=True)
        ),
        align="".join(_without(tuple("nrrrrrrrnrln"), left_out)),
        note=_note(cells, far=far),
        marks=decisions,
        csv_headers=_CSV,
        csv_rows=tuple(_raw(cell, word) for cell, word in zip(cells, decisions, strict=True)),
    )


def _row(context: Context, cell: CellSummary, word: str) -> tuple[str, ...]:
    told = cell.ttfb_with_failures
    several = len(context.scenarios) > 1
    return (
        f"{cell.region} · {cell.scenario}" if several else cell.region,
        count(told.n),
        *_with_interval(told.get(50)),
        *_with_interval(told.get(95)),
        _value(told.get(99)),
        f"{count(cell.errors)} ({share(cell.errors / cell.n)})" if cell.errors else "0",
        served_words(cell),
        number(cell.db_round_trips),
        decision(word),
        answers_phrase(cell.statuses, cell.n) or NOTHING,
    )


def _without(values: tuple[str, ...], left_out: set[int]) -> tuple[str, ...]:
    return tuple(value for at, value in enumerate(values) if at not in left_out)


def _with_interval(quantile: Quantile | None) -> tuple[str, str]:
    if quantile is None:
        return NOT_ENOUGH, ""
    return ms(quantile.value), interval_ms(quantile.low, quantile.high)


def _value(quantile: Quantile | None) -> str:
    return ms(quantile.value) if quantile else NOT_ENOUGH


def _raw(cell: CellSummary, word: str) -> tuple[object, ...]:
    told = cell.ttfb_with_failures
    median, tail = told.get(50), told.get(95)
    return (
        *(cell.region, cell.deployment, cell.scenario, told.n),
        *((median.value, median.low, median.high) if median else ("", "", "")),
        *((tail.value, tail.low, tail.high) if tail else ("", "", "")),
        *(_or_empty(told.value(99)), cell.errors, cell.dropped),
        " ".join(f"{status}:{n}" for status, n in cell.statuses.items()),
        " ".join(f"{region}:{n}" for region, n in cell.served_by.items()),
        *(_or_empty(cell.db_round_trips), cell.replayed),
        *(_or_empty(cell.response_from_schedule.value(95)), word),
    )


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value


def _note(cells: list[CellSummary], *, far: bool) -> str:
    """Return what else to know: errors by kind, arrivals never sent, why cells are not trusted."""
    notes = [] if far else [f"p99 takes {count(needed(99))} samples a cell and is left out."]
    for cell in cells:
        if cell.failures:
            notes.append(f"{cell.region} errors: {failure_phrase(cell.failures)}.")
        if cell.dropped:
            notes.append(f"{cell.region}: {count(cell.dropped)} arrivals dropped, never sent.")
    # One cause often speaks against several regions: it is said once.
    causes: dict[str, list[str]] = {}
    for cell in cells:
        for why in cell.why_invalid[:1]:
            causes.setdefault(why, []).append(cell.region)
    for why, regions in causes.items():
        notes.append(f"Not judged from {listing(list(dict.fromkeys(regions)))}: {why}")
    return " ".join(notes)
