"""Validity checks that read the records: lateness, drops, resends, stamps, loss, empty cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, codes_of
from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.load import Run
from loadtest.analysis.percentiles import rank_of
from loadtest.records.kinds import (
    CLOCK_KERNEL,
    CLOCK_USER,
    ERROR_CHECK,
    ERROR_DROPPED,
    ERROR_GENERATOR,
    UNASKED_NAME,
)
from loadtest.units import US_PER_MS

ADHERENCE = 0.99
"""Share of the scheduled arrivals that must be in the records, as k6's users ask of a rate."""

_THINNED = 200_000


def record_checks(run: Run, region: str, rows: NDArray[np.int32]) -> Iterator[ValidityCheck]:
    """Yield the checks of one region's steady rows."""
    if not rows.size:
        return
    frame, limits = run.frame, run.plan.validity
    error, kinds = codes_of(frame, "error")
    dropped = _word(error[rows], kinds, ERROR_DROPPED)
    yield _share_check(
        "dropped",
        region,
        float(dropped.mean()),
        limit=limits.dropped_share,
        what="of the arrivals found no free user and were dropped",
        advice="Raise load.users or lower load.rate: the target is too slow for so few users.",
    )
    sent = rows[~dropped]
    if not sent.size:
        return
    yield _scenario_check(run, region, sent)
    yield _generator_check(run, region, sent)
    late = frame["queue_us"].to_numpy()[sent] > limits.late_after_ms * US_PER_MS
    yield _share_check(
        "late",
        region,
        float(late.mean()),
        limit=limits.late_share,
        what=f"of the requests left over {limits.late_after_ms:g} ms after their intended start",
        advice="The generator could not keep to its schedule: lower load.rate, add workers, or "
        "give the machine less other work.",
    )
    resent = frame["attempts"].to_numpy()[sent] > 1
    yield _share_check(
        "resent",
        region,
        float(resent.mean()),
        limit=limits.resent_share,
        what="of the requests were sent a second time on a new connection",
        advice="The target closes idle connections too early: raise its keep-alive time-out.",
    )
    yield from _stamp_checks(run, region, sent)


def _scenario_check(run: Run, region: str, rows: NDArray[np.int32]) -> ValidityCheck:
    """Check that no task raised: what it would have asked was never asked of the target."""
    error, kinds = codes_of(run.frame, "error")
    name, names = codes_of(run.frame, "name")
    raised = _word(error[rows], kinds, ERROR_CHECK) & _word(name[rows], names, UNASKED_NAME)
    count = int(raised.sum())
    return ValidityCheck(
        name="scenario",
        scope="region",
        observed=float(count),
        limit=0.0,
        unit="tasks",
        ok=not count,
        why=f"{region}: {count} tasks of the scenario ended with an exception before they "
        "asked anything of the target.",
        advice="" if not count else "Mend the scenario; the report tells exception, file and line.",
        region=region,
    )


def _generator_check(run: Run, region: str, rows: NDArray[np.int32]) -> ValidityCheck:
    """Check that the generating machine's own limits kept no request from the target."""
    error, kinds = codes_of(run.frame, "error")
    count = int(_word(error[rows], kinds, ERROR_GENERATOR).sum())
    return ValidityCheck(
        name="generator",
        scope="region",
        observed=float(count),
        limit=0.0,
        unit="requests",
        ok=not count,
        why=f"{region}: {count} requests met a limit of the generating machine (descriptors, "
        "ports, buffers or memory).",
        advice=""
        if not count
        else "Raise `ulimit -n` or the range of ports, lower load.rate, or "
        "spread the load over more machines.",
        region=region,
    )


def _stamp_checks(run: Run, region: str, rows: NDArray[np.int32]) -> Iterator[ValidityCheck]:
    limits = run.plan.validity
    clock, clocks = codes_of(run.frame, "clock")
    by_user = float(_word(clock[rows], clocks, CLOCK_USER).mean())
    yield ValidityCheck(
        name="clock source",
        scope="region",
        observed=by_user,
        limit=1.0 if limits.user_clock_allowed else 0.0,
        unit="share",
        ok=limits.user_clock_allowed or by_user == 0,
        why=f"{region}: {by_user:.1%} of the first bytes were stamped by the program, the others "
        "by the kernel.",
        advice=""
        if limits.user_clock_allowed or by_user == 0
        else "The plan wants kernel time stamps: run the workers on Linux.",
        region=region,
    )
    stamped = rows[_word(clock[rows], clocks, CLOCK_KERNEL)]
    stamped = stamped[:: max(1, stamped.size // _THINNED)]
    if not stamped.size:
        return
    wait = run.frame["wait_us"].to_numpy()[stamped]
    gap = np.sort(run.frame["wait_user_us"].to_numpy()[stamped] - wait)
    observed = float(gap[rank_of(99, gap.size) - 1]) / US_PER_MS
    ok = observed <= limits.stamp_gap_p99_ms
    yield ValidityCheck(
        name="stamp gap",
        scope="region",
        observed=observed,
        limit=limits.stamp_gap_p99_ms,
        unit="ms",
        ok=ok,
        why=f"{region}: the program saw first bytes {observed:.2f} ms (p99) after the kernel did "
        f"(limit {limits.stamp_gap_p99_ms:g} ms).",
        advice="" if ok else "The generator is short of CPU: lower load.rate or add workers.",
        region=region,
    )


def schedule_checks(run: Run) -> Iterator[ValidityCheck]:
    """Yield for each region the check that the records hold what the schedule ordered."""
    planned = run.engine.schedule.arrivals if run.engine else 0
    arms = {code: len(run.plan.arms_in(code)) for code in run.plan.regions}
    if run.plan.load.model == "closed":
        return  # nothing is scheduled: users send when they are ready
    if run.engine and (planned <= 0 or not sum(arms.values())):
        yield ValidityCheck(
            name="schedule",
            scope="run",
            observed=float(planned),
            limit=1.0,
            unit="",
            ok=False,
            why="The engine does not tell how many arrivals were scheduled (engine.json, "
            "schedule.arrivals).",
            advice="Without it nobody knows what is missing. Measure again.",
        )
    if planned <= 0 or not sum(arms.values()):
        return
    region, regions = codes_of(run.frame, "region")
    arrival = run.frame["arrival"].to_numpy()
    for code, count in arms.items():
        # Every cell has the same rate, so a region's share is that of its arms.
        due = planned * count / sum(arms.values())
        if not due:
            continue
        found = _distinct(arrival[region == regions.index(code)]) if code in regions else 0
        share = min(1.0, found / due)
        ok = share >= ADHERENCE
        yield ValidityCheck(
            name="schedule",
            scope="region",
            observed=share,
            limit=ADHERENCE,
            unit="share",
            ok=ok,
            why=f"{code}: {found} of {due:.0f} scheduled arrivals are in the records ({share:.2%}; "
            f"at least {ADHERENCE:.0%} must be).",
            advice=""
            if ok
            else "Look for a lost worker, a run that was stopped, or tasks "
            "that end without a request.",
            region=code,
        )


def _distinct(values: NDArray[np.int64]) -> int:
    """Count distinct numbers; they lie close together, so marking is faster than sorting."""
    if not values.size:
        return 0
    low, span = int(values.min()), int(values.max() - values.min()) + 1
    if span > 20 * values.size + 1_000:
        return int(np.unique(values).size)
    seen = np.zeros(span, bool)
    seen[values - low] = True
    return int(seen.sum())


def cell_checks(cells: tuple[CellRows, ...]) -> Iterator[ValidityCheck]:
    """Yield a failed check for each cell that the plan wants and the records lack."""
    for cell in cells:
        if cell.rows.size:
            continue
        yield ValidityCheck(
            name="measured",
            scope="cell",
            observed=0,
            limit=1,
            unit="requests",
            ok=False,
            why=f"{cell.region}: {cell.deployment} has no row in the steady stage.",
            advice="See whether its worker was lost, its users left, or the run stopped early.",
            region=cell.region,
            deployment=cell.deployment,
            scenario=cell.scenario,
        )


def _share_check(
    name: str, region: str, observed: float, *, limit: float, what: str, advice: str
) -> ValidityCheck:
    ok = observed <= limit
    return ValidityCheck(
        name=name,
        scope="region",
        observed=observed,
        limit=limit,
        unit="share",
        ok=ok,
        why=f"{region}: {observed:.2%} {what} (limit {limit:.2%}).",
        advice="" if ok else advice,
        region=region,
    )


def _word(codes: NDArray[np.integer], words: list[str], word: str) -> NDArray[np.bool_]:
    if word not in words:
        return np.zeros(codes.size, bool)
    return np.asarray(codes == words.index(word))
