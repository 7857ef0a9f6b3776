"""
What a world saw of itself while there was load, as frozen types: the ``watch`` of world.json.

Times on its time line count from ``began_wall_ns``.  A world that is not ours cannot tell: it says
so (``cannot_tell``), which is not the same as nothing.

WATCH_SCHEMA history:
    1  first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loadtest.errors import RecordsError
from loadtest.records.facts import read

WATCH_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class PairFacts:
    """
    The pings of one pair of regions.

    ``a`` and ``b`` are its regions, ``sent_ms`` when each ping left, ``rtt_us`` its round trip in
    microseconds: null for one that never came back.
    """

    a: str
    b: str
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
    paths_before: PathFacts
    paths_after: PathFacts


@dataclass(frozen=True, slots=True)
class NoWatch:
    """A world that cannot see itself, and why."""

    schema: int
    cannot_tell: str


def read_watch(world: Mapping[str, Any]) -> WatchFacts | NoWatch | None:
    """
    Return what a world saw of itself; None where world.json does not tell.

    Args:
        world: Content of world.json.

    Raises:
        RecordsError: It is not as this version knows it; names the key.
    """
    content = world.get("watch")
    if content is None:
        return None
    where = "world.json: watch"
    if not isinstance(content, Mapping) or content.get("schema") != WATCH_SCHEMA:
        raise RecordsError(f"{where}: is no watch of schema {WATCH_SCHEMA}; measure again")
    if "cannot_tell" in content:
        return read(NoWatch, content, where)
    facts = read(WatchFacts, content, where)
    for pair in facts.pairs:
        if len(pair.sent_ms) != len(pair.rtt_us):
            raise RecordsError(f"{where}: {pair.a}-{pair.b}: not as many pings as round trips")
    return facts
