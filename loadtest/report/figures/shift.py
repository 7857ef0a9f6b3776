"""How much one arm saves over another at each percentile, with the band of the interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.report.base.scales import linear_ticks
from loadtest.report.base.style import INK, MUTED, PANEL_IN, TEXT_PT, ArmStyle
from loadtest.report.base.svg import canvas, inline, plot_area
from loadtest.report.figures.axes import set_ticks


@dataclass(frozen=True, slots=True)
class ShiftCurve:
    """
    The shift function of one region: candidate minus baseline at each percentile.

    Args:
        percentiles: Increasing, 0-100.
        shift_ms: Negative where the candidate is faster.
        low_ms: Lower end of the interval, same length.
        high_ms: Upper end.
        n: Requests of the smaller arm.
    """

    percentiles: Sequence[float]
    shift_ms: Sequence[float]
    low_ms: Sequence[float]
    high_ms: Sequence[float]
    n: int


def draw_shift(
    key: str,
    title: str,
    shift: ShiftCurve,
    *,
    names: tuple[str, str],
    style: ArmStyle,
    limits_ms: tuple[float, float],
) -> str:
    """
    Return the SVG of one region's shift function.

    Args:
        key: Unique in the page; letters, digits and dashes.
        title: Heading of the panel.
        shift: The numbers.
        names: Baseline and candidate.
        style: The candidate's look.
        limits_ms: Of the vertical axis; the same for all regions.
    """
    baseline, candidate = names
    with canvas(PANEL_IN[0], PANEL_IN[1] * 0.86) as figure:
        axes = plot_area(figure, left=44, bottom=34)
        axes.set_xlim(0, 100)
        axes.set_ylim(*limits_ms)
        ticks = linear_ticks(*limits_ms, most=6)
        set_ticks(axes, "y", ticks, [f"{tick:+,.0f}" if tick else "0" for tick in ticks])
        set_ticks(axes, "x", [5, 25, 50, 75, 95], ["p5", "p25", "p50", "p75", "p95"])
        axes.grid(axis="both")
        axes.set_axisbelow(True)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.fill_between(
            shift.percentiles, shift.low_ms, shift.high_ms, color=style.colour, alpha=0.22
        )
        axes.plot(
            shift.percentiles,
            shift.shift_ms,
            color=style.colour,
            marker=style.marker,
            markersize=3,
        )
        axes.set_xlabel("percentile")
        axes.set_ylabel("ms")
        axes.set_title(title, color=INK, weight="bold")
        axes.set_title(f"n = {shift.n:,} per arm", loc="right", color=MUTED, fontsize=TEXT_PT)
        return inline(
            figure,
            f"shift-{key}",
            f"TTFB of {candidate} minus {baseline} by percentile, {title}",
            _words(shift, baseline, candidate),
        )


def _words(shift: ShiftCurve, baseline: str, candidate: str) -> str:
    at = {round(p): index for index, p in enumerate(shift.percentiles)}
    parts = []
    for percentile in (50, 95):
        index = at.get(percentile)
        if index is not None:
            parts.append(
                f"p{percentile} {shift.shift_ms[index]:+.1f} ms "
                f"[{shift.low_ms[index]:+.1f}, {shift.high_ms[index]:+.1f}]"
            )
    return f"Below zero {candidate} is faster than {baseline}. " + ", ".join(parts) + "."
