"""The distribution of TTFB in one region: what share of requests was answered within how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.report.base.style import INK, MUTED, PANEL_IN, TEXT_PT, ArmStyle
from loadtest.report.base.svg import canvas, inline, plot_area
from loadtest.report.figures.axes import latency_axis, set_ticks
from loadtest.units import format_ms


@dataclass(frozen=True, slots=True)
class Curve:
    """
    One arm's cumulative distribution.

    Args:
        arm: Name for the description.
        style: Its look.
        latency_ms: Increasing; failures are not in it.
        share: Same length, 0 to 1, of *all* requests, so that failures keep the curve below 1.
        n: Requests behind the curve.
    """

    arm: str
    style: ArmStyle
    latency_ms: Sequence[float]
    share: Sequence[float]
    n: int


def draw_distribution(
    region: str,
    title: str,
    curves: Sequence[Curve],
    limits_ms: tuple[float, float],
    floor_ms: float,
) -> str:
    """
    Return the SVG of one region's cumulative distributions.

    Args:
        region: Code, used for ids.
        title: Heading of the panel.
        curves: One per arm, in plan order.
        limits_ms: Of the latency axis; the same for all regions.
        floor_ms: Round trip to the primary region, drawn as a mark; 0 draws none.
    """
    with canvas(*PANEL_IN) as figure:
        axes = plot_area(figure, left=34, bottom=34)
        latency_axis(axes, "x", *limits_ms)
        axes.set_ylim(0, 1.02)
        set_ticks(axes, "y", [0, 0.25, 0.5, 0.75, 0.95], ["0", "25 %", "50 %", "75 %", "95 %"])
        axes.grid(axis="y")
        axes.set_xlabel("TTFB (ms, log scale)")
        axes.set_title(title, color=INK, weight="bold")
        total = sum(curve.n for curve in curves)
        axes.set_title(f"n = {total:,}", loc="right", color=MUTED, fontsize=TEXT_PT)
        if limits_ms[0] < floor_ms < limits_ms[1]:
            axes.axvline(floor_ms, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
            axes.annotate(
                "1 RTT",
                (floor_ms, 1.02),
                xytext=(-2, -8),
                textcoords="offset points",
                ha="right",
                color=MUTED,
                fontsize=TEXT_PT - 1.5,
                annotation_clip=False,
            )
        for curve in curves:
            axes.plot(
                curve.latency_ms,
                curve.share,
                color=curve.style.colour,
                linestyle=curve.style.dash,
                drawstyle="steps-post",
            )
            median = _at(curve, 0.5)
            if median:
                axes.plot([median], [0.5], **curve.style.mark(4.5))
        return inline(figure, f"ecdf-{region}", f"Distribution of TTFB, {title}", _words(curves))


def _at(curve: Curve, share: float) -> float:
    """Return the first latency at which the curve reaches a share; 0 when it never does."""
    reached = (ms for ms, y in zip(curve.latency_ms, curve.share, strict=True) if y >= share)
    return next(reached, 0.0)


def _words(curves: Sequence[Curve]) -> str:
    parts = [
        f"{curve.arm}: half within {format_ms(_at(curve, 0.5))}, "
        f"95 % within {format_ms(_at(curve, 0.95) or float('inf'))} (n = {curve.n:,})"
        for curve in curves
    ]
    return "Cumulative share of requests by time to first byte. " + "; ".join(parts) + "."
