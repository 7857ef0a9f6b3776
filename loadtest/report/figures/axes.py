"""Axes that every figure shares: a logarithmic latency axis, plain ticks, a grid of few lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from loadtest.report.base.scales import log_ticks, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def set_ticks(
    axes: Axes, which: Literal["x", "y"], ticks: Sequence[float], labels: Sequence[str] = ()
) -> None:
    """Fix the ticks of one axis; without labels each tick shows its number."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FixedFormatter(list(labels or map(plain, ticks))))


def latency_axis(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Make one axis logarithmic in milliseconds, with grid lines at its ticks."""
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low, high)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
    set_ticks(axes, which, log_ticks(low, high))
    axes.grid(axis=which, which="major")
    axes.set_axisbelow(True)
