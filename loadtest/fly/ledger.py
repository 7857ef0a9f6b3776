"""What a run has made, since when and until when: the run's own record of machine-seconds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from loadtest.clock import Clock, SystemClock
from loadtest.fly.machines import Guest
from loadtest.fly.prices import usd_per_s
from loadtest.units import NS_PER_S


@dataclass(slots=True)
class MachineTime:
    """
    One machine; times in monotonic nanoseconds.

    It counts from the moment it was ordered to the moment it was told to be gone, so that what Fly
    bills, from start to stop, is not more.
    """

    id: str
    app: str
    name: str
    region: str
    guest: Guest
    made_ns: int
    gone_ns: int | None = None

    def seconds(self, now_ns: int) -> float:
        """Return how long it has been there."""
        until_ns = now_ns if self.gone_ns is None else self.gone_ns
        return max(0, until_ns - self.made_ns) / NS_PER_S

    def usd(self, now_ns: int) -> float:
        """Return what it has cost."""
        return self.seconds(now_ns) * usd_per_s(self.guest, self.region)


class MachineLedger:
    """
    Entries in the order in which machines were made.

    Args:
        clock: Where time is read.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._entries: dict[str, MachineTime] = {}

    @property
    def now_ns(self) -> int:
        """Return the time that entries are written with."""
        return self._clock.monotonic_ns()

    @property
    def entries(self) -> tuple[MachineTime, ...]:
        """Return every entry."""
        return tuple(self._entries.values())

    def made(
        self, machine_id: str, *, app: str, name: str, region: str, guest: Guest, since_ns: int
    ) -> None:
        """Note a machine, once; ``since_ns`` is when it was ordered."""
        entry = MachineTime(machine_id, app, name, region, guest, since_ns)
        self._entries.setdefault(machine_id, entry)

    def gone(self, machine_id: str) -> None:
        """Note that a machine is there no more; others than those noted are none of ours."""
        entry = self._entries.get(machine_id)
        if entry is not None and entry.gone_ns is None:
            entry.gone_ns = self.now_ns

    def only(self, app: str, left: Collection[str]) -> None:
        """Note that of an app's machines those with these ids are left."""
        for entry in self.entries:
            if entry.app == app and entry.id not in left:
                self.gone(entry.id)

    def usd(self, ahead_s: float = 0.0) -> float:
        """Return what all cost until now, or ``ahead_s`` seconds from now if nothing changes."""
        at_ns = self.now_ns + round(ahead_s * NS_PER_S)
        return sum(entry.usd(at_ns) for entry in self.entries)
