"""Validity checks of what each arm was asked, and whether it came to an answer at all."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import numpy as np

from loadtest.analysis.cells import CellRows, codes_of
from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.load import Run
from loadtest.analysis.page_names import page_names
from loadtest.analysis.pages import cell_pages
from loadtest.plan.threshold_checks import compares_arms
from loadtest.records.kinds import ERROR_CANCELLED, ERROR_DROPPED, TASK_NAME, UNASKED_NAME

CANCELLED_SHARE: Final = 0.01
"""Requests of a cell that may have been in flight when the run was stopped, and by chance."""
LEAST_ASKED: Final = 20
"""What one arm was asked so often, another of the same scenarios cannot have missed by chance."""
_CHANCE: Final = 4.0
_ANSWERED: Final = 0.5
_BREAKS_OFF: Final = 0.05
"""A task that meets an error asks no further page: an arm that fails so often is judged by that."""

_Place = tuple[str, tuple[str, ...]]
"""Region, and the scenarios that a deployment names."""


def asked_checks(run: Run, cells: tuple[CellRows, ...]) -> Iterator[ValidityCheck]:
    """Yield failed checks: much that was cancelled, regions without answers, what was not asked."""
    for cell in cells:
        yield from _cancelled(run, cell)
    if compares_arms(run.plan):
        for region in run.plan.regions:
            yield from _answered(run, region, cells)
    yield from _scenarios(run, cells)
    yield from _pages(run, cells)


def _share_of(run: Run, cells: list[CellRows], *kinds: str) -> tuple[float, int]:
    """Return the share of kinds of failure among what was sent, and how much that was."""
    error, words = codes_of(run.frame, "error")
    rows = np.concatenate([cell.rows for cell in cells]) if cells else np.empty(0, np.int32)
    found = error[rows]
    sent = found[found != (words.index(ERROR_DROPPED) if ERROR_DROPPED in words else -1)]
    wanted = [words.index(kind) for kind in kinds if kind in words]
    return (float(np.isin(sent, wanted).mean()) if sent.size else 0.0), int(sent.size)


def _cancelled(run: Run, cell: CellRows) -> Iterator[ValidityCheck]:
    share, n = _share_of(run, [cell], ERROR_CANCELLED)
    limit = CANCELLED_SHARE + _CHANCE * math.sqrt(CANCELLED_SHARE / max(n, 1))
    if share <= limit:
        return
    yield ValidityCheck(
        name="cancelled",
        scope="cell",
        observed=share,
        limit=limit,
        unit="share",
        ok=False,
        why=f"{cell.region}: {share:.1%} of {cell.deployment}'s requests were stopped while in "
        f"flight (limit {limit:.1%}): nobody knows how long they would have taken.",
        advice="The target hangs, or the run was cut short. Mend it, or lower load.timeout_s.",
        region=cell.region,
        deployment=cell.deployment,
        scenario=cell.scenario,
    )


def _answered(run: Run, region: str, cells: tuple[CellRows, ...]) -> Iterator[ValidityCheck]:
    """Check that at least one of a region's arms answered: else there is nothing to compare."""
    arms = run.plan.arms_in(region)
    shares = []
    for arm in arms:
        mine = [cell for cell in cells if (cell.region, cell.deployment) == (region, arm)]
        share, n = _share_of(run, mine, "")
        shares.append(share if n else None)
    known = [share for share in shares if share is not None]
    if len(known) < 2 or len(known) < len(arms) or max(known) >= _ANSWERED:
        return
    yield ValidityCheck(
        name="answered",
        scope="region",
        observed=max(known),
        limit=_ANSWERED,
        unit="share",
        ok=False,
        why=f"{region}: none of the arms answered half of its requests; the best answered "
        f"{max(known):.1%}. What all of them share has failed, and is no difference of theirs.",
        advice="Look at what failed, mend it, and measure again.",
        region=region,
    )


def _alike(run: Run, cells: tuple[CellRows, ...]) -> dict[_Place, list[CellRows]]:
    """Return the cells with rows of each region by what the plan lets their deployments play."""
    groups: dict[_Place, list[CellRows]] = defaultdict(list)
    known = {deployment.name: deployment.scenarios for deployment in run.plan.deployments}
    for cell in cells:
        if cell.rows.size and cell.deployment in known:
            groups[cell.region, known[cell.deployment]].append(cell)
    return groups


def _scenarios(run: Run, cells: tuple[CellRows, ...]) -> Iterator[ValidityCheck]:
    """Check that each arm plays the scenarios that the plan names, and those of its like."""
    for (region, named), some in _alike(run, cells).items():
        wanted = {*named, *(cell.scenario for cell in some if cell.rows.size >= LEAST_ASKED)}
        for arm in dict.fromkeys(cell.deployment for cell in some):
            played = {cell.scenario for cell in some if cell.deployment == arm}
            for scenario in sorted(wanted - played):
                yield _unplayed(region, arm, f"played the scenario {scenario}")


def _pages(run: Run, cells: tuple[CellRows, ...]) -> Iterator[ValidityCheck]:
    """Check that each arm is asked for the pages that its like are asked for."""
    names = page_names(run)
    for (region, _), some in _alike(run, cells).items():
        if len({cell.deployment for cell in some}) < 2:
            continue
        cut = [(cell, cell_pages(run, cell, names)) for cell in some]
        for scenario in dict.fromkeys(cell.scenario for cell in some):
            mine = [(cell, pages) for cell, pages in cut if cell.scenario == scenario]
            wanted = {
                page.name for _, pages in mine for page in pages if page.rows.size >= LEAST_ASKED
            } - {TASK_NAME, UNASKED_NAME}
            for cell, pages in mine:
                missing = sorted(wanted - {page.name for page in pages})
                if missing and 1 - _share_of(run, [cell], "")[0] <= _BREAKS_OFF:
                    yield _unplayed(region, cell.deployment, f"was asked for {missing[0]}")


def _unplayed(region: str, arm: str, what: str) -> ValidityCheck:
    return ValidityCheck(
        name="played",
        scope="cell",
        observed=0.0,
        limit=1.0,
        unit="requests",
        ok=False,
        why=f"{region}: {arm} never {what}, as the plan or another arm of the same scenarios has "
        "it: what was not asked of it is not known.",
        advice="Both arms have to be asked alike. Mend the scenario or the target.",
        region=region,
        deployment=arm,
    )
