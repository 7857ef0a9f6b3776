"""Units: what numbers are converted by, and how they are printed. One place, so that no factor is typed twice."""

from __future__ import annotations

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
US_PER_MS = 1_000
US_PER_S = 1_000_000
MS_PER_S = 1_000


def format_ms(value_ms: float) -> str:
    """
    Return a time for a person: three significant digits, never more than 0.01 ms fine.

    Args:
        value_ms: Milliseconds; infinity prints as ``failed``, not-a-number as ``-``.

    Returns:
        Text with its unit, such as ``45.8 ms`` or ``1.34 s``.
    """
    if value_ms != value_ms:  # NaN is the only value unlike itself
        return "-"
    if value_ms in (float("inf"), float("-inf")):
        return "failed"
    magnitude = abs(value_ms)
    if magnitude >= 10_000:
        return f"{value_ms / MS_PER_S:.1f} s"
    if magnitude >= 1_000:
        return f"{value_ms / MS_PER_S:.2f} s"
    if magnitude >= 100:
        return f"{value_ms:.0f} ms"
    if magnitude >= 10:
        return f"{value_ms:.1f} ms"
    return f"{value_ms:.2f} ms"
