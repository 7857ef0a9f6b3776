"""Where the ends and ticks of an axis lie: arithmetic, without anything that draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

MOST_TICKS: Final = 7

_STEPS: Final = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
)


def log_limits(values_ms: Iterable[float], *, room: float = 1.12) -> tuple[float, float]:
    """Return limits (ms) around every finite positive value; (1, 1000) when there is none."""
    kept = [value for value in values_ms if value > 0 and math.isfinite(value)]
    if not kept:
        return 1.0, 1000.0
    low, high = min(kept) / room, max(kept) * room
    if high / low < 2:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(2), middle * math.sqrt(2)
    return low, high


def log_ticks(low: float, high: float) -> list[float]:
    """Return round tick positions (1, 2, 5 per decade; finer on a short axis) inside the limits."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for steps in _STEPS:
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) > MOST_TICKS:
            break
        best = ticks
    return best or [low, high]


def linear_ticks(low: float, high: float, *, most: int = MOST_TICKS) -> list[float]:
    """Return evenly spaced round numbers inside the limits, at most ``most`` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    step = 10.0 ** math.floor(math.log10(span / most))
    factor = next(f for f in (1, 2, 2.5, 5, 10, 20) if span / (step * f) <= most - 1 or f == 20)
    step *= factor
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def label_room(labels: Iterable[str]) -> float:
    """Return the points that the longest of some labels takes beside an axis, roughly."""
    return 10 + 4.7 * max((len(label) for label in labels), default=4)


def plain(value: float) -> str:
    """Return a tick's number without a needless decimal; thousands are set apart."""
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 10 else f"{value:.3g}"
