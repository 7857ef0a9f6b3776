"""TTFB over the course of the run in one region: p50 and p95 of every block and arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.report.base.events import TimelineEvent
from loadtest.report.base.scales import linear_ticks
from loadtest.report.base.style import EVENT, INK, MUTED, PANEL_IN, SHADE, TEXT_PT, ArmStyle
from loadtest.report.base.svg import canvas, inline, plot_area
from loadtest.report.figures.axes import latency_axis, set_ticks
from loadtest.units import format_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_CLOSE: Final = 0.06
"""Share of the time axis within which two numbers would lie on each other."""
_NEAR_END: Final = 0.96
"""Share of the time axis from which on a mark's number stands left of it, inside the panel."""


@dataclass(frozen=True, slots=True)
class Track:
    """One arm over time; the three sequences have the same length, times in seconds of the run."""

    arm: str
    style: ArmStyle
    t_s: Sequence[float]
    p50_ms: Sequence[float]
    p95_ms: Sequence[float]
    n: int


def draw_strip(
    region: str,
    title: str,
    tracks: Sequence[Track],
    events: Sequence[TimelineEvent],
    *,
    warmup_s: float,
    end_s: float,
    limits_ms: tuple[float, float],
) -> str:
    """
    Return the SVG of one region's time strip: p50 as a line, p95 as a fainter one above it.

    Args:
        region: Code, used for ids.
        title: Heading of the panel.
        tracks: One per arm, in plan order.
        events: Marked by numbered vertical lines.
        warmup_s: Shaded from 0 to here.
        end_s: End of the time axis.
        limits_ms: Of the latency axis; the same for all regions.
    """
    with canvas(PANEL_IN[0], PANEL_IN[1] * 0.9) as figure:
        axes = plot_area(figure, left=46, bottom=34)
        latency_axis(axes, "y", *limits_ms)
        axes.set_xlim(0, end_s)
        set_ticks(axes, "x", linear_ticks(0, end_s))
        if warmup_s > 0:
            _shade_warm_up(axes, warmup_s)
        for track in tracks:
            look = track.style.line()
            axes.plot(track.t_s, track.p50_ms, linewidth=1.6, **look)
            axes.plot(track.t_s, track.p95_ms, linewidth=0.9, alpha=0.55, **look)
        _mark_events(axes, events)
        axes.set_xlabel("seconds since the start of the run")
        axes.set_ylabel("TTFB (ms, log scale)")
        axes.yaxis.set_label_coords(-0.125, 0.5)
        axes.set_title(title, color=INK, weight="bold")
        total = sum(track.n for track in tracks)
        axes.set_title(f"n = {total:,}", loc="right", color=MUTED, fontsize=TEXT_PT)
        return inline(figure, f"strip-{region}", f"TTFB over time, {title}", _words(tracks, events))


def _shade_warm_up(axes: Axes, warmup_s: float) -> None:
    axes.axvspan(0, warmup_s, color=SHADE)
    axes.text(
        warmup_s / 2,
        0.97,
        "warm-up",
        transform=axes.get_xaxis_transform(),
        rotation=90,
        ha="center",
        va="top",
        color=MUTED,
        fontsize=TEXT_PT - 1.5,
    )


def _mark_events(axes: Axes, events: Sequence[TimelineEvent]) -> None:
    end_s = axes.get_xlim()[1]
    for event in events:
        axes.axvline(event.t_s, color=EVENT, linewidth=1.1, linestyle=(0, (3, 2)))
    for first, last, at_s in mark_labels([event.t_s for event in events], _CLOSE * end_s):
        late = at_s > _NEAR_END * end_s
        axes.annotate(
            f"{first}" if first == last else f"{first}–{last}",
            (at_s, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-2 if late else 2, -8),
            textcoords="offset points",
            ha="right" if late else "left",
            color=EVENT,
            fontsize=TEXT_PT - 0.5,
            weight="bold",
        )


def mark_labels(times_s: Sequence[float], close_s: float) -> list[tuple[int, int, float]]:
    """Return first and last number and the place of each label; marks that are close share one."""
    labels: list[tuple[int, int, float]] = []
    for number, t_s in enumerate(times_s, start=1):
        if labels and t_s - labels[-1][2] < close_s:
            first, _, at_s = labels[-1]
            labels[-1] = (first, number, at_s)
        else:
            labels.append((number, number, t_s))
    return labels


def _words(tracks: Sequence[Track], events: Sequence[TimelineEvent]) -> str:
    parts = [
        f"{track.arm}: block medians between {format_ms(min(track.p50_ms))} "
        f"and {format_ms(max(track.p50_ms))}"
        for track in tracks
        if len(track.p50_ms)
    ]
    told = [f"at {event.t_s:.0f} s {event.label}" for event in events]
    return "; ".join(parts + told) + "."
