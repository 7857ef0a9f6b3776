"""
What a world saw of itself while there was load, as frozen types: the ``watch`` of world.json.

Times on its time line count from ``began_wall_ns``.  A world that is not ours cannot tell: it says
so (``cannot_tell``), which is not the same as nothing.

WATCH_SCHEMA history:
    1  first
    2  the regions of a pair are from and to
    3  how long a commit takes to be seen in replicas
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadtest.errors import RecordsError

WATCH_SCHEMA: Final = 3
BUCKET: Final = 1.1
"""Percentiles of lateness are kept in buckets, the largest is not: a tenth may be between them."""
MOST_AFTER_MS: Final = 1_000.0
"""A last word may come so long after the end that a watch tells."""
MOMENT_MS: Final = 1_000
"""A world tells of itself so often."""
EVENTS: Final = ("exit", "start", "stop", "destroy")
"""What a watch tells of machines."""

_PINGS_PER_S: Final = 50.0
_FASTEST_PING_MS: Final = 500


def ping_every_ms(pairs: int) -> int:
    """
    Return from one ping of a pair to its next: a load of its own must not come of many pairs.

    A ping under way holds the next one back.

    Args:
        pairs: How many pairs of regions are pinged.
    """
    return max(_FASTEST_PING_MS, round(1_000 * pairs / _PINGS_PER_S))


@dataclass(frozen=True, slots=True)
class PairFacts:
    """
    The pings of one pair of regions.

    ``from_`` and ``to`` are its regions, ``sent_ms`` when each ping left, ``rtt_us`` its round trip
    in microseconds: null for one that never came back.
    """

    from_: str
    to: str
    configured_rtt_ms: float
    sent_ms: tuple[int, ...]
    rtt_us: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """How late a process of the world was over the load, microseconds, counted ``n`` times."""

    name: str
    n: int
    late_p50_us: float
    late_p99_us: float
    late_max_us: float


@dataclass(frozen=True, slots=True)
class WorldMoment:
    """One second: how late the links delivered, and how late the world's own loop came round."""

    t_ms: int
    links_late_p99_us: float
    links_late_max_us: float
    world_late_p99_us: float
    world_late_max_us: float


@dataclass(frozen=True, slots=True)
class MachineEnd:
    """A machine that ended or started while there was load; ``asked`` by a call of the API."""

    t_ms: int
    app: str
    region: str
    machine: str
    event: str
    asked: bool
    exit_code: int | None
    restarting: bool


@dataclass(frozen=True, slots=True)
class AstrayFacts:
    """Connections of a machine that led elsewhere than their name does."""

    app: str
    region: str
    name: str
    wanted_region: str
    found_regions: tuple[str, ...]
    connections: int


@dataclass(frozen=True, slots=True)
class PathFacts:
    """Where machines' connections really led: how many were looked at, and which went astray."""

    connections: int
    astray: tuple[AstrayFacts, ...]


@dataclass(frozen=True, slots=True)
class FaultFacts:
    """
    A fault that somebody asked for.

    ``what`` are the words that asked for it, ``pairs`` the links that it bent, as ``a-b``,
    ``machines`` the ids of machines that it ended; ``ended_ms`` is null if it lasted to the end.
    """

    what: str
    began_ms: int
    ended_ms: int | None
    pairs: tuple[str, ...]
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """
    A replica of the database ``app`` in the region ``to``, whose primary is in ``from_``.

    ``sent_ms`` is when each probe was committed, ``seen_us`` how many microseconds later it was
    seen; null for one that was not seen in time.
    """

    app: str
    from_: str
    to: str
    one_way_ms: float
    sent_ms: tuple[int, ...]
    seen_us: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class WatchFacts:
    """All that a world saw of itself between the first order and the end of the load."""

    schema: int
    began_wall_ns: int
    lasted_ms: float
    pairs: tuple[PairFacts, ...]
    processes: tuple[ProcessFacts, ...]
    moments: tuple[WorldMoment, ...]
    machine_events: tuple[MachineEnd, ...]
    faults: tuple[FaultFacts, ...]
    replicas: tuple[ReplicaFacts, ...]
    paths_before: PathFacts
    paths_after: PathFacts


@dataclass(frozen=True, slots=True)
class NoWatch:
    """A world that cannot see itself, and why."""

    schema: int
    cannot_tell: str


def check_watch(facts: WatchFacts | NoWatch, where: str) -> None:
    """
    Refuse a watch of another version, or one that contradicts itself.

    Raises:
        RecordsError: Names what is wrong.
    """
    if facts.schema != WATCH_SCHEMA:
        raise RecordsError(f"{where}: is no watch of schema {WATCH_SCHEMA}; measure again")
    if isinstance(facts, NoWatch):
        return
    for pair in facts.pairs:
        if len(pair.sent_ms) != len(pair.rtt_us):
            raise RecordsError(f"{where}: {pair.from_}-{pair.to}: not as many pings as round trips")
    for replica in facts.replicas:
        if len(replica.sent_ms) != len(replica.seen_us):
            told = f"{replica.app} {replica.from_}-{replica.to}"
            raise RecordsError(f"{where}: {told}: not as many commits as times until seen")
    if fault := next(_contradictions(facts), ""):
        raise RecordsError(f"{where}.{fault}: the account contradicts itself")


def _contradictions(facts: WatchFacts) -> Iterator[str]:
    """Yield the keys of a watch that tell a thing twice, out of order, or beyond its end."""
    ends = [frozenset((pair.from_, pair.to)) for pair in facts.pairs]
    if len(set(ends)) < len(ends):
        yield "pairs: one is there twice"
    told = {f"pairs: {pair.from_}-{pair.to}": pair.sent_ms for pair in facts.pairs}
    told |= {f"replicas: {r.app} {r.from_}-{r.to}": r.sent_ms for r in facts.replicas}
    told["moments"] = tuple(moment.t_ms for moment in facts.moments)
    for name, at_ms in told.items():
        if any(second < first for first, second in itertools.pairwise(at_ms)):
            yield f"{name}: runs backwards"
        if at_ms and at_ms[-1] > facts.lasted_ms + MOST_AFTER_MS:
            yield f"{name}: goes on after the watch, which lasted {facts.lasted_ms:g} ms"
    names = [process.name for process in facts.processes]
    if len(set(names)) < len(names):
        yield "processes: one is there twice"
    for process in facts.processes:
        if not process.n:
            yield f"processes: {process.name}: never looked at"
        if not _ascend(process.late_p50_us, process.late_p99_us, process.late_max_us):
            yield f"processes: {process.name}: late_p50_us, late_p99_us, late_max_us do not ascend"
    for moment in facts.moments:
        if not (
            _ascend(moment.links_late_p99_us, moment.links_late_max_us)
            and _ascend(moment.world_late_p99_us, moment.world_late_max_us)
        ):
            yield f"moments: at {moment.t_ms} ms: later at p99 than at most"
    yield from _contradicting_seconds(facts)
    for fault in facts.faults:
        if fault.ended_ms is not None and fault.ended_ms < fault.began_ms:
            yield f"faults: {fault.what!r:.60}: ended before it began"
    yield from _odd_events(facts)


def _contradicting_seconds(facts: WatchFacts) -> Iterator[str]:
    """Yield the processes whose account is not the sum of its seconds."""
    sums = {process.name: process for process in facts.processes}
    for name, seconds in (
        ("links", [(m.links_late_p99_us, m.links_late_max_us) for m in facts.moments]),
        ("world", [(m.world_late_p99_us, m.world_late_max_us) for m in facts.moments]),
    ):
        process = sums.get(name)
        if process is None or not seconds:
            continue
        p99_us, most_us = (max(told) for told in zip(*seconds, strict=True))
        if not (
            _ascend(process.late_p99_us, p99_us)
            and _ascend(process.late_max_us, most_us)
            and _ascend(most_us, process.late_max_us)
        ):
            yield f"processes: {name}: later or less late than its moments"


def _odd_events(facts: WatchFacts) -> Iterator[str]:
    """Yield events and faults that no watch tells of, or that it cannot have seen."""
    last_ms = facts.lasted_ms + MOST_AFTER_MS
    for event in facts.machine_events:
        if event.event not in EVENTS:
            yield f"machine_events: {event.event!r:.40} is none of {', '.join(EVENTS)}"
        if event.t_ms > last_ms:
            yield f"machine_events: goes on after the watch, which lasted {facts.lasted_ms:g} ms"
    if any(b.t_ms < a.t_ms for a, b in itertools.pairwise(facts.machine_events)):
        yield "machine_events: runs backwards"
    for fault in facts.faults:
        if fault.began_ms > last_ms:
            yield f"faults: {fault.what!r:.60}: began after the watch"


def _ascend(*late_us: float) -> bool:
    """Tell whether each lateness is at least the one before it, as exactly as they are kept."""
    return all(a <= b * BUCKET + 1 for a, b in itertools.pairwise(late_us))


@dataclass(frozen=True, slots=True)
class LinkGlance:
    """
    The latest pings between two regions.

    ``rtt_p50_ms`` is the median round trip of those that came back, null if none did; ``lost`` of
    ``sent`` did not.
    """

    from_: str
    to: str
    configured_rtt_ms: float
    rtt_p50_ms: float | None
    sent: int
    lost: int


@dataclass(frozen=True, slots=True)
class FaultTouches:
    """What a fault touched when it began: roads as ``from>to``, machines by id."""

    what: str
    roads: tuple[str, ...]
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorldGlance:
    """
    The latest of a watch.

    ``now_ms`` is when, since the watch began; ``late_p99_us`` is how late its links delivered in
    the last second; ``faults`` are those that somebody asked for.
    """

    now_ms: int
    links: tuple[LinkGlance, ...]
    late_p99_us: float | None
    events: tuple[MachineEnd, ...]
    faults: tuple[FaultFacts, ...]


@dataclass(frozen=True, slots=True)
class MachineLog:
    """The end of what a machine printed, secrets left out."""

    app: str
    region: str
    machine: str
    text: str


@dataclass(frozen=True, slots=True)
class MachineLogs:
    """The logs of a world's machines."""

    logs: tuple[MachineLog, ...]
