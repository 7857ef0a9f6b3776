"""
What the world sees of itself while there is load: round trips, its own lateness, its machines.

Pings ride along over every pair of regions, each process of the world tells every second how late
it was, and every end and start of a machine is noted.  Numbers are kept, nothing is judged here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtest.errors import WorldError
from loadtest.records.watch import (
    EVENTS,
    MOMENT_MS,
    WATCH_SCHEMA,
    FaultFacts,
    LinkGlance,
    MachineEnd,
    PairFacts,
    PathFacts,
    ProcessFacts,
    ReplicaFacts,
    WatchFacts,
    WorldGlance,
    WorldMoment,
    ping_every_ms,
)
from loadtest.units import MS_PER_S, NS_PER_MS, NS_PER_S, NS_PER_US
from loadtest.world.links.control import LinkControl
from loadtest.world.links.lateness import Lateness
from loadtest.world.links.measuring import Pair, Ping, PingRide
from loadtest.world.links.probe import MISSING
from loadtest.world.machines.store import MachineRecord
from loadtest.world.postgres.staleness import StalenessProbe

_BEAT_S = 0.02
_PATIENCE_NS = NS_PER_S
_MOST_EVENTS = 1_000
_GLANCED_PINGS = 20
_GLANCED_EVENTS = 20

LINKS, WORLD = "links", "world"
"""The processes that every request passes; edges and supervisor live in the world's own."""


class WorldWatch:
    """
    Watches a world for as long as there is load.

    Args:
        links: The links process.
        pairs: Pairs of regions, with their one-way time.
        paths: Where machines' connections lead now.
        probes: Of databases that have replicas, by the app's name.
    """

    def __init__(
        self,
        links: LinkControl,
        pairs: Sequence[Pair],
        paths: PathFacts,
        probes: Mapping[str, StalenessProbe],
    ) -> None:
        self._links = links
        self._probes = probes
        self._paths_before = paths
        self._pairs = list(pairs)
        self._began_ns = time.monotonic_ns()
        self._began_wall_ns = time.time_ns()
        self._pings: list[list[tuple[int, int]]] = [[] for _ in pairs]
        self._late = {LINKS: Lateness(), WORLD: Lateness()}
        self._beat = Lateness()
        self._moments: list[WorldMoment] = []
        self._ride: asyncio.Task[PingRide] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls,
        links: LinkControl,
        pairs: Sequence[Pair],
        paths: PathFacts,
        probes: Mapping[str, StalenessProbe],
    ) -> WorldWatch:
        """
        Begin to watch; the first pings follow as soon as their process is up.

        Raises:
            WorldError: The links process has ended.
        """
        watch = cls(links, pairs, paths, probes)
        await links.lateness()  # what was late before is not this load's
        riding = PingRide.start(links, pairs, ping_every_ms(len(pairs)), watch._take)
        watch._ride = asyncio.create_task(riding, name="watch-ride")  # a run does not wait for it
        watch._tasks = [
            asyncio.create_task(watch._beat_on(), name="watch-beat"),
            asyncio.create_task(watch._keep_moments(), name="watch-moments"),
            *(asyncio.create_task(probe.run(), name="watch-replicas") for probe in probes.values()),
        ]
        return watch

    async def stop(self) -> None:
        """End it; what was seen is kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(WorldError):  # without pings the watch shows a gap
            if self._ride is not None:
                await (await self._ride).stop()
        with contextlib.suppress(WorldError):
            await self._keep_moment()

    @property
    def began_ns(self) -> int:
        """When it began, CLOCK_MONOTONIC."""
        return self._began_ns

    def seen(
        self,
        machines: Sequence[MachineRecord],
        faults: Sequence[FaultFacts],
        paths_after: PathFacts,
    ) -> WatchFacts:
        """
        Return what was seen until now.

        Args:
            machines: All of the world's, the destroyed ones included.
            faults: Those that somebody asked for.
            paths_after: Where connections lead now.
        """
        now_ns = time.monotonic_ns()
        return WatchFacts(
            schema=WATCH_SCHEMA,
            began_wall_ns=self._began_wall_ns,
            lasted_ms=(now_ns - self._began_ns) / NS_PER_MS,
            pairs=tuple(self._pair(number, now_ns) for number in range(len(self._pairs))),
            processes=tuple(_process(name, late) for name, late in self._late.items()),
            moments=tuple(self._moments),
            machine_events=tuple(self._machine_events(machines)),
            faults=tuple(faults),
            replicas=tuple(self._replicas()),
            paths_before=self._paths_before,
            paths_after=paths_after,
        )

    def glance(
        self, machines: Sequence[MachineRecord], faults: Sequence[FaultFacts]
    ) -> WorldGlance:
        """
        Return the latest of what was seen: cheap, for whoever watches while there is load.

        Args:
            machines: As for ``seen``.
            faults: Likewise.
        """
        now_ns = time.monotonic_ns()
        links = []
        for number, (source, target, one_way_ns) in enumerate(self._pairs):
            lost_before_ns = now_ns - 2 * one_way_ns - _PATIENCE_NS
            latest = self._pings[number][-_GLANCED_PINGS:]
            trips = sorted(trip_ns for _, trip_ns in latest if trip_ns != MISSING)
            lost = sum(trip == MISSING and sent < lost_before_ns for sent, trip in latest)
            links.append(
                LinkGlance(
                    from_=source,
                    to=target,
                    configured_rtt_ms=2 * one_way_ns / NS_PER_MS,
                    rtt_p50_ms=trips[(len(trips) - 1) // 2] / NS_PER_MS if trips else None,
                    sent=len(trips) + lost,
                    lost=lost,
                )
            )
        return WorldGlance(
            now_ms=self._since_ms(now_ns),
            links=tuple(links),
            late_p99_us=self._moments[-1].links_late_p99_us if self._moments else None,
            events=tuple(self._machine_events(machines)[-_GLANCED_EVENTS:]),
            faults=tuple(faults[-_GLANCED_EVENTS:]),
        )

    def _take(self, pings: list[Ping]) -> None:
        for number, sent_ns, round_trip_ns in pings:
            self._pings[number].append((sent_ns, round_trip_ns))

    def _pair(self, number: int, now_ns: int) -> PairFacts:
        source, target, one_way_ns = self._pairs[number]
        lost_before_ns = now_ns - 2 * one_way_ns - _PATIENCE_NS
        kept = [p for p in self._pings[number] if p[1] != MISSING or p[0] < lost_before_ns]
        return PairFacts(
            from_=source,
            to=target,
            configured_rtt_ms=2 * one_way_ns / NS_PER_MS,
            sent_ms=tuple(self._since_ms(sent_ns) for sent_ns, _ in kept),
            rtt_us=tuple(
                None if trip_ns == MISSING else round(trip_ns / NS_PER_US) for _, trip_ns in kept
            ),
        )

    def _replicas(self) -> Iterator[ReplicaFacts]:
        for app, probe in self._probes.items():
            for replica, seen in zip(probe.replicas, probe.seen, strict=True):
                yield ReplicaFacts(
                    app=app,
                    from_=probe.primary.region,
                    to=replica.region,
                    one_way_ms=replica.one_way_ns / NS_PER_MS,
                    sent_ms=tuple(self._since_ms(sent_ns) for sent_ns, _ in seen),
                    seen_us=tuple(
                        None if took_ns is None else round(took_ns / NS_PER_US)
                        for _, took_ns in seen
                    ),
                )

    async def _beat_on(self) -> None:
        """Sleep again and again, and count by how much it was too long; never returns."""
        while True:
            due_ns = time.monotonic_ns() + round(_BEAT_S * NS_PER_S)
            await asyncio.sleep(_BEAT_S)
            self._beat.add(time.monotonic_ns() - due_ns)

    async def _keep_moments(self) -> None:
        """Note every second how late the world's processes were; never returns."""
        while True:
            await asyncio.sleep(MOMENT_MS / MS_PER_S)
            with contextlib.suppress(WorldError):  # it shows as a gap
                await self._keep_moment()

    async def _keep_moment(self) -> None:
        seconds = {LINKS: Lateness(), WORLD: Lateness()}
        for name, told in ((LINKS, await self._links.lateness()), (WORLD, self._beat.drain())):
            for late in (seconds[name], self._late[name]):
                late.merge(told)
        links, world = seconds[LINKS], seconds[WORLD]
        self._moments.append(
            WorldMoment(
                t_ms=self._since_ms(time.monotonic_ns()),
                links_late_p99_us=round(links.percentile_us(99), 1),
                links_late_max_us=links.max_ns / NS_PER_US,
                world_late_p99_us=round(world.percentile_us(99), 1),
                world_late_max_us=world.max_ns / NS_PER_US,
            )
        )

    def _machine_events(self, machines: Sequence[MachineRecord]) -> list[MachineEnd]:
        began_ms = self._began_wall_ns // NS_PER_MS
        found: list[MachineEnd] = []
        for machine in machines:
            for told in machine.events:
                event: dict[str, Any] = dict(told)  # as `MachineRecord.set_state` noted it
                if event["timestamp"] < began_ms or event["type"] not in EVENTS:
                    continue
                request = event.get("request", {})
                ended = request.get("exit_event", {})
                found.append(
                    MachineEnd(
                        t_ms=event["timestamp"] - began_ms,
                        app=machine.app,
                        region=machine.region,
                        machine=machine.id,
                        event=event["type"],
                        asked=event["source"] == "user" or ended.get("requested_stop", False),
                        exit_code=ended.get("exit_code"),
                        restarting=ended.get("restarting", False),
                    )
                )
        found.sort(key=lambda event: event.t_ms)
        return found[:_MOST_EVENTS]

    def _since_ms(self, at_ns: int) -> int:
        return (at_ns - self._began_ns) // NS_PER_MS


def _process(name: str, late: Lateness) -> ProcessFacts:
    return ProcessFacts(
        name=name,
        n=late.n,
        late_p50_us=round(late.percentile_us(50), 1),
        late_p99_us=round(late.percentile_us(99), 1),
        late_max_us=late.max_ns / NS_PER_US,
    )
