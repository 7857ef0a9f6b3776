"""The percentiles of two arms in one region, each with the band of its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.report.base.style import INK, MUTED, PANEL_IN, TEXT_PT, ArmStyle
from loadtest.report.base.svg import canvas, inline, plot_area
from loadtest.report.figures.axes import latency_axis, set_ticks
from loadtest.units import format_ms


@dataclass(frozen=True, slots=True)
class ArmPercentiles:
    """
    One arm's percentiles.

    Args:
        arm: Name for the description.
        style: Its look.
        percentiles: Increasing, 0-100.
        value_ms: Same length.
        spans_ms: Low and high end of each value's interval.
    """

    arm: str
    style: ArmStyle
    percentiles: Sequence[float]
    value_ms: Sequence[float]
    spans_ms: Sequence[tuple[float, float]]


def draw_percentiles(
    key: str, title: str, arms: Sequence[ArmPercentiles], n: int, limits_ms: tuple[float, float]
) -> str:
    """
    Return the SVG of one region's percentile curves.

    Args:
        key: Unique in the page; letters, digits and dashes.
        title: Heading of the panel.
        arms: Baseline and candidate.
        n: Requests of the smaller arm.
        limits_ms: Of the latency axis; the same for all regions.
    """
    with canvas(PANEL_IN[0], PANEL_IN[1] * 0.86) as figure:
        axes = plot_area(figure, left=46, bottom=34)
        axes.set_xlim(0, 100)
        latency_axis(axes, "y", *limits_ms)
        ticks = (5, 25, 50, 75, 95)
        set_ticks(axes, "x", ticks, [f"p{tick}" for tick in ticks])
        for arm in arms:
            low, high = zip(*arm.spans_ms, strict=True)
            axes.fill_between(arm.percentiles, low, high, color=arm.style.colour, alpha=0.22)
            axes.plot(arm.percentiles, arm.value_ms, linewidth=1.6, **arm.style.line())
        axes.set_xlabel("percentile")
        axes.set_ylabel("TTFB (ms, log scale)")
        axes.yaxis.set_label_coords(-0.125, 0.5)
        axes.set_title(title, color=INK, weight="bold")
        axes.set_title(f"n = {n:,} per arm", loc="right", color=MUTED, fontsize=TEXT_PT)
        name = f"percentiles-{key}"
        return inline(figure, name, f"Percentiles of TTFB, {title}", _words(arms))


def _words(arms: Sequence[ArmPercentiles]) -> str:
    parts = [
        f"{arm.arm}: p{p:g} {format_ms(value)}, between {format_ms(low)} and {format_ms(high)}"
        for arm in arms
        for p, value, (low, high) in zip(arm.percentiles, arm.value_ms, arm.spans_ms, strict=True)
        if p in {50, 95}
    ]
    return "; ".join(parts) + "."
