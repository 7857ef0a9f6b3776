"""Published and measured values side by side, with the range that other RTT sources would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report.base.scales import log_limits
from loadtest.report.base.style import INK, MUTED, PUBLISHED, TEXT_PT, ArmStyle
from loadtest.report.base.svg import canvas, inline, plot_area
from loadtest.report.figures.axes import latency_axis, set_ticks
from loadtest.units import format_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Pair:
    """
    One published cell beside ours.

    Args:
        label: Region, for the axis.
        arm: Deployment.
        style: Its look.
        published_ms: As printed in the article.
        ours_ms: Our median.
        range_ms: Smallest and largest prediction over other RTT sources; None where there is none.
    """

    label: str
    arm: str
    style: ArmStyle
    published_ms: float
    ours_ms: float
    range_ms: tuple[float, float] | None


def draw_published(pairs: Sequence[Pair]) -> str:
    """Return the SVG of all published cells: rings are published, filled marks are ours."""
    every = [value for pair in pairs for value in (pair.published_ms, pair.ours_ms)]
    every += [value for pair in pairs for value in (pair.range_ms or ())]
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.arm, []).append(pair)
    rows = len(pairs) + 0.7 * (len(groups) - 1)
    with canvas(6.4, (52 + 17 * rows) / 72) as figure:
        axes = plot_area(figure, left=104, bottom=34, top=10, right=12)
        latency_axis(axes, "x", *log_limits(every))
        axes.set_ylim(rows - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        at, ticks, labels = 0.0, [], []
        for arm, members in groups.items():
            for pair in members:
                ticks.append(at)
                labels.append(f"{arm}  {pair.label}")
                _draw_pair(axes, pair, at)
                at += 1
            at += 0.7
        set_ticks(axes, "y", ticks, labels)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlabel("TTFB (ms, log scale)", color=MUTED, fontsize=TEXT_PT)
        return inline(figure, "published", "Published and measured TTFB", _words(pairs))


def _draw_pair(axes: Axes, pair: Pair, at: float) -> None:
    colour = pair.style.colour
    if pair.range_ms:
        axes.plot(pair.range_ms, [at, at], color=colour, linewidth=5, alpha=0.25)
    axes.plot([pair.published_ms, pair.ours_ms], [at, at], color=PUBLISHED, linewidth=1)
    axes.plot([pair.ours_ms], [at], **pair.style.mark(5))
    axes.plot(
        [pair.published_ms], [at], "o", mfc="none", mec=PUBLISHED, ms=8.5, mew=1.3, linestyle="none"
    )


def _words(pairs: Sequence[Pair]) -> str:
    parts = [
        f"{pair.arm} {pair.label}: published {format_ms(pair.published_ms)}, "
        f"ours {format_ms(pair.ours_ms)}"
        for pair in pairs
    ]
    return "; ".join(parts) + "."
