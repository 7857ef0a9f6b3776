"""Answers of other sizes: arms of which one may answer with another page than the other."""

from __future__ import annotations

from typing import Final

from loadtest.analysis.connections import compared_arms
from loadtest.analysis.load import Run
from loadtest.analysis.summary import Summary

_TIMES: Final = 1.5
_BYTES: Final = 256.0
"""Heads alone differ by so much: cookies, ids, caching."""


def sizes_unlike(run: Run, summary: Summary) -> str:
    """
    Say that a page's answers are of another size in the arm that it is compared with.

    A page of errors with the status 200 is quick, and nothing but its size tells it from the page
    that was asked for.  A change may mean to send less; so it is told, and judged by nobody.

    Returns:
        A sentence with the first such page; empty where sizes are alike.
    """
    pairs = sorted(compared_arms(run))
    sizes = {
        (*cell.key, page.name): page.bytes_mean
        for cell in summary.cells
        for page in cell.pages
        if page.bytes_mean is not None and not page.errors
    }
    found = []
    for (region, deployment, scenario, name), here in sizes.items():
        for arm, base in pairs:
            there = sizes.get((region, base, scenario, name))
            if deployment != arm or there is None or not _unlike(here, there):
                continue
            place = " / ".join(part for part in (region, deployment, scenario) if part)
            found.append(
                f"{place}, {name}: {here:,.0f} bytes in the mean, {base} {there:,.0f}; is it the "
                "same page?"
            )
    more = f" And {len(found) - 1} more." if len(found) > 1 else ""
    return f"Answers differ in size: {found[0]}{more}" if found else ""


def _unlike(here: float, there: float) -> bool:
    small, large = sorted((here, there))
    return large > _TIMES * small and large - small > _BYTES
