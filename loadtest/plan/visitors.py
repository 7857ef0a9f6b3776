"""Where a plan's visitors are: a share for each region, all of them together one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from loadtest.errors import PlanError
from loadtest.plan.model import Plan

_NEAR: Final = 0.01  # thirds are written as 33, 33 and 33
_WHOLE: Final = (1.0, 100.0)


def visitor_faults(plan: Plan, dropped: frozenset[str] = frozenset()) -> Iterator[str]:
    """
    Yield a sentence for everything that is wrong with a plan's ``[visitors]``.

    Args:
        plan: The plan.
        dropped: Regions that flags took away: their visitors are no fault.
    """
    if plan.visitors:
        try:
            shares_of(plan.visitors, (*plan.regions, *dropped), "visitors")
        except PlanError as error:
            yield from error.faults


def visitors_left(plan: Plan, dropped: frozenset[str]) -> dict[str, float]:
    """Return a plan's visitors without those of regions that flags took away, as shares of all."""
    kept = {region: share for region, share in plan.visitors.items() if region not in dropped}
    total = sum(kept.values())
    return {region: share / total for region, share in kept.items()}


def parse_visitors(text: str, regions: tuple[str, ...]) -> dict[str, float]:
    """
    Read visitors' shares from a flag: ``cdg=60,syd=40``, or ``cdg,syd`` for equal ones.

    Args:
        text: Regions, all of them with a share or none.
        regions: Those that are allowed.

    Raises:
        PlanError: A region is none of them, a share is no number, or they are not one together.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    written: dict[str, float] = {}
    for part in parts:
        region, sign, number = (word.strip() for word in part.partition("="))
        region = region.lower()
        if region in written:
            raise PlanError(f"--visitors: {region!r} is named twice; give it one share")
        try:
            written[region] = float(number) if sign else 1.0 / len(parts)
        except ValueError:
            raise PlanError(
                f"--visitors: {number[:20]!r} of {region[:20]} is no share; write cdg=60,syd=40"
            ) from None
    if 0 < sum("=" in part for part in parts) < len(parts):
        raise PlanError("--visitors: some regions have no share; give every one its own, or none")
    return shares_of(written, regions, "--visitors")


def shares_of(written: Mapping[str, float], regions: tuple[str, ...], key: str) -> dict[str, float]:
    """
    Return shares that add up to 1 exactly.

    Args:
        written: Region to share, all of them together 1 or, in percent, 100.
        regions: Those that are allowed.
        key: What they were given as, for a message.

    Raises:
        PlanError: Anything is wrong with them.
    """
    total = sum(written.values())
    faults = [
        f"{key}: {region[:20]!r} is no region of the plan; it has {', '.join(regions)}"
        for region in written
        if region not in regions
    ]
    faults += [
        f"{key}: the share of {region[:20]} is {share:g}; write more than 0, or leave it out"
        for region, share in written.items()
        if not 0 < share <= max(_WHOLE)
    ]
    if not faults and not any(abs(total - whole) <= _NEAR * whole + 1e-9 for whole in _WHOLE):
        faults = [
            f"{key}: the shares add up to {total:g}; let them be 1 together, or 100 as percent"
        ]
    if faults:
        raise PlanError(*faults)
    return {region: share / total for region, share in written.items()}
