"""How numbers and decisions are put into words, the same in every output."""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import quote

from loadtest.gate.shown import NOTHING
from loadtest.units import format_interval_ms, format_ms

__all__ = ["NOTHING"]

NOT_ENOUGH: Final = "too few"

LAYERS: Final[dict[str, str]] = {
    "hosts": "every machine a host of its own",
    "relay": "machines on one loopback",
}
"""Layer of an embedded world -> what its machines are."""

DECISIONS: Final[dict[str, tuple[str, str]]] = {
    "pass": ("✓", "pass"),
    "fail": ("✕", "fail"),
    "inconclusive": ("?", "inconclusive"),
    "invalid": ("⊘", "invalid"),
    "none": ("·", "not judged"),
    "slower": ("▲", "slower"),
    "faster": ("▼", "faster"),
    "same": ("=", "same"),
    "unclear": ("?", "unclear"),
}
"""
Decision word, or movement between two runs -> sign and what it is called.

The sign keeps colour from carrying the meaning alone.
"""


def decision(word: str) -> str:
    """Return a decision with its sign, such as ``✓ pass``."""
    sign, name = DECISIONS.get(word, ("·", word))
    return f"{sign} {name}"


def ms(value: float | None) -> str:
    """Return a time, or a dash for None and not-a-number."""
    return NOTHING if value is None or math.isnan(value) else format_ms(value)


def interval_ms(low: float | None, high: float | None) -> str:
    """Return an interval of times in the unit of the larger end; empty when there is none."""
    return "" if low is None or high is None else format_interval_ms(low, high)


def signed_ms(value: float | None) -> str:
    """Return a difference of times with its sign."""
    if value is None or math.isnan(value):
        return NOTHING
    text = format_ms(abs(value))
    return f"{'−' if value < 0 else '+'}{text}"


def signed_interval_ms(low: float, high: float) -> str:
    """Return an interval of differences, signs shown, the unit once."""
    return format_interval_ms(low, high, signed=True) if math.isfinite(high) else ""


def share(value: float | None, digits: int = 1) -> str:
    """Return a 0-1 share as a percentage."""
    if value is None or math.isnan(value):
        return NOTHING
    if value in {0, 1}:
        return f"{value * 100:.0f} %"
    if 0 < value * 100 < 10.0**-digits / 2:
        return f"< {10.0**-digits:g} %"
    return f"{value * 100:.{digits}f} %"


def signed_share(value: float | None, digits: int = 1) -> str:
    """Return a relative difference with its sign, as a percentage."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{'−' if value < 0 else '+'}{abs(value) * 100:.{digits}f} %"


def count(value: int) -> str:
    """Return a whole number with thousands set apart by a thin space."""
    return f"{value:,}".replace(",", "\u202f")


def number(value: float | None, digits: int = 3) -> str:
    """Return a plain number in few digits, whole from where those are; a dash for none."""
    if value is None or math.isnan(value):
        return NOTHING
    whole = math.isfinite(value) and abs(value) >= 10**digits - 0.5
    return count(round(value)) if whole else f"{value:.{digits}g}"


def listing(names: list[str], joint: str = "and") -> str:
    """Return names as a sentence has them: ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {joint} {names[-1]}"


def clip(text: str, most: int) -> str:
    """Return a text of at most so many letters; where some are missing, it says so."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def slug(name: str) -> str:
    """Return a name as the end of a link may have it; different names stay different."""
    return quote(name, safe="").replace("_", "_5F").replace("%", "_")
