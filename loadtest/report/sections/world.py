"""The emulated world while it was measured through: what happened, its links, its processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.wire import databases_passed_by
from loadtest.analysis.world_time import WorldTime, why_unseen, world_time
from loadtest.report.base.view import Block, Table, Text
from loadtest.report.base.words import NOTHING, count, ms
from loadtest.units import US_PER_MS

if TYPE_CHECKING:
    from loadtest.report.base.context import Context


def world_blocks(context: Context) -> Iterator[Block]:
    """Yield what happened in the world during the load, its pings and its lateness."""
    if why := why_unseen(context.run):
        yield Text(f"This world cannot tell how its links fared under load: {why}.")
    yield from map(Text, databases_passed_by(context.run.world))
    if context.summary.events:
        yield events_table(context)
    time = world_time(context.run)
    if time is not None:
        yield _pings(time)
        yield _processes(time)


def events_table(context: Context) -> Table:
    """Return what happened in the world: when, beside which cells, in words."""
    return Table(
        key="events",
        title="What happened in the world while it was measured",
        headers=("at", "beside", "what"),
        rows=tuple(
            (
                f"{event.t_s:.1f} s",
                " / ".join((", ".join(event.regions) or "all regions", event.deployment or "all")),
                event.text,
            )
            for event in context.summary.events
        ),
        align="rlw",
        note="Faults that were asked for are part of what was measured, and no reason for doubt.",
    )


def _pings(time: WorldTime) -> Table:
    rows = []
    for pair in time.watch.pairs:
        _, trips = time.pings(pair)
        back = trips[np.isfinite(trips)]
        found = [
            ms(float(np.percentile(back, p, method="inverted_cdf"))) if back.size else NOTHING
            for p in (50, 95, 99, 100)
        ]
        rows.append(
            (
                f"{pair.from_}-{pair.to}",
                ms(pair.configured_rtt_ms),
                *found,
                count(int(trips.size)),
                count(int(trips.size - back.size)),
            )
        )
    return Table(
        key="pings",
        title="Links under load: round trips of the pings that rode along",
        headers=("link", "configured", "p50", "p95", "p99", "worst", "n", "lost"),
        rows=tuple(rows),
        align="lrrrrrrr",
        note="Without those that a fault which was asked for has bent.",
    )


def _processes(time: WorldTime) -> Table:
    return Table(
        key="lateness",
        title="How late the world's own processes were under load",
        headers=("process", "p50", "p99", "worst", "n"),
        rows=tuple(
            (
                process.name,
                *(
                    ms(value / US_PER_MS)
                    for value in (process.late_p50_us, process.late_p99_us, process.late_max_us)
                ),
                count(process.n),
            )
            for process in time.watch.processes
        ),
        align="lrrrr",
        note="links: after the due time of a delivery; world: edges and supervisor, one loop.",
    )
