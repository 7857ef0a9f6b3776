"""Machines as hosts of their own: their networks, their name servers, and the ways between them."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.kernel.namespaces import SocketMaker
from loadtest.world.hosts.host import MachineHost
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl
from loadtest.world.machines.aims import SECURE_PORT, Way
from loadtest.world.machines.directory import look_up
from loadtest.world.machines.nameserver import NameServer, Records
from loadtest.world.machines.network import WorldNetwork
from loadtest.world.machines.paths import Misled
from loadtest.world.machines.store import MachineRecord, Store
from loadtest.world.spec import WorldSpec

_WEB_PORTS = (80, SECURE_PORT)
_OWN_NAMES = ("127.0.0.1", "localhost")
_NAMED_PORT = re.compile(r"(?<![\w.-])([A-Za-z0-9](?:[\w-]*\.)*[\w-]*):(\d{1,5})(?!\d)")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tenant:
    """
    A host, and whom it has asked for.

    Args:
        host: Its network.
        machine: The machine.
        ports: Ports that its environment names beside the host's name: ``redis.example:6379``.
        known: Machines whose names it has looked up.
        edges: Apps whose edge it has looked up.
        answers: Machines that each name has stood for, and whether it ever led there first.
        outside: Its addresses for hosts outside of the world, by name.
        own: Ports of this machine's loopback that it reaches.
        ways_out: Ids of the links that lead out of the world.
    """

    host: MachineHost
    machine: MachineRecord
    ports: Mapping[str, frozenset[int]] = field(default_factory=dict)
    server: NameServer | None = None
    known: set[str] = field(default_factory=set)
    edges: set[str] = field(default_factory=set)
    answers: dict[str, dict[str, bool]] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)
    ways_out: list[str] = field(default_factory=list)


class WorldHosts:
    """
    Gives machines networks of their own, and opens the links that their names ask for.

    A name is looked up before it is called, so links are opened when a machine asks for a name:
    one to every port of every machine that the name stands for.

    Args:
        spec: The world's regions and round-trip times.
        base: Its folder.
        store: Its machines.
        network: Its links, as machines see them.
        links: The links process.
        sockets: Makes sockets inside networks.
        authorities: PEM file with the certificates that machines trust.
    """

    def __init__(
        self,
        spec: WorldSpec,
        base: Path,
        store: Store,
        *,
        network: WorldNetwork,
        links: LinkControl,
        sockets: SocketMaker,
        authorities: Path,
    ) -> None:
        self._spec = spec
        self._base = base
        self._store = store
        self._network = network
        self._links = links
        self._tenants: dict[str, _Tenant] = {}
        self._edge_numbers: dict[str, int] = {}
        self._sockets = sockets
        self._authorities = authorities
        network.listen(self._open_new_ports)

    async def settle(self, machine: MachineRecord, env: Mapping[str, str]) -> MachineHost:
        """
        Return the host of a machine, made at its first start.

        Args:
            machine: The machine.
            env: Its environment, which may name hosts and ports outside of the world.

        Raises:
            WorldError: The kernel refused.
        """
        tenant = self._tenants.get(machine.id)
        if tenant is None:
            try:
                host = MachineHost.make(
                    *(self._base, machine.id, machine.private_ip, machine.ip4),
                    authorities=self._authorities,
                )
                machine.place = str(host.place)
                tenant = self._tenants[machine.id] = _Tenant(host, machine)
                sock = host.resolver_socket(self._sockets)
            except OSError as error:
                raise WorldError(
                    f"machine {machine.name}: no network can be made: {error}"
                ) from error

            async def lookup(name: str) -> Records | None:
                return await self._look_up(machine, name)

            tenant.server = NameServer(sock, lookup)
        tenant.ports = named_ports(env)
        await self._open_own_machine(tenant)
        return tenant.host

    async def close(self, machine: MachineRecord) -> None:
        """End the host of a machine that is gone."""
        tenant = self._tenants.pop(machine.id, None)
        if tenant is None:
            return
        if tenant.server is not None:
            tenant.server.close()
        for link_id in tenant.ways_out:
            await self._links.close(link_id)
        for place in (str(tenant.host.place), str(tenant.host.porch)):
            self._sockets.forget(place)
            await self._links.forget(place)
        tenant.host.close()

    def misled(self, *, first_only: bool = False) -> list[Misled]:
        """
        Return which machines were led to which others that no name leads to first any more.

        Args:
            first_only: Only those that a name did lead to first: a program that takes another one
                than the first of an answer has chosen it itself.
        """
        found = []
        rows, apps = list(self._store.rows()), self._store.apps
        for tenant in self._tenants.values():
            region, asker = tenant.machine.region, tenant.machine.id
            told: dict[str, tuple[str, str]] = {}
            first = set[str]()
            for name, machines in tenant.answers.items():
                now = look_up(name, rows, apps, region, self._spec.rtt_between_ms)
                if now is not None and now.machines:
                    first.add(now.machines[0])
                    for machine_id, was_first in machines.items():
                        if was_first or not first_only:
                            told[machine_id] = (name, now.machines[0])
            found += [Misled(asker, m, *told[m]) for m in sorted(told.keys() - first)]
        return found

    async def _look_up(self, machine: MachineRecord, name: str) -> Records | None:
        tenant = self._tenants.get(machine.id)
        if tenant is None:
            return None
        rows = list(self._store.rows())
        distance = self._spec.rtt_between_ms
        entry = look_up(name, rows, self._store.apps, machine.region, distance)
        if entry is None:
            inside = name.endswith((".internal", ".flycast")) or "." not in name
            return None if inside else await self._look_outside(tenant, name)
        if entry.edge:
            return Records(ip6=(await self._open_edge(tenant, entry.edge),))
        if entry.machines:
            answers = tenant.answers.setdefault(name, {})
            for place, machine_id in enumerate(entry.machines):
                answers[machine_id] = answers.get(machine_id, False) or place == 0
        tenant.known.update(entry.machines)
        await self._open_ports(tenant, entry.machines)
        found = tuple(self._store.by_id(machine_id).private_ip for machine_id in entry.machines)
        return Records(ip6=found, texts=entry.texts)

    async def _open_new_ports(self, changed: Set[str]) -> None:
        """Open what has come to be listened on at machines that somebody knows."""
        for tenant in list(self._tenants.values()):
            await self._open_ports(tenant, tenant.known & changed)

    async def _open_ports(self, tenant: _Tenant, machine_ids: Iterable[str]) -> None:
        if tenant.machine.state in ("destroying", "destroyed"):  # its links are being closed
            return
        ways: dict[Way, LinkAddress] = {}
        for machine_id in machine_ids:
            # its own address is its own loopback
            if machine_id not in self._store or machine_id == tenant.machine.id:
                continue
            target = self._store.by_id(machine_id)
            name, address = f"{target.id}.vm.{target.app}.internal", target.private_ip
            ways |= {(name, port): self._near(tenant, address, port) for port in target.ports}
        await self._network.open_ways(tenant.machine, ways)

    async def _open_edge(self, tenant: _Tenant, app: str) -> str:
        number = self._edge_numbers.setdefault(app, len(self._edge_numbers) + 1)
        address = f"fdaa:0:1:0:1::{number:x}"
        name = f"{app}.flycast"
        ways = {(name, port): self._near(tenant, address, port) for port in _WEB_PORTS}
        await self._network.open_ways(tenant.machine, ways)
        return address

    def _near(self, tenant: _Tenant, address: str, port: int) -> LinkAddress:
        """Return where a machine's calls to an address and a port of the world arrive."""
        return LinkAddress(address, port, str(tenant.host.porch))

    # -- what is not of this world -------------------------------------------------------------

    async def _look_outside(self, tenant: _Tenant, name: str) -> Records | None:
        """Return an address that leads out to a host that this machine's own resolver knows."""
        address = tenant.outside.get(name)
        if address is None:
            try:
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            except OSError:
                return None
            if name in tenant.outside:  # asked twice at once: A and AAAA
                return Records(ip4=(tenant.outside[name],))
            number = len(tenant.outside) + 1
            address = tenant.outside[name] = f"198.18.{number // 256}.{number % 256}"
            real = str(found[0][4][0])
            for port in self._outside_ports(tenant, name):
                near = LinkAddress(address, port, str(tenant.host.porch))
                await self._lead_out(tenant, name, port, near, real)
        return Records(ip4=(address,))

    async def _open_own_machine(self, tenant: _Tenant) -> None:
        """
        Let ``localhost:PORT`` in an environment reach what listens there outside of the world.

        A database of the developer's own, say.  Where nothing listens outside, nothing is opened:
        the program may mean a helper of its own.
        """
        named = {port for name in _OWN_NAMES for port in tenant.ports.get(name, ())}
        for port in sorted(named - set(tenant.machine.ports) - tenant.own):
            if await _listened_on(port):
                tenant.own.add(port)
                near = LinkAddress(_OWN_NAMES[0], port, str(tenant.host.place))
                await self._lead_out(tenant, _OWN_NAMES[0], port, near, _OWN_NAMES[0])

    async def _lead_out(
        self, tenant: _Tenant, name: str, port: int, listen: LinkAddress, real: str
    ) -> None:
        link_id = f"outside/{tenant.machine.id}/{name}:{port}"
        try:
            await self._links.open(link_id, LinkAddress(real, port), 0, kind="bulk", listen=listen)
        except WorldError as error:
            _log.warning("the way out to %s:%d: %s", name, port, error)
        else:
            tenant.ways_out.append(link_id)

    def _outside_ports(self, tenant: _Tenant, name: str) -> tuple[int, ...]:
        return tuple(sorted({*_WEB_PORTS, *tenant.ports.get(name, ())}))


def named_ports(env: Mapping[str, str]) -> dict[str, frozenset[int]]:
    """Return the ports that an environment names, by the host's name before the colon."""
    found: dict[str, set[int]] = {}
    for key, value in env.items():
        for match in _NAMED_PORT.finditer(value):
            if 0 < int(match[2]) < 65_536:
                found.setdefault(match[1].lower(), set()).add(int(match[2]))
        # REDIS_HOST=cache.example with REDIS_PORT=6380 beside it
        other = env.get(f"{key.removesuffix('_HOST')}_PORT", "") if key.endswith("_HOST") else ""
        if other.isdigit() and 0 < int(other) < 65_536:
            found.setdefault(value.strip().lower(), set()).add(int(other))
    return {name: frozenset(ports) for name, ports in found.items()}


async def _listened_on(port: int) -> bool:
    """Tell whether a program of this machine, outside of the world, listens on a port."""
    try:
        _, writer = await asyncio.open_connection(_OWN_NAMES[0], port)
    except OSError:
        return False
    writer.close()
    return True
