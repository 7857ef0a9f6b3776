"""Validity checks of the emulated world during the load: its links, its processes, its paths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np

from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.load import Run
from loadtest.analysis.world_time import Floats, WorldTime, world_time
from loadtest.records.watch import (
    MOMENT_MS,
    PairFacts,
    PathFacts,
    ProcessFacts,
    ping_every_ms,
)
from loadtest.records.world_facts import EMBEDDED
from loadtest.units import MS_PER_S, US_PER_MS

LONGEST_SILENCE_S: Final = 5.0
"""The world tells of itself every second; a longer silence is a world that stood still."""

LEAST_TOLD: Final = 0.75
"""Share of what a watch should tell that has to be there: a busy machine may skip a beat."""

WINDOW_PINGS: Final = 14
"""Pings whose median has to keep the tolerance: one alone may meet a busy moment."""

STRIDE_PINGS: Final = 4
"""From one window to the next: they overlap, so that a bent stretch is not shared by two."""

STALL_MS: Final = 100.0
"""From here on a delay is no jitter of a busy machine but somebody standing still."""

FOLLOWS_MS: Final = 10_000.0
"""What ends within so long of a fault may have ended of it: pools and jobs time out slowly."""

_BUSY: Final = "Give the machine less other work, or plan fewer regions."
_WHAT: Final = {"links": "the links delivered", "world": "the edges' and the world's loop woke"}


def world_checks(run: Run) -> Iterator[ValidityCheck]:
    """Yield the checks of an embedded world's watch; where it has none, that alone."""
    if run.world.kind != EMBEDDED or run.engine is None:
        return
    time = world_time(run)
    if time is None:
        yield _absent()
        return
    yield _covered(time)
    yield _round_trips(time)
    for process in time.watch.processes:
        yield _late(run, process)
    yield _stalled(time)
    yield _ended(time)
    yield from _paths(run, "before load", time.watch.paths_before)
    yield from _paths(run, "after load", time.watch.paths_after)


def _absent() -> ValidityCheck:
    return ValidityCheck(
        name="watch",
        scope="run",
        observed=0.0,
        limit=1.0,
        unit="",
        ok=False,
        why="The world left no account of itself during the load (watch in world.json).",
        advice="Links and processes may have stood still unseen. Measure again.",
    )


def _covered(time: WorldTime) -> ValidityCheck:
    """Check that world, links and pings told of themselves all through the load."""
    begin, end = time.load_ms
    told = {"the world": np.array([moment.t_ms for moment in time.watch.moments], np.float64)}
    for pair in time.watch.pairs:
        told[_link(pair)] = np.array(pair.sent_ms, np.float64)
    usual_ms = LONGEST_SILENCE_S * MS_PER_S
    worst, silence_ms, allowed_ms = "the world", 0.0, usual_ms
    spacing_ms = ping_every_ms(len(time.watch.pairs))
    for name, at_ms in told.items():
        # A ping under way holds the next one back: how long it took is judged as a round trip.
        gaps = _gaps(time, name, at_ms, begin, end)
        pinged = name != "the world"
        limit_ms = max(usual_ms, LONGEST_SILENCE_S * spacing_ms) if pinged else usual_ms
        if gaps / limit_ms > silence_ms / allowed_ms:
            worst, silence_ms, allowed_ms = name, gaps, limit_ms
    lacking = _lacking(time, silent=silence_ms > allowed_ms)
    ok = silence_ms <= allowed_ms and not lacking
    return ValidityCheck(
        name="watch",
        scope="run",
        observed=silence_ms / MS_PER_S,
        limit=allowed_ms / MS_PER_S,
        unit="s",
        ok=ok,
        why=(
            f"The world told of itself during the load; the longest silence, of {worst}, was "
            f"{silence_ms / MS_PER_S:.1f} s (limit {allowed_ms / MS_PER_S:.1f} s)."
            if not lacking
            else f"The world's account of itself lacks {lacking}."
        ),
        advice="" if ok else "It stood still, or was kept from running. Measure again.",
    )


def _lacking(time: WorldTime, *, silent: bool) -> str:
    """Return what a watch does not tell, or too seldom without being silent; empty if nothing."""
    if _unwatched(time) or not {p.name for p in time.watch.processes} >= set(_WHAT):
        return "its links or one of its processes"
    if silent:
        return ""
    due = {"moments": (len(time.moments()), time.loaded_ms / MOMENT_MS)}
    for process in time.watch.processes:
        due[f"looks at its {process.name}"] = (process.n, time.loaded_ms / MOMENT_MS)
    spacing_ms = ping_every_ms(len(time.watch.pairs))
    for pair in time.watch.pairs:
        sent, _ = time.pings(pair)
        every_ms = max(spacing_ms, _wanted_ms(time, pair))
        due[f"pings of {_link(pair)}"] = (sent.size, time.unbent_ms(pair) / every_ms)
    for name, (found, wanted) in due.items():
        if found < LEAST_TOLD * wanted - 1:
            return f"{name}: {found} of {wanted:.0f} are there"
    return ""


def _link(pair: PairFacts) -> str:
    return f"the link {pair.from_}-{pair.to}"


def _unwatched(time: WorldTime) -> list[str]:
    """Return the plan's pairs of regions, a region with itself too, whose link nobody pinged."""
    told = {frozenset((pair.from_, pair.to)) for pair in time.watch.pairs}
    pairs = itertools.combinations_with_replacement(time.run.plan.regions, 2)
    return [f"{a}-{b}" for a, b in pairs if frozenset((a, b)) not in told]


def _gaps(time: WorldTime, name: str, at_ms: Floats, begin: float, end: float) -> float:
    """Return the longest stretch of the load without a word; faults asked for are left out."""
    marks = np.concatenate([[begin], at_ms[(at_ms > begin) & (at_ms < end)], [end]])
    longest = 0.0
    ends = name.removeprefix("the link ").split("-")
    faults = list(time.faults_on(*ends)) if len(ends) == 2 else []
    for left, right in itertools.pairwise(marks):
        asked = any(f.began_ms <= right and time.end_ms(f) >= left for f in faults)
        if not asked:
            longest = max(longest, float(right - left))
    return longest


def _round_trips(time: WorldTime) -> ValidityCheck:
    """Hold every window of pings against the plan: a link that left its tolerance is named."""
    network = time.run.plan.network
    off_by, allowed, worst, bad, n = 0.0, network.tolerance_ms, "", list[str](), 0
    for pair in time.watch.pairs:
        wanted_ms = _wanted_ms(time, pair)
        limit_ms = max(network.tolerance_ms, network.tolerance_share * wanted_ms)
        _, trips = time.pings(pair)
        n += trips.size
        for window in _windows(trips):
            off_ms = abs(float(np.median(window)) - wanted_ms)
            if off_ms > limit_ms:
                bad.append(f"{pair.from_}-{pair.to}")
            if not worst or off_ms / limit_ms > off_by / allowed:
                off_by, allowed, worst = off_ms, limit_ms, f"{pair.from_}-{pair.to}"
    named = ", ".join(dict.fromkeys(bad))
    found = f"{n} pings rode along; "
    found += f"the worst link, {worst}, was off by {_ms(off_by)}" if worst else "none was judged"
    return ValidityCheck(
        name="round trips",
        scope="run",
        observed=off_by if np.isfinite(off_by) else None,
        limit=allowed,
        unit="ms",
        ok=not bad,
        why=f"{found} (median of {WINDOW_PINGS}, limit {allowed:.2f} ms)"
        + (f"; out of tolerance: {named}" if named else "")
        + _set_aside(time),
        advice="" if not bad else f"The network was not the planned one. {_BUSY}",
    )


def _set_aside(time: WorldTime) -> str:
    """Name the faults whose pings are not judged, as the end of a sentence."""
    words = dict.fromkeys(fault.what for fault in time.watch.faults if fault.pairs)
    return f"; not judged where it was asked for: {', '.join(words)}." if words else "."


def _windows(trips: Floats) -> list[Floats]:
    """Return overlapping windows of pings; all in one where they are few."""
    last = max(0, trips.size - WINDOW_PINGS)
    starts = [*range(0, last, STRIDE_PINGS), last]
    return [trips[i : i + WINDOW_PINGS] for i in starts if trips.size]


def _wanted_ms(time: WorldTime, pair: PairFacts) -> float:
    """Return the round trip that the plan wants; a world may have more regions than the plan."""
    plan = time.run.plan
    known = pair.from_ in plan.regions and pair.to in plan.regions
    return plan.rtt_between_ms(pair.from_, pair.to) if known else pair.configured_rtt_ms


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if np.isfinite(value) else "more than the load lasted"


def _late(run: Run, process: ProcessFacts) -> ValidityCheck:
    observed, limit = process.late_p99_us / US_PER_MS, run.plan.validity.world_late_p99_ms
    ok = observed <= limit
    return ValidityCheck(
        name="world late",
        scope="run",
        observed=observed,
        limit=limit,
        unit="ms",
        ok=ok,
        why=f"{_WHAT.get(process.name, process.name)} late by {observed:.2f} ms (p99 of "
        f"{process.n}; p50 {process.late_p50_us / US_PER_MS:.2f} ms, worst "
        f"{process.late_max_us / US_PER_MS:.1f} ms; limit {limit:g} ms).",
        advice="" if ok else f"Every request passes them, so the tail is theirs. {_BUSY}",
    )


def _stalled(time: WorldTime) -> ValidityCheck:
    """Sum up the time in which a process or a link of the world stood still."""
    moments = time.moments()
    stalled: dict[str, float] = {}
    for name, late_us in (
        ("the links process", [moment.links_late_max_us for moment in moments]),
        ("the world's process", [moment.world_late_max_us for moment in moments]),
    ):
        stalled[name] = _over(np.array(late_us, np.float64) / US_PER_MS)
    for pair in time.watch.pairs:
        sent, trips = time.pings(pair)
        end = time.load_ms[1]
        waited = np.where(np.isfinite(trips), trips, np.maximum(end - sent, 0.0))
        stalled[_link(pair)] = _over(waited - _wanted_ms(time, pair))
    worst = max(stalled, key=lambda name: stalled[name])
    share = stalled[worst] / time.loaded_ms if time.loaded_ms else 1.0
    limit = time.run.plan.validity.world_stalled_share
    ok = share <= limit
    return ValidityCheck(
        name="stalled",
        scope="run",
        observed=share,
        limit=limit,
        unit="share",
        ok=ok,
        why=(
            f"Stalls of more than {STALL_MS:g} ms, of {worst}: {stalled[worst] / MS_PER_S:.2f} s "
            f"in all, {share:.1%} of the load (limit {limit:.1%})."
            if stalled[worst]
            else f"No process and no link of the world stood still for more than {STALL_MS:g} ms."
        ),
        advice="" if ok else "What waited in them counts as the target's time. Measure again.",
    )


def _ended(time: WorldTime) -> ValidityCheck:
    """
    Check that no part of the world ended by itself: a database, a cache, a worker of jobs.

    What ended with a fault that was asked for, or soon after one, is what was to be measured, and a
    measured app that ends is its own doing.
    """
    run, (begin, end) = time.run, time.load_ms
    measured = set((run.world.apps or {}).values())
    ours = {
        m.app for m in run.world.machines or () if any(w.id.startswith(m.id) for w in run.workers)
    }
    lost = [
        f"{event.app} in {event.region} (exit code {event.exit_code})"
        for event in time.watch.machine_events
        if event.event == "exit" and not event.asked and event.exit_code != 0
        if event.app not in measured | ours and begin <= event.t_ms <= end
        if not any(
            fault.began_ms <= event.t_ms <= time.end_ms(fault) + FOLLOWS_MS
            for fault in time.watch.faults
        )
    ]
    return ValidityCheck(
        name="machines",
        scope="run",
        observed=float(len(lost)),
        limit=0.0,
        unit="machines",
        ok=not lost,
        why=f"Ended by themselves during the load: {', '.join(dict.fromkeys(lost))}."
        if lost
        else "No database and no companion ended during the load without being asked to.",
        advice="What was measured is not what the plan describes. Look into its output."
        if lost
        else "",
    )


def _over(late_ms: Floats) -> float:
    return float(late_ms[late_ms > STALL_MS].sum())


def _paths(run: Run, when: str, paths: PathFacts) -> Iterator[ValidityCheck]:
    """Check that machines' connections lead where their names do."""
    arms = {app: name for name, app in (run.world.apps or {}).items()}
    found = list(paths.astray)
    for entry in found:
        leads = ", ".join(entry.found_regions)
        yield ValidityCheck(
            name="paths",
            scope="cell" if entry.app in arms else "run",
            observed=float(entry.connections),
            limit=0.0,
            unit="connections",
            ok=False,
            why=f"{when}: {entry.app} in {entry.region} was connected to {leads} for {entry.name}, "
            f"which leads to {entry.wanted_region}.",
            advice="Its requests took another way than the plan describes. Measure again.",
            deployment=arms.get(entry.app, ""),
        )
    if not found:
        yield ValidityCheck(
            name="paths",
            scope="run",
            observed=0.0,
            limit=0.0,
            unit="connections",
            ok=True,
            why=f"{when}: all {paths.connections} connections led where their names do.",
        )
