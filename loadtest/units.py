"""Units: what numbers are converted by, and how they are printed, in one place."""

from __future__ import annotations

import math

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
US_PER_MS = 1_000
US_PER_S = 1_000_000
MS_PER_S = 1_000


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
