"""Who reaches whom: the links of every machine, and what edges know of machines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.errors import WorldError
from loadtest.faults import Road
from loadtest.fly.machines import EDGE_CONNECTIONS_KEY, FRESH
from loadtest.world.edge.types import AppSettings, Backend
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl, LinkCounters, LinkKind
from loadtest.world.machines.answers import answer_options, replay_caches
from loadtest.world.machines.names import Name, find_names, parse_name, rewrite, select
from loadtest.world.machines.store import MachineRecord, Store
from loadtest.world.spec import WorldSpec

PRIMARY_PORT = 5432
SECURE_PORT = 443
"""Where edges end TLS, as on Fly; whatever else is called at an edge is plain HTTP."""
_log = logging.getLogger(__name__)
_HOST = "127.0.0.1"


@dataclass(slots=True)
class MachineLink:
    """The way from one machine to one name, and where it leads now."""

    id: str
    machine_id: str
    host: str
    port: int
    name: Name
    target: LinkAddress | None
    one_way_ns: int
    region: str
    near_port: int = 0


@dataclass(slots=True)
class EdgeLink:
    """The way from the edge of a region to a machine: the port to dial, and where it leads now."""

    near_port: int
    target: LinkAddress


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a name leads: an address (None while nobody listens), its region and delay."""

    target: LinkAddress | None
    region: str
    one_way_ns: int


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
        self._edge_port = edge_port
        self._of_machine: dict[str, list[MachineLink]] = {}
        self._to_machine: dict[tuple[str, str], EdgeLink] = {}
        self._opening = asyncio.Lock()
        self._outside: dict[tuple[str, int, str, str], int] = {}
        self._dirty = asyncio.Event()
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self._candidates: dict[tuple[str, str], tuple[Backend, ...]] = {}
        store.listen(self._on_change)

    def listen(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Call ``listener`` whenever machines have changed, after links were led anew."""
        self._listeners.append(listener)

    async def keep_aiming(self) -> None:
        """Lead links to where their names point, whenever a machine has changed; never returns."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            for link in self.links():
                await self._aim_again(link)
            for (region, machine_id), edge_link in list(self._to_machine.items()):
                await self._dial_again(region, machine_id, edge_link)
            for listener in self._listeners:
                try:
                    await listener()
                except WorldError as error:  # one machine's trouble is not that of all others
                    _log.warning("%s", error)

    async def rewrite_env(self, machine: MachineRecord, env: Mapping[str, str]) -> dict[str, str]:
        """
        Return ``env`` with every private name replaced by the near end of a link from ``machine``.

        Links that an earlier start of the machine opened are used again.
        """
        wanted = dict.fromkeys(pair for value in env.values() for pair in find_names(value))
        links = {pair: await self.open_way(machine, *pair) for pair in wanted}
        addresses = {pair: (_HOST, link.near_port) for pair, link in links.items()}
        return {key: rewrite(value, addresses) for key, value in env.items()}

    async def open_to_primary(self, machine: MachineRecord) -> tuple[str, int]:
        """Return the near end of the link from a PostgreSQL replica to its primary."""
        # Bulk: the write-ahead log of the set-up would take many round trips of slow start.
        link = await self.open_way(machine, f"{machine.app}.internal", PRIMARY_PORT, kind="bulk")
        return _HOST, link.near_port

    async def open_way(
        self,
        machine: MachineRecord,
        host: str,
        port: int,
        *,
        kind: LinkKind = "stream",
        listen: LinkAddress | None = None,
    ) -> MachineLink:
        """
        Open the link from a machine to a name, or return the one that is open.

        Args:
            machine: Where it begins.
            host: A name of the private network.
            port: Port that is called there.
            kind: As for `LinkControl.open`.
            listen: Where the machine dials; None for a port of loopback.
        """
        async with self._opening:  # who asks twice at once gets one link
            own = self._of_machine.setdefault(machine.id, [])
            for link in own:
                if (link.host, link.port) == (host, port):
                    return link
            link = await self._open(machine, host, port, kind=kind, listen=listen)
            own.append(link)
        # Its target may have started while the link was opened, before it was among those that a
        # change leads anew.
        await self._aim_again(link)
        return link

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
        """Open the links from every edge to a machine that serves HTTP."""
        if machine.http_port is None:
            return
        for region in self._spec.regions:
            if (region, machine.id) in self._to_machine:
                continue
            link_id = f"edge/{region}/{machine.id}"
            delay_ns = self._spec.one_way_ns(region, machine.region)
            target = machine.address(machine.http_port)
            ends = self._ends(machine, region, machine.region)
            port = await self._links.open(link_id, target, delay_ns, ends=ends)
            self._to_machine[region, machine.id] = EdgeLink(port, target)

    async def close_links(self, machine: MachineRecord) -> None:
        """Close every link from and to a machine that is gone."""
        for link in self._of_machine.pop(machine.id, ()):
            await self._links.close(link.id)
        for region in self._spec.regions:
            if self._to_machine.pop((region, machine.id), None) is not None:
                await self._links.close(f"edge/{region}/{machine.id}")

    def links(self) -> list[MachineLink]:
        """Return the links of every machine to every name."""
        return [link for links in self._of_machine.values() for link in links]

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
        machines = self._store.machines(app)
        fresh = any(m.config.metadata.get(EDGE_CONNECTIONS_KEY) == FRESH for m in machines)
        return AppSettings(keeps_connections=not fresh)

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
        return Backend(machine.id, machine.region, _HOST, link.near_port, *treatment)

    def _on_change(self, _machine: MachineRecord) -> None:
        self._candidates.clear()
        self._dirty.set()

    async def _open(
        self,
        machine: MachineRecord,
        host: str,
        port: int,
        *,
        kind: LinkKind,
        listen: LinkAddress | None,
    ) -> MachineLink:
        name = parse_name(host)
        assert name is not None, "find_names returns names only"
        aim = self._aim(name, port, machine.region)
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
        return link

    def _aim(self, name: Name, port: int, asker_region: str) -> Aim:
        """Return where a name and a port lead from a region at this moment."""
        if name.kind == "flycast":
            edge = self._edge_port(asker_region, name.app, port == SECURE_PORT)
            if edge is not None:
                delay_ns = self._spec.one_way_ns(asker_region, asker_region)
                return Aim(LinkAddress(_HOST, edge), asker_region, delay_ns)
        rows = list(self._store.rows())
        primary = port == PRIMARY_PORT and any(r.primary for r in rows if r.app == name.app)
        row = select(name, rows, asker_region, self._spec.rtt_between_ms, primary=primary)
        if row is None:  # nobody yet: the primary region is the likeliest place
            region = self._spec.primary_region
            return Aim(None, region, self._spec.one_way_ns(asker_region, region))
        machine = self._store.by_id(row.machine_id)
        real = machine.ports.get(port) if row.started else None
        delay_ns = self._spec.one_way_ns(asker_region, row.region)
        return Aim(None if real is None else machine.address(real), row.region, delay_ns)

    async def _aim_again(self, link: MachineLink) -> None:
        machine = self._store.by_id(link.machine_id)
        aim = self._aim(link.name, link.port, machine.region)
        if (aim.target, aim.one_way_ns) == (link.target, link.one_way_ns):
            return
        link.target, link.one_way_ns, link.region = aim.target, aim.one_way_ns, aim.region
        try:
            ends = self._ends(machine, machine.region, aim.region)
            await self._links.retarget(link.id, aim.target, aim.one_way_ns, ends)
        except WorldError as error:  # closed in the meantime
            _log.warning("%s", error)

    async def _dial_again(self, region: str, machine_id: str, link: EdgeLink) -> None:
        """Lead an edge's link to where the machine's program listens by now."""
        machine = self._store.by_id(machine_id)
        if machine.http_port is None:
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
