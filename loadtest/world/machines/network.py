"""Who reaches whom: the links of every machine, and what edges know of machines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set

from loadtest.errors import WorldError
from loadtest.faults import Road
from loadtest.world.edge.types import AppSettings, Backend
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl, LinkCounters, LinkKind
from loadtest.world.machines.aims import (
    LOOPBACK,
    PRIMARY_PORT,
    PRIMARY_PORTS,
    Aims,
    EdgeLink,
    MachineLink,
    Rows,
    Way,
)
from loadtest.world.machines.answers import answer_options, replay_caches
from loadtest.world.machines.names import find_names, parse_name, rewrite
from loadtest.world.machines.store import MachineRecord, Store
from loadtest.world.spec import WorldSpec

_log = logging.getLogger(__name__)


class WorldNetwork:
    """
    Opens links, keeps them led to the right machines, and answers the edges.

    Args:
        spec: The world's regions and round-trip times.
        store: Its machines.
        links: The links process.
        edge_port: Port of the edge of a region for an app, with TLS or without; None where there is
            none.
    """

    def __init__(
        self,
        spec: WorldSpec,
        store: Store,
        links: LinkControl,
        edge_port: Callable[[str, str, bool], int | None],
    ) -> None:
        self._spec = spec
        self._store = store
        self._links = links
        self._aims = Aims(spec, store, edge_port)
        self._of_machine: dict[str, dict[Way, MachineLink]] = {}
        self._to_machine: dict[tuple[str, str], EdgeLink] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._outside: dict[tuple[str, int, str, str], int] = {}
        self._dirty = asyncio.Event()
        self._changed: dict[str, MachineRecord] = {}
        self._listeners: list[Callable[[Set[str]], Awaitable[None]]] = []
        self._candidates: dict[tuple[str, str], tuple[Backend, ...]] = {}
        self._settings: dict[str, AppSettings] = {}
        store.listen(self._on_change)

    def listen(self, listener: Callable[[Set[str]], Awaitable[None]]) -> None:
        """Call ``listener`` with the ids of machines that have changed, links being led anew."""
        self._listeners.append(listener)

    async def keep_aiming(self) -> None:
        """Lead links to where their names point, whenever a machine has changed; never returns."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            changed, self._changed = self._changed, {}
            rows = self._aims.rows()
            await asyncio.gather(
                *(self._aim_again(link, rows) for link in self._touched(changed)),
                *(
                    self._dial_again(region, machine_id)
                    for machine_id in changed
                    for region in self._spec.regions
                ),
            )
            for listener in self._listeners:
                try:
                    await listener(changed.keys())
                except WorldError as error:  # one machine's trouble is not that of all others
                    _log.warning("%s", error)

    def _touched(self, changed: Mapping[str, MachineRecord]) -> list[MachineLink]:
        """Return the links that may lead elsewhere once these machines have changed."""
        apps = {machine.app for machine in changed.values()}
        primaries = {m.app for m in changed.values() if m.postgres_role == "primary"}
        return [
            link
            for link in self.links()
            if link.name.app in apps
            and (
                link.name.kind != "machine"
                or link.name.value in changed
                or (link.port in PRIMARY_PORTS and link.name.app in primaries)
            )
        ]

    async def rewrite_env(self, machine: MachineRecord, env: Mapping[str, str]) -> dict[str, str]:
        """
        Return ``env`` with every private name replaced by the near end of a link from ``machine``.

        Links that an earlier start of the machine opened are used again.
        """
        wanted = dict.fromkeys(pair for value in env.values() for pair in find_names(value))
        links = await self.open_ways(machine, dict.fromkeys(wanted))
        addresses = {
            pair: (LOOPBACK, link.near_port) for pair, link in zip(wanted, links, strict=True)
        }
        return {key: rewrite(value, addresses) for key, value in env.items()}

    async def open_to_primary(self, machine: MachineRecord) -> tuple[str, int]:
        """Return the near end of the link from a PostgreSQL replica to its primary."""
        # Bulk: the write-ahead log of the set-up would take many round trips of slow start.
        link = await self.open_way(machine, f"{machine.app}.internal", PRIMARY_PORT, kind="bulk")
        return LOOPBACK, link.near_port

    async def open_way(
        self, machine: MachineRecord, host: str, port: int, *, kind: LinkKind = "stream"
    ) -> MachineLink:
        """
        Open the link from a machine to a name, or return the one that is open.

        Args:
            machine: Where it begins.
            host: A name of the private network.
            port: Port that is called there.
            kind: As for `LinkControl.open`.
        """
        (link,) = await self.open_ways(machine, {(host, port): None}, kind=kind)
        return link

    async def open_ways(
        self,
        machine: MachineRecord,
        wanted: Mapping[Way, LinkAddress | None],
        *,
        kind: LinkKind = "stream",
    ) -> list[MachineLink]:
        """
        Open links from a machine, all at once but for those that are open; return them in order.

        A database in many regions has a hundred, for whoever looks up its name; one after the
        other they would take longer than a resolver waits.

        Args:
            machine: Where they begin.
            wanted: Name and port that are called, and where the machine dials for it; None for a
                port of loopback.
            kind: As for `LinkControl.open`.
        """
        own = self._of_machine.setdefault(machine.id, {})
        if new := [way for way in wanted if way not in own]:
            # who asks twice at once gets one link
            async with self._opening.setdefault(machine.id, asyncio.Lock()):
                new = [way for way in new if way not in own]
                rows = self._aims.rows()
                opened = await asyncio.gather(
                    *(self._open(machine, way, wanted[way], rows, kind) for way in new),
                    return_exceptions=True,
                )
            for wrong in opened:
                if isinstance(wrong, BaseException):
                    raise wrong
            # A target may have started while its link was opened, before it was among those that
            # a change leads anew.
            rows = self._aims.rows()
            await asyncio.gather(*(self._aim_again(own[way], rows) for way in new))
        return [own[way] for way in wanted]

    async def open_outside(self, host: str, port: int, region: str, at: str) -> int:
        """
        Open the link from a region to a host outside of the world, as if that stood in another.

        Returns:
            The port of loopback to dial; the same for the same ends.

        Raises:
            OSError: The host has no address.
        """
        key = (host, port, region, at)
        if key not in self._outside:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # who listens on IPv4 alone is reached by its name all the same
            found.sort(key=lambda entry: entry[0] != socket.AF_INET)
            target = LinkAddress(str(found[0][4][0]), port)
            self._outside[key] = await self._links.open(
                f"outside/{region}/{host}:{port}/{at}",
                target,
                self._spec.one_way_ns(region, at),
                ends=(region, at),
            )
        return self._outside[key]

    async def open_to_edges(self, machine: MachineRecord) -> None:
        """
        Open the links from every edge to a machine that serves HTTP.

        As on Fly, where edges and hosts have connections between them that stay, and the host's
        proxy opens one to the app beside it; only where a plan asks for new ones across the ocean
        does each take its handshake.
        """
        if machine.http_port is None:
            return
        target = machine.address(machine.http_port)
        kind: LinkKind = "stream" if machine.config.new_connection_share else "backhaul"

        async def open_from(region: str) -> None:
            link_id = f"edge/{region}/{machine.id}"
            delay_ns = self._spec.one_way_ns(region, machine.region)
            ends = self._ends(machine, region, machine.region)
            port = await self._links.open(link_id, target, delay_ns, kind=kind, ends=ends)
            self._to_machine[region, machine.id] = EdgeLink(port, target)

        regions = [one for one in self._spec.regions if (one, machine.id) not in self._to_machine]
        await asyncio.gather(*map(open_from, regions))

    async def close_links(self, machine: MachineRecord) -> None:
        """Close every link from and to a machine that is gone."""
        self._opening.pop(machine.id, None)
        closed = [link.id for link in self._of_machine.pop(machine.id, {}).values()]
        for region in self._spec.regions:
            if self._to_machine.pop((region, machine.id), None) is not None:
                closed.append(f"edge/{region}/{machine.id}")
        await asyncio.gather(*map(self._links.close, closed))

    def links(self) -> list[MachineLink]:
        """Return the links of every machine to every name."""
        return [link for links in self._of_machine.values() for link in links.values()]

    async def counters(self) -> list[tuple[MachineRecord, MachineLink, LinkCounters]]:
        """Return what has passed over the link of every machine to every name."""
        counts = await self._links.counters()
        return [
            (self._store.by_id(link.machine_id), link, counts[link.id])
            for link in self.links()
            if link.id in counts
        ]

    def app_settings(self, app: str) -> AppSettings | None:
        """Return how edges treat an app; None when there is no such app."""
        if app not in self._store.apps:
            return None
        if app not in self._settings:  # every request asks
            shares = (one.config.new_connection_share for one in self._store.machines(app))
            self._settings[app] = AppSettings(max(shares, default=0.0))
        return self._settings[app]

    def candidates(self, app: str, edge_region: str) -> Sequence[Backend]:
        """Return the machines of ``app`` that take requests, nearest to the edge first."""
        found = self._candidates.get((app, edge_region))
        if found is None:
            machines = [machine for machine in self._store.machines(app) if machine.routable]
            machines.sort(key=lambda m: self._spec.rtt_between_ms(edge_region, m.region))
            backends = (self._backend(machine, edge_region) for machine in machines)
            found = tuple(backend for backend in backends if backend is not None)
            self._candidates[app, edge_region] = found
        return found

    def backend(self, app: str, machine_id: str, edge_region: str) -> Backend | None:
        """Return the machine of ``app`` with this id if it takes requests, else None."""
        for candidate in self.candidates(app, edge_region):
            if candidate.machine_id == machine_id:
                return candidate
        return None

    def _backend(self, machine: MachineRecord, edge_region: str) -> Backend | None:
        link = self._to_machine.get((edge_region, machine.id))
        if link is None:
            return None
        config = machine.config
        treatment = (answer_options(config), replay_caches(config), machine.statics)
        return Backend(machine.id, machine.region, LOOPBACK, link.near_port, *treatment)

    def _on_change(self, machine: MachineRecord) -> None:
        self._candidates.clear()
        self._settings.clear()
        self._changed[machine.id] = machine
        self._dirty.set()

    async def _open(
        self,
        machine: MachineRecord,
        way: Way,
        listen: LinkAddress | None,
        rows: Rows,
        kind: LinkKind,
    ) -> None:
        host, port = way
        name = parse_name(host)
        assert name is not None, "find_names returns names only"
        aim = self._aims.aim(name, port, machine.region, rows)
        link_id = f"machine/{machine.id}/{host}:{port}"
        link = MachineLink(
            link_id, machine.id, host, port, name, aim.target, aim.one_way_ns, aim.region
        )
        link.near_port = await self._links.open(
            link_id,
            aim.target,
            aim.one_way_ns,
            kind=kind,
            listen=listen,
            ends=self._ends(machine, machine.region, aim.region),
        )
        self._of_machine[machine.id][way] = link

    async def _aim_again(self, link: MachineLink, rows: Rows) -> None:
        machine = self._store.by_id(link.machine_id)
        aim = self._aims.aim(link.name, link.port, machine.region, rows)
        if (aim.target, aim.one_way_ns) == (link.target, link.one_way_ns):
            return
        link.target, link.one_way_ns, link.region = aim.target, aim.one_way_ns, aim.region
        try:
            ends = self._ends(machine, machine.region, aim.region)
            await self._links.retarget(link.id, aim.target, aim.one_way_ns, ends)
        except WorldError as error:  # closed in the meantime
            _log.warning("%s", error)

    async def _dial_again(self, region: str, machine_id: str) -> None:
        """Lead an edge's link to where the machine's program listens by now."""
        link = self._to_machine.get((region, machine_id))
        machine = self._store.by_id(machine_id) if link is not None else None
        if link is None or machine is None or machine.http_port is None:
            return
        wanted = machine.address(machine.http_port)
        if link.target == wanted:
            return
        link.target = wanted
        with contextlib.suppress(WorldError):  # closed in the meantime
            await self._links.retarget(f"edge/{region}/{machine_id}", wanted)

    def _ends(self, machine: MachineRecord, source: str, target: str) -> Road | None:
        """Return whose roads a link of a machine takes; a fault must not reach the generator."""
        return None if machine.generates_load else (source, target)
