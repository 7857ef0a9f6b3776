"""A small curve for a row of a table: coordinates, ready for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtest.report.base.view import Trend

WIDTH: Final = 120.0
HEIGHT: Final = 28.0
_EDGE: Final = 4.0
LEAST_SHARE: Final = 0.2
"""Height of the box as a share of the level at least: noise shall not look like a move."""


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """Points as SVG has them, the last of them, and where a new level begins."""

    points: str
    last: tuple[float, float]
    changes: tuple[float, ...]


def curve(trend: Trend) -> CurvePoints:
    """Return a trend laid into ``WIDTH`` x ``HEIGHT``, high values above low ones."""
    low, high = min(trend.values), max(trend.values)
    room = max(0.0, LEAST_SHARE * (low + high) / 2 - (high - low)) / 2
    low, high = low - room, high + room
    steps = max(1, len(trend.values) - 1)

    def across(index: float) -> float:
        return round(_EDGE + (WIDTH - 2 * _EDGE) * index / steps, 1)

    def down(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * share, 1)

    placed = [(across(index), down(value)) for index, value in enumerate(trend.values)]
    return CurvePoints(
        points=" ".join(f"{x:g},{y:g}" for x, y in placed),
        last=placed[-1],
        changes=tuple(across(index - 0.5) for index in trend.changes),
    )
