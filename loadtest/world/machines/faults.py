"""Faults that were asked for: when each began and ended, and what it did to roads and machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from loadtest.errors import PlanError
from loadtest.faults import DATABASE, Fault, Road, RoadCondition, check_regions
from loadtest.records.watch import FaultFacts, FaultTouches
from loadtest.units import NS_PER_MS, NS_PER_S
from loadtest.world.links.control import LinkControl
from loadtest.world.machines.store import MachineRecord, Store

EndMachine = Callable[[MachineRecord, bool], Awaitable[None]]
"""Ends a machine's program; with True starts it again, whatever its restart policy."""

_MOST_KEPT = 1_000


@dataclass(eq=False, slots=True)
class _Standing:
    """A fault that was asked for, and the roads that it still bends."""

    fault: Fault
    began_ns: int
    roads: set[Road]
    pairs: tuple[str, ...]
    machines: tuple[str, ...] = ()
    ended_ns: int | None = None
    timer: asyncio.Task[None] | None = field(default=None, repr=False)


class FaultBoard:
    """
    Bends the roads of a world and ends its machines, as it is told.

    Args:
        links: The links process.
        store: The machines.
        regions: The world's.
        seed: Of what is drawn on the roads.
        end_machine: Ends a machine.
    """

    def __init__(
        self,
        links: LinkControl,
        store: Store,
        regions: Sequence[str],
        seed: int,
        end_machine: EndMachine,
    ) -> None:
        self._links = links
        self._store = store
        self._regions = tuple(regions)
        self._seed = seed
        self._end_machine = end_machine
        self._faults: list[_Standing] = []
        self._later: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def check(self, fault: Fault) -> None:
        """
        Refuse a fault that this world cannot have.

        Raises:
            PlanError: It names a region or a machine that is not there.
        """
        check_regions(fault, self._regions, "fault")
        if fault.of_machines:
            self._machines(fault)

    async def begin(self, fault: Fault, for_s: float = 0.0) -> FaultTouches:
        """
        Let a fault happen now.

        Args:
            fault: What happens.
            for_s: Seconds until it is over; 0 for until it is healed.

        Returns:
            The roads and the machines that it touched.

        Raises:
            PlanError: As for `check`.
            WorldError: The links process has ended.
        """
        self.check(fault)
        async with self._turn:
            roads = set(fault.roads(self._regions)) if not fault.of_machines else set()
            told = tuple(sorted(">".join(road) for road in roads))
            if fault.verb == "heal":
                await self._heal(roads, self._faults)
                return FaultTouches(fault.what, told, ())
            machines = self._machines(fault) if fault.of_machines else []
            pairs = tuple(sorted({"-".join(sorted(road)) for road in roads}))
            standing = _Standing(fault, time.monotonic_ns(), roads, pairs)
            standing.machines = tuple(machine.id for machine in machines)
            self._faults = [*self._faults[-_MOST_KEPT:], standing]
            await self._bend(roads)
            if fault.of_machines:
                standing.ended_ns = standing.began_ns
                again = fault.verb == "restart"
                await asyncio.gather(*(self._end_machine(m, again) for m in machines))
            elif for_s:
                standing.timer = asyncio.create_task(self._end_after(standing, for_s))
            return FaultTouches(fault.what, told, standing.machines)

    def begin_at(self, fault: Fault, wall_ns: int, for_s: float) -> None:
        """
        Let a fault happen at a moment; see `begin`.

        Args:
            fault: What happens.
            wall_ns: When, in nanoseconds since the UNIX epoch.
            for_s: As there.

        Raises:
            PlanError: As for `check`.
        """
        self.check(fault)

        async def wait() -> None:
            await asyncio.sleep(max(0.0, (wall_ns - time.time_ns()) / NS_PER_S))
            await self.begin(fault, for_s)

        task = asyncio.create_task(wait(), name=f"fault {fault.what}")
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def standing(self) -> list[str]:
        """Return the words of the faults that are not over."""
        return [entry.fault.what for entry in self._faults if entry.ended_ns is None]

    def facts(self, since_ns: int) -> list[FaultFacts]:
        """Return the faults that were not over at a moment (CLOCK_MONOTONIC), on its time line."""

        def after_ms(at_ns: int) -> int:
            return (at_ns - since_ns) // NS_PER_MS

        return [
            FaultFacts(
                what=entry.fault.what,
                began_ms=after_ms(entry.began_ns),
                ended_ms=None if entry.ended_ns is None else after_ms(entry.ended_ns),
                pairs=tuple(entry.pairs),
                machines=tuple(entry.machines),
            )
            for entry in self._faults
            if entry.ended_ns is None or entry.ended_ns >= since_ns
        ]

    def forget_later(self) -> None:
        """Drop what was to happen later."""
        for task in self._later:
            task.cancel()

    def close(self) -> None:
        """Stop every timer."""
        self.forget_later()
        for entry in self._faults:
            if entry.timer is not None:
                entry.timer.cancel()

    async def _end_after(self, standing: _Standing, for_s: float) -> None:
        await asyncio.sleep(for_s)
        async with self._turn:
            await self._heal(set(standing.roads), [standing])

    async def _heal(self, roads: set[Road], faults: Sequence[_Standing]) -> None:
        """Take roads out of faults; a fault without any is over."""
        for entry in faults:
            if entry.ended_ns is None and entry.roads & roads:
                entry.roads -= roads
                if not entry.roads:
                    entry.ended_ns = time.monotonic_ns()
        await self._bend(roads)

    async def _bend(self, roads: set[Road]) -> None:
        """Let roads be as all the faults on them together want it."""
        for road in sorted(roads):
            condition = RoadCondition()
            for entry in self._faults:
                if entry.ended_ns is None and road in entry.roads:
                    condition = condition.with_other(entry.fault.condition)
            await self._links.set_road(road, condition, str(self._seed))

    def _machines(self, fault: Fault) -> list[MachineRecord]:
        """Return the machines that a fault ends; of a database without a region, its primary."""
        there = [m for m in self._store.machines() if m.state != "destroying"]
        if fault.app == DATABASE:
            found = [m for m in there if m.postgres_role]
            if not fault.region:
                found = [m for m in found if m.postgres_role == "primary"]
        else:
            found = [m for m in there if m.app == fault.app]
        found = [m for m in found if fault.region in ("", m.region)]
        if not found:
            known = sorted({f"{m.app}/{m.region}" for m in there})
            raise PlanError(
                f"fault: {fault.what!r}: there is no such machine; "
                f"there are {', '.join(known) or 'none'}"
            )
        return found
