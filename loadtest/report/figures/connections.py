"""TTFB on reused connections beside cold TTFB on new ones: a dumbbell per cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.report.base.style import INK, MUTED, PANEL_IN, TEXT_PT, ArmStyle
from loadtest.report.base.svg import canvas, inline, plot_area
from loadtest.report.figures.axes import latency_axis, set_ticks
from loadtest.units import format_ms


@dataclass(frozen=True, slots=True)
class Dumbbell:
    """One cell: medians in milliseconds and the number of samples behind each."""

    arm: str
    style: ArmStyle
    reused_ms: float
    cold_ms: float
    n_reused: int
    n_cold: int


def draw_connections(
    region: str,
    title: str,
    cells: Sequence[Dumbbell],
    limits_ms: tuple[float, float],
    label_pt: float,
) -> str:
    """Return the SVG of one region: filled marks are reused connections, open ones are new.

    Args:
        region: Code, used for ids.
        title: Heading of the panel.
        cells: One per arm, in plan order.
        limits_ms: Of the latency axis; the same for all regions.
        label_pt: Room for the arms' names, from ``axes.label_room``; the same for all regions.
    """
    with canvas(PANEL_IN[0], (62 + 20 * len(cells)) / 72) as figure:
        axes = plot_area(figure, left=label_pt, bottom=32, top=24)
        latency_axis(axes, "x", *limits_ms)
        axes.set_ylim(len(cells) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        set_ticks(axes, "y", range(len(cells)), [cell.arm for cell in cells])
        axes.tick_params(axis="y", labelcolor=INK)
        for row, cell in enumerate(cells):
            colour = cell.style.colour
            axes.plot([cell.reused_ms, cell.cold_ms], [row, row], color=colour, alpha=0.45)
            axes.plot([cell.reused_ms], [row], "o", color=colour, markersize=5.5)
            axes.plot([cell.cold_ms], [row], "o", mfc="none", mec=colour, markersize=6.5)
        axes.set_xlabel("TTFB (ms, log scale)")
        axes.set_title(title, color=INK, weight="bold")
        fresh = sum(cell.n_cold for cell in cells)
        axes.set_title(f"n = {fresh:,} new", loc="right", color=MUTED, fontsize=TEXT_PT)
        words = "; ".join(
            f"{cell.arm}: reused {format_ms(cell.reused_ms)} (n = {cell.n_reused:,}), "
            f"new {format_ms(cell.cold_ms)} (n = {cell.n_cold:,})"
            for cell in cells
        )
        return inline(figure, f"cold-{region}", f"New and reused connections, {title}", words)
