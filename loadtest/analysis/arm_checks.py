"""
Validity checks of cells and of arms beside each other: what one lacks, the other would profit from.

Shares of a whole region hide what only one of its arms suffered, and where both are played by one
schedule what is left out of a percentile has to be alike in both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, codes_of
from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.connections import compared_arms, judged_against, opened_unasked
from loadtest.analysis.load import Run
from loadtest.records.kinds import ERROR_CANCELLED, ERROR_DROPPED
from loadtest.units import US_PER_MS

ADHERENCE: Final = 0.99
"""Share of a cell's scheduled arrivals that must be in the records, as of a region's."""
COARSEST_MS: Final = 1.0
"""A clock of longer ticks cannot see what a margin of a few milliseconds asks."""
UNLIKE_CROWD: Final = 0.1
"""Share of an arm's users that may leave it by themselves beyond those that leave its base."""
UNLIKE_SHARE: Final = 0.01
"""Arms may differ by so much, and by chance, in what their percentiles leave out."""
_CHANCE: Final = 4.0
"""Standard errors: one comparison in sixteen thousand is beyond them."""
_LEAST_TICKS: Final = 30


def arm_checks(run: Run, cells: tuple[CellRows, ...]) -> Iterator[ValidityCheck]:
    """Yield failed checks of cells: arrivals that are missing, coarse clocks, arms that differ."""
    for cell in cells:
        yield from _ticks(run, cell)
    if run.plan.load.model == "closed":
        for region in run.plan.regions:  # nothing is scheduled, and arms are asked as they answer
            yield from _crowds(run, region)
        return
    by_arm = _by_arm(cells)
    for (region, arm), due in run.due.items():
        if (rows := by_arm.get((region, arm))) is not None:
            yield from _adherence(run, region, arm, due, rows)
    for region in run.plan.regions:
        yield from _unlike(run, region, by_arm)


def _crowds(run: Run, region: str) -> Iterator[ValidityCheck]:
    """Hold the users that left an arm by themselves against those that left its base."""
    left: Counter[str] = Counter()
    for worker in run.engine.workers if run.engine is not None else ():
        if worker.region == region:
            left.update(worker.left)
    users = run.plan.load.users
    for arm, base in sorted(compared_arms(run)):
        if abs(left[arm] - left[base]) <= max(1, UNLIKE_CROWD * users):
            continue
        yield ValidityCheck(
            name="crowd",
            scope="cell",
            observed=abs(left[arm] - left[base]) / users,
            limit=UNLIKE_CROWD,
            unit="share",
            ok=False,
            why=f"{region}: of {users} users each, {left[arm]} of {arm} left by themselves, and "
            f"{left[base]} of {base}: they were not asked by as many.",
            advice="A scenario's user that stops is gone for the rest of the run: let it go on, or "
            'schedule arrivals (model = "open").',
            region=region,
            deployment=arm,
        )


def _by_arm(cells: tuple[CellRows, ...]) -> dict[tuple[str, str], NDArray[np.int32]]:
    """Return the steady rows of each region and arm that has any, over all scenarios."""
    parts: dict[tuple[str, str], list[NDArray[np.int32]]] = {}
    for cell in cells:
        if cell.rows.size:
            parts.setdefault(cell.key[:2], []).append(cell.rows)
    return {key: np.concatenate(some) for key, some in parts.items()}


def _adherence(
    run: Run, region: str, arm: str, due: NDArray[np.int64], rows: NDArray[np.int32]
) -> Iterator[ValidityCheck]:
    """Hold a cell's arrivals against the schedule, in all and block by block."""
    arrival, block = (run.frame[name].to_numpy()[rows] for name in ("arrival", "block"))
    _, first = np.unique(arrival, return_index=True)
    first = first[arrival[first] >= 0]
    found = np.bincount(block[first], minlength=due.size)[: due.size]
    share = float(np.minimum(found, due).sum() / max(1, due.sum()))
    silent = np.flatnonzero((due > 1) & (found == 0))
    if share >= ADHERENCE and not silent.size:
        return
    blocks = f"; none at all of {silent.size} blocks" if silent.size else ""
    yield ValidityCheck(
        name="schedule",
        scope="cell",
        observed=share,
        limit=ADHERENCE,
        unit="share",
        ok=False,
        why=f"{region}: of {arm}'s scheduled arrivals {share:.2%} are in the records "
        f"(at least {ADHERENCE:.0%} must be){blocks}.",
        advice="What is missing is not random. Look for a lost worker or for tasks that end "
        "without a request, or measure again.",
        region=region,
        deployment=arm,
    )


def _ticks(run: Run, cell: CellRows) -> Iterator[ValidityCheck]:
    """Check that times are not those of a coarse clock, nor all one."""
    frame = run.frame
    error, kinds = codes_of(frame, "error")
    good = cell.rows[error[cell.rows] == kinds.index("")] if "" in kinds else cell.rows[:0]
    if good.size < _LEAST_TICKS:
        return
    waits = frame["wait_us"].to_numpy()[good].astype(np.int64)
    tick_ms = float(np.gcd.reduce(np.abs(waits - waits[0]))) / US_PER_MS
    if 0 < tick_ms <= COARSEST_MS:
        return
    found = f"are whole steps of {tick_ms:g} ms" if tick_ms else "are all one number"
    yield ValidityCheck(
        name="resolution",
        scope="cell",
        observed=tick_ms or None,
        limit=COARSEST_MS,
        unit="ms",
        ok=False,
        why=f"{cell.region}: the times of {cell.deployment} {found} "
        f"(steps of {COARSEST_MS:g} ms at most can be judged).",
        advice="No clock of ours is so coarse, and no answer so even. Measure again.",
        region=cell.region,
        deployment=cell.deployment,
        scenario=cell.scenario,
    )


def _unlike(
    run: Run, region: str, by_arm: dict[tuple[str, str], NDArray[np.int32]]
) -> Iterator[ValidityCheck]:
    """Yield a failed check where arms of one scenario differ in what their percentiles lack."""
    plan, against = run.plan, judged_against(run)
    for arm in plan.arms_in(region):
        for other in plan.arms_in(region):
            alike = plan.deployment(arm).scenarios == plan.deployment(other).scenarios
            mine, theirs = by_arm.get((region, arm)), by_arm.get((region, other))
            if arm == other or not alike or mine is None or theirs is None:
                continue
            kinds = list(zip(_left_out(run, mine), _left_out(run, theirs), strict=True))
            if arm in against:
                kinds.append((_unasked(run, mine), _unasked(run, theirs)))
            for (what, here), (_, there) in kinds:
                if _more(here, there):
                    yield _unlike_check(region, arm, other, what, here, there)


def _more(here: NDArray[np.bool_], there: NDArray[np.bool_]) -> bool:
    """Tell whether a share is larger than another by more than is allowed and chance explains."""
    together = float(np.concatenate([here, there]).mean())
    chance = math.sqrt(together * (1 - together) * (1 / here.size + 1 / there.size))
    return float(here.mean() - there.mean()) > UNLIKE_SHARE + _CHANCE * chance


def _left_out(run: Run, rows: NDArray[np.int32]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return what keeps requests out of a warm percentile, and which of some rows it keeps out."""
    frame = run.frame
    error, kinds = codes_of(frame, "error")

    def is_kind(kind: str) -> NDArray[np.bool_]:
        return _same(error[rows], kinds.index(kind) if kind in kinds else -1)

    return [
        ("were dropped", is_kind(ERROR_DROPPED)),
        ("were cancelled", is_kind(ERROR_CANCELLED)),
        ("were sent twice", frame["attempts"].to_numpy()[rows] > 1),
        ("asked for a new connection", frame["cold"].to_numpy()[rows].astype(bool)),
    ]


def _unasked(run: Run, rows: NDArray[np.int32]) -> tuple[str, NDArray[np.bool_]]:
    """
    Return which of some rows waited for a connection that nobody asked for.

    Their TTFB holds that wait, so it speaks for itself, but for an arm that others are held
    against: what makes that one look slow lets a slow candidate pass.
    """
    return "opened a connection that nobody asked for", opened_unasked(run.frame, rows)


def _same(codes: NDArray[Any], code: int) -> NDArray[np.bool_]:
    return np.asarray(codes == code)


def _unlike_check(  # noqa: PLR0917 - the parts of one sentence
    region: str,
    arm: str,
    other: str,
    what: str,
    here: NDArray[np.bool_],
    there: NDArray[np.bool_],
) -> ValidityCheck:
    return ValidityCheck(
        name="arms alike",
        scope="cell",
        observed=float(here.mean() - there.mean()),
        limit=UNLIKE_SHARE,
        unit="share",
        ok=False,
        why=f"{region}: {here.mean():.2%} of {arm}'s requests {what}, {there.mean():.2%} of "
        f"{other}'s: its percentiles are those of other requests.",
        advice="Both arms have to be asked alike. Mend the scenario or the target.",
        region=region,
        deployment=arm,
    )
