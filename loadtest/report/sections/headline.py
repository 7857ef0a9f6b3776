"""The result in one sentence, made of the medians."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from loadtest.analysis.page_summary import failure_phrase, total_failures
from loadtest.gate.shown import show_change
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM
from loadtest.report.base.words import listing, ms, signed_ms, signed_share

if TYPE_CHECKING:
    from loadtest.report.base.context import Context

_NUMBERS: Final = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)


def headline(context: Context) -> str:
    """
    Return what the run showed, such as ``replica answers in 46-84 ms from all four regions; multi
    takes 258-1341 ms from the remote ones``.

    The first part names the arm whose slowest region is fastest, the second the arm that is slowest
    from a region other than the primary.  Variants are left out of both.
    """
    medians = _medians(context)
    if not medians:
        return _nothing_good(context, "No request was answered well")
    if not any(math.isfinite(value) for found in medians.values() for value in found.values()):
        return _nothing_good(context, "In no cell did half of the requests succeed")
    if {BASE_ARM, CANDIDATE_ARM} <= set(medians):
        return _revisions(context, medians[BASE_ARM], medians[CANDIDATE_ARM])
    best = min(medians, key=lambda arm: max(medians[arm].values()))
    found = medians[best]
    first = (
        f"{_capital(best)} answers in {span_ms(list(found.values()))} {_from(context, list(found))}"
    )
    remote = {
        arm: {r: v for r, v in values.items() if r != context.plan.primary_region}
        for arm, values in medians.items()
        if arm != best
    }
    remote = {arm: values for arm, values in remote.items() if values}
    if not remote:
        return first
    worst = max(remote, key=lambda arm: max(remote[arm].values()))
    where = (
        "from the remote ones" if len(remote[worst]) > 1 else f"from {next(iter(remote[worst]))}"
    )
    return f"{first}; {worst} takes {span_ms(list(remote[worst].values()))} {where}"


def _nothing_good(context: Context, what: str) -> str:
    """Return that no median can be told, with the reason."""
    failures = total_failures(context.summary.cells)
    return f"{what}: {failure_phrase(failures[:3])}" if failures else what


def _revisions(context: Context, base: dict[str, float], candidate: dict[str, float]) -> str:
    """Return how the candidate's medians stand to the base's, the largest change named."""
    moved = {
        region: candidate[region] - base[region]
        for region in base
        if math.isfinite(base[region]) and math.isfinite(candidate.get(region, math.inf))
    }
    if not moved:
        return _nothing_good(
            context, "In no region did half of the requests succeed in both base and candidate"
        )
    where = max(moved, key=lambda region: abs(moved[region]))
    change = show_change(moved[where], "ms")
    if base[where] and moved[where]:
        change += f" ({signed_share(moved[where] / base[where])})"
    if len(moved) == 1:
        return f"The candidate's median TTFB from {where} against the base's: {change}"
    return (
        f"The candidate's median TTFB moves by {signed_ms(min(moved.values()))} to "
        f"{signed_ms(max(moved.values()))} over {len(moved)} regions, most from {where}: {change}"
    )


def span_ms(values: list[float]) -> str:
    """Return ``46-84 ms`` with an en dash; one value alone stands alone, failures say so."""
    low, high = min(values), max(values)
    if not math.isfinite(high):
        return f"{ms(low)} or not at all" if math.isfinite(low) else "no time at all"
    if high < 10:
        return f"{low:.1f}–{high:.1f} ms" if f"{low:.1f}" != f"{high:.1f}" else f"{low:.1f} ms"
    return f"{low:.0f}–{high:.0f} ms" if round(low) != round(high) else f"{low:.0f} ms"


def _medians(context: Context) -> dict[str, dict[str, float]]:
    """Return arm -> region -> median, of the first scenario, variants left out."""
    found: dict[str, dict[str, float]] = {}
    for name, original in context.arms.items():
        if original:
            continue
        for region in context.regions:
            cell = context.summary.cell(region, name, context.scenarios[0])
            median = cell.ttfb_with_failures.value(50) if cell else None
            if median is not None:
                found.setdefault(name, {})[region] = median
    return found


def _from(context: Context, regions: list[str]) -> str:
    if len(regions) == len(context.regions) > 1:
        number = _NUMBERS[len(regions)] if len(regions) < len(_NUMBERS) else str(len(regions))
        return f"from all {number} regions" if len(regions) > 2 else "from both regions"
    return f"from {listing(regions)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
