"""Where the time goes: each cell's median taken apart into network, database, app and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadtest.report.base.scales import label_room
from loadtest.report.base.view import Figures, Key, Section, Table
from loadtest.report.base.words import NOTHING, ms
from loadtest.report.figures.names import PART_ROLES, PARTS

if TYPE_CHECKING:
    from loadtest.analysis.attribution import Parts
    from loadtest.report.base.context import Context

_NIL: Final = 0.005
_CAPTION: Final = (
    "The median TTFB of each cell in parts. Network to the app and database round trips follow "
    "from the round-trip times and from what the answers say of themselves: who served, how many "
    "database round trips. Database work and app are what the app reports in Server-Timing. The "
    "dotted line is one round trip to the primary region."
)
_NOTE: Final = (
    "Network to the app, replay hop and database round trips together are the network floor. Rest "
    "is what the others leave: proxies, queues, and that medians do not add up exactly; it may be "
    "negative."
)


def section_parts(context: Context) -> Section | None:
    """Return the section with a stacked bar per cell; None when no cell has a median."""
    if not context.parts:
        return None
    shown = [part for part in PARTS if any(dict(p.parts())[part] for p in context.parts.values())]
    legend = tuple(Key(PARTS[part], PART_ROLES[part], patch=True) for part in shown)
    figures = Figures(_CAPTION, lambda: _draw(context), legend)
    return Section("parts", "Where the time goes", "Where time goes", (figures, _table(context)))


def _draw(context: Context) -> list[str]:
    from loadtest.report.figures.parts import Bar, draw_parts

    limit = max(parts.ttfb_ms for parts in context.parts.values()) * 1.04
    room = label_room(context.arm_label(cell) for cell in context.summary.cells)
    return [
        draw_parts(
            region,
            context.place(region),
            [
                Bar(
                    context.arm_label(cell),
                    dict(context.parts[cell.key].parts()),
                    cell.ttfb.value(50) or 0.0,
                    cell.ttfb.n,
                )
                for cell in context.cells_in(region)
                if cell.key in context.parts
            ],
            limit_ms=limit,
            rtt_ms=context.rtt_ms(region),
            label_pt=room,
        )
        for region in context.regions
        if any(cell.key in context.parts for cell in context.cells_in(region))
    ]


def _table(context: Context) -> Table:
    cells = [cell for cell in context.summary.cells if cell.key in context.parts]
    found = [context.parts[cell.key] for cell in cells]
    # No run without a replay needs a column of dashes.
    shown = [part for part in PARTS if any(abs(dict(p.parts())[part]) >= _NIL for p in found)]
    return Table(
        key="parts",
        title="Where the time goes, at the median",
        headers=("deployment", "region", "TTFB p50", *(PARTS[part] for part in shown)),
        rows=tuple(
            (
                context.arm_label(cell),
                parts.region,
                ms(parts.ttfb_ms),
                *(_part(value) for part, value in parts.parts() if part in shown),
            )
            for cell, parts in zip(cells, found, strict=True)
        ),
        align="llr" + "r" * len(shown),
        note=_NOTE,
        csv_headers=(
            *("deployment", "region", "scenario", "ttfb_ms"),
            *(f"{name.replace(' ', '_')}_ms" for name in PARTS),
            *("database_round_trips", "app_region", "in_words"),
        ),
        csv_rows=tuple(_raw(parts) for parts in found),
    )


def _part(value: float) -> str:
    return ms(value) if abs(value) >= _NIL else NOTHING


def _raw(parts: Parts) -> tuple[object, ...]:
    return (
        *(parts.deployment, parts.region, parts.scenario, parts.ttfb_ms),
        *(value for _, value in parts.parts()),
        "" if parts.database_round_trips is None else parts.database_round_trips,
        parts.app_region,
        parts.explanation,
    )
