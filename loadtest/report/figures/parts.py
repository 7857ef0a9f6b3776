"""Where the time of a request goes: one stacked bar per arm, one panel per region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report.base.scales import linear_ticks
from loadtest.report.base.style import INK, MUTED, PANEL_IN, ROLES, SURFACE, TEXT_PT
from loadtest.report.base.svg import canvas, inline, plot_area
from loadtest.report.figures.axes import set_ticks
from loadtest.report.figures.names import PART_ROLES, PARTS
from loadtest.units import format_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Bar:
    """One arm's parts in ms, by the keys of ``PARTS``; ``total_ms`` is its median TTFB."""

    arm: str
    parts_ms: Mapping[str, float]
    total_ms: float
    n: int


def draw_parts(
    region: str,
    title: str,
    bars: Sequence[Bar],
    *,
    limit_ms: float,
    rtt_ms: float,
    label_pt: float,
) -> str:
    """
    Return the SVG of one region's stacked bars.

    Args:
        region: Code, used for ids.
        title: Heading of the panel.
        bars: One per arm, in plan order.
        limit_ms: End of the time axis; the same for all regions.
        rtt_ms: Round trip between client and primary region, drawn as a line; 0 draws none.
        label_pt: Room for the arms' names, from ``axes.label_room``; the same for all regions.
    """
    with canvas(PANEL_IN[0], (60 + 24 * len(bars)) / 72) as figure:
        axes = plot_area(figure, left=label_pt, bottom=32, right=40, top=24)
        axes.set_xlim(0, limit_ms)
        axes.set_ylim(len(bars) - 0.5, -0.5)
        set_ticks(axes, "x", linear_ticks(0, limit_ms, most=6))
        set_ticks(axes, "y", range(len(bars)), [bar.arm for bar in bars])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        for row, bar in enumerate(bars):
            _draw_bar(axes, row, bar)
        if rtt_ms > limit_ms * 0.005:
            axes.axvline(rtt_ms, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xlabel("ms at the median")
        axes.set_title(title, color=INK, weight="bold")
        total = sum(bar.n for bar in bars)
        axes.set_title(f"n = {total:,}", loc="right", color=MUTED, fontsize=TEXT_PT)
        return inline(figure, f"parts-{region}", f"Where the time goes, {title}", _words(bars))


def _draw_bar(axes: Axes, row: int, bar: Bar) -> None:
    left = 0.0
    for part, role in PART_ROLES.items():
        width = max(0.0, bar.parts_ms.get(part, 0.0))
        if width > 0:
            axes.barh(
                row,
                width,
                left=left,
                height=0.62,
                color=ROLES[role],
                edgecolor=SURFACE,
                linewidth=0.8,
            )
            left += width
    axes.annotate(
        format_ms(bar.total_ms),
        (left, row),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=TEXT_PT - 0.5,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.6},
    )


def _words(bars: Sequence[Bar]) -> str:
    parts = []
    for bar in bars:
        named = ", ".join(
            f"{PARTS[part]} {format_ms(value)}"
            for part, value in bar.parts_ms.items()
            if part in PARTS and value > 0
        )
        parts.append(f"{bar.arm}: {format_ms(bar.total_ms)} of which {named}")
    return "; ".join(parts) + "."
