"""Distributions, and the run over time: the figures that are drawn from the records themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from loadtest.report.base.events import TimelineEvent, events_in
from loadtest.report.base.scales import log_limits
from loadtest.report.base.view import Figures, Key, Section
from loadtest.report.sections.shift_blocks import shift_blocks

if TYPE_CHECKING:
    from loadtest.report.base.context import Context

_ECDF: Final = (
    "Share of requests whose first byte had come within a time. Further left is faster, steeper is "
    "steadier; a curve that stays below the top has failures. The mark is the median, the dotted "
    "line one round trip to the primary region. The time axis is logarithmic and the same in every "
    "panel."
)
_STRIP: Final = (
    "TTFB over the course of the run: the strong line is each block's median, the faint one its "
    "p95. Lines that bend together are weather that all arms met; one that bends alone is that "
    "arm's own."
)


def section_distributions(context: Context) -> Section:
    """Return the section with one panel of cumulative distributions per region."""
    return Section(
        "distributions",
        "Distribution of TTFB in each region",
        "Distributions",
        (
            Figures(_ECDF, lambda: _draw_distributions(context), context.legend()),
            *shift_blocks(context),
        ),
    )


def section_time(context: Context) -> Section:
    """Return the section with one time strip per region."""
    events = {region: events_in(context, region) for region in context.regions}
    notes = [
        f"{region}, mark {number}, at {event.t_s:.0f} s: {event.label}"
        for region, found in events.items()
        for number, event in enumerate(found, start=1)
    ]
    legend = context.legend()
    if context.plan.load.warmup_s:
        legend += (Key("warm-up, in no number", "shade", patch=True),)
    if notes:
        legend += (Key("event, listed below", "event", "3 2"),)
    figures = Figures(_STRIP, lambda: _draw_strips(context, events), legend, notes=tuple(notes))
    return Section("time", "The run over time", "Over time", (figures,))


def _draw_distributions(context: Context) -> list[str]:
    from loadtest.report.base.numbers import curves
    from loadtest.report.figures.distribution import Curve, draw_distribution

    data = curves(context.run)
    limits = log_limits(
        [end for latency, _, _ in data.values() if latency for end in (latency[0], latency[-1])]
    )
    return [
        draw_distribution(
            region,
            context.place(region),
            [
                Curve(context.arm_label(cell), context.styles[cell.deployment], *data[cell.key])
                for cell in context.cells_in(region)
                if cell.key in data and data[cell.key][0]
            ],
            limits,
            context.rtt_ms(region),
        )
        for region in context.regions
    ]


def _draw_strips(context: Context, events: Mapping[str, Sequence[TimelineEvent]]) -> list[str]:
    from loadtest.report.base.numbers import bin_edges, strips
    from loadtest.report.figures.strip import Track, draw_strip

    data = strips(context.run)
    edges = bin_edges(context.run)
    # A worker may be lost after the last request: its mark has to stand inside the panel.
    ends = [event.t_s for found in events.values() for event in found]
    end_s = max([float(edges[-1]), *ends])
    every = [float(v) for strip in data.values() for v in (*strip.p50_ms, *strip.p95_ms)]
    limits = log_limits(every)
    return [
        draw_strip(
            region,
            context.place(region),
            [
                Track(
                    context.arm_label(cell),
                    context.styles[cell.deployment],
                    data[cell.key].t_s.tolist(),
                    data[cell.key].p50_ms.tolist(),
                    data[cell.key].p95_ms.tolist(),
                    data[cell.key].n,
                )
                for cell in context.cells_in(region)
                if cell.key in data
            ],
            events[region],
            warmup_s=context.plan.load.warmup_s,
            end_s=end_s,
            limits_ms=limits,
        )
        for region in context.regions
    ]
