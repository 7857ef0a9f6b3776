"""Units: what numbers are converted by, and how they are printed, in one place."""

from __future__ import annotations

import math

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
US_PER_MS = 1_000
US_PER_S = 1_000_000
MS_PER_S = 1_000
S_PER_MIN = 60
S_PER_HOUR = 3_600


def format_ms(value_ms: float) -> str:
    """
    Return a time for a person: to 0.1 ms, short times to 0.01 ms, seconds from 10 s on.

    Args:
        value_ms: Milliseconds; infinity prints as ``failed``, not-a-number as ``-``.

    Returns:
        Text with its unit, such as ``45.8 ms`` or ``12.3 s``.
    """
    if not math.isfinite(value_ms):
        return "-" if math.isnan(value_ms) else "failed"
    magnitude = abs(value_ms)
    if magnitude >= 10 * MS_PER_S:
        return f"{value_ms / MS_PER_S:.1f} s"
    return f"{value_ms:.{1 if magnitude >= 10 else 2}f} ms"


def format_usd(value_usd: float) -> str:
    """Return US dollars for a person: cents from a dollar on, else hundredths of a cent."""
    return f"${value_usd:.{2 if value_usd >= 1 else 4}f}"


def format_interval_ms(low_ms: float, high_ms: float, *, signed: bool = False) -> str:
    """
    Return an interval of times with the unit once, such as ``[77.1, 80.9 ms]``.

    Args:
        low_ms: Milliseconds.
        high_ms: Milliseconds; infinity prints as ``without bound``.
        signed: Show every value's sign, as differences have it.

    Returns:
        The text; empty when there is no interval.
    """
    if math.isnan(low_ms) or math.isnan(high_ms) or math.isinf(low_ms):
        return ""
    if math.isinf(high_ms):
        return f"[{format_ms(low_ms)}, without bound]"
    largest = max(abs(low_ms), abs(high_ms))
    scale, unit, digits = 1, "ms", 1 if largest >= 10 else 2
    if largest >= 10 * MS_PER_S:
        scale, unit, digits = MS_PER_S, "s", 1
    sign = "+" if signed else ""
    text = f"[{low_ms / scale:{sign}.{digits}f}, {high_ms / scale:{sign}.{digits}f} {unit}]"
    return text.replace("-", "\N{MINUS SIGN}") if signed else text
