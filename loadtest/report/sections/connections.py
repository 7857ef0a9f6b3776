"""What a new connection costs, and which region answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report.base.scales import label_room, log_limits
from loadtest.report.base.view import Block, Figures, Section, Table, Text
from loadtest.report.base.words import NOTHING, count, interval_ms, ms, share, signed_ms

if TYPE_CHECKING:
    from loadtest.analysis.cells import CellSummary
    from loadtest.report.base.context import Context

_COLD = (
    "Cold TTFB counts from the start of everything on a new connection: name look-up, TCP, TLS, "
    "request, wait. It is what a first visitor feels. Filled marks are reused connections, open "
    "ones new."
)


def section_connections(context: Context) -> Section | None:
    """Return the section about new connections; None when the run opened too few to tell."""
    cells = [cell for cell in context.summary.cells if cell.ttfb_cold.get(50)]
    opened = [cell for cell in context.summary.cells if _unasked(cell)]
    if not cells and not opened:
        return None
    blocks = _cold(context, cells) if cells else ()
    if opened:
        blocks = (*blocks, _opened(context, opened))
    return Section("connections", "New and reused connections", "Connections", blocks)


def _unasked(cell: CellSummary) -> int:
    return cell.connections.unasked + cell.connections.resent


def _opened(context: Context, cells: list[CellSummary]) -> Table:
    """Return how many requests had to open a connection though nobody asked for a new one."""

    def share_of(cell: CellSummary, n: int) -> str:
        return f"{count(n)} ({share(n / max(1, cell.connections.sent))})" if n else NOTHING

    return Table(
        key="unasked-connections",
        title="Connections that nobody asked for",
        headers=("deployment", "region", "requests", "opened one", "sent a second time"),
        rows=tuple(
            (
                context.arm_label(cell),
                cell.region,
                count(cell.connections.sent),
                share_of(cell, cell.connections.unasked),
                share_of(cell, cell.connections.resent),
            )
            for cell in cells
        ),
        align="llrrr",
        note="Opening it is a wait like any other, and in the TTFB of the request that had to. "
        "What was sent twice, as an open connection turned out to be closed, is in no TTFB.",
    )


def _cold(context: Context, cells: list[CellSummary]) -> tuple[Block, ...]:
    shown = [region for region in context.regions if any(c.region == region for c in cells)]
    return (
        Figures(_COLD, lambda: _draw(context, cells, shown)),
        Table(
            key="cold",
            title="New and reused connections",
            headers=(
                *("deployment", "region", "TTFB p50 reused", "cold TTFB p50", "95 % interval"),
                *("difference", "n new", "connect p50", "TLS p50"),
            ),
            rows=tuple(_row(context, cell) for cell in cells),
            align="llrrrrrrr",
        ),
    )


def _draw(context: Context, cells: list[CellSummary], regions: list[str]) -> list[str]:
    from loadtest.report.figures.connections import Dumbbell, draw_connections

    pairs = {
        cell.key: Dumbbell(
            context.arm_label(cell),
            context.styles[cell.deployment],
            cell.ttfb.value(50) or float("nan"),
            cell.ttfb_cold.value(50) or float("nan"),
            cell.ttfb.n,
            cell.ttfb_cold.n,
        )
        for cell in cells
    }
    limits = log_limits(v for pair in pairs.values() for v in (pair.reused_ms, pair.cold_ms))
    return [
        draw_connections(
            region,
            context.place(region),
            [pairs[cell.key] for cell in cells if cell.region == region],
            limits,
            label_room(pair.arm for pair in pairs.values()),
        )
        for region in regions
    ]


def _row(context: Context, cell: CellSummary) -> tuple[str, ...]:
    warm, cold = cell.ttfb.get(50), cell.ttfb_cold.get(50)
    assert cold is not None
    tls = cell.phases["tls"].value(50)
    return (
        context.arm_label(cell),
        cell.region,
        ms(warm.value) if warm else NOTHING,
        ms(cold.value),
        interval_ms(cold.low, cold.high),
        signed_ms(cold.value - warm.value) if warm else NOTHING,
        count(cell.ttfb_cold.n),
        ms(cell.phases["connect"].value(50)),
        ms(tls) if tls else "no TLS",
    )


def section_served(context: Context) -> Section | None:
    """Return the section about who answered; None when no answer named its region."""
    cells = [cell for cell in context.summary.cells if cell.served_by]
    if not cells:
        return None
    replayed = [cell for cell in cells if cell.replayed > 0]
    words = (
        "Share of answers by the region that gave them, as the answer's own header names it. A "
        "replay is a request that the edge sent on to another region because the app asked for it."
    )
    return Section(
        "served", "Who answered", "Who answered", (Text(words), _served(context, cells, replayed))
    )


def _served(context: Context, cells: list[CellSummary], replayed: list[CellSummary]) -> Table:
    named = {region for cell in cells for region in cell.served_by}
    serving = [region for region in context.plan.regions if region in named]
    serving += sorted(named.difference(serving))
    rows = []
    for cell in cells:
        total = sum(cell.served_by.values())
        rows.append(
            (
                context.arm_label(cell),
                cell.region,
                *(_share(cell.served_by.get(r, 0), total) for r in serving),
                share(cell.replayed) if cell.replayed else NOTHING,
            )
        )
    note = (
        f"Replays in {count(len(replayed))} cells."
        if replayed
        else "No request of this run was replayed."
    )
    return Table(
        key="served-by",
        title="Client region × answering region",
        headers=("deployment", "client", *(f"by {r}" for r in serving), "replayed"),
        rows=tuple(rows),
        align="ll" + "r" * (len(serving) + 1),
        note=note,
    )


def _share(n: int, total: int) -> str:
    return share(n / total) if n else NOTHING
