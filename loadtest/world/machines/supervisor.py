"""The world itself: its links, edges and machines, brought up and taken down as one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.fly.machines import MachineConfig
from loadtest.fly.values import Json
from loadtest.kernel.namespaces import SocketMaker
from loadtest.records.watch import MachineLog, MachineLogs, PathFacts, WatchFacts, WorldGlance
from loadtest.records.world_facts import LinkFacts
from loadtest.world.edge.authority import WorldAuthority
from loadtest.world.edge.gateways import Gateways
from loadtest.world.hosts.layer import Layer
from loadtest.world.images.store import ImageStore
from loadtest.world.links.control import LinkControl
from loadtest.world.links.measuring import Pair, measure
from loadtest.world.machines.context import Registry, WorldContext, runs_postgres
from loadtest.world.machines.databases import staleness_probes
from loadtest.world.machines.environment import base_environment
from loadtest.world.machines.faults import FaultBoard
from loadtest.world.machines.hosts import WorldHosts
from loadtest.world.machines.logs import end_of
from loadtest.world.machines.network import WorldNetwork
from loadtest.world.machines.paths import look_at_paths, settle
from loadtest.world.machines.runtime import MachineRuntime
from loadtest.world.machines.store import MachineRecord, Store
from loadtest.world.machines.templates import Templates
from loadtest.world.machines.visitors import visitor_in
from loadtest.world.machines.watch import WorldWatch
from loadtest.world.postgres.server import postgres_log
from loadtest.world.spec import WorldSpec

_STOP_S = 1.0
_LOG_BYTES = 65_536
_log = logging.getLogger(__name__)


class World:
    """
    A running world; make it with `World.start`.

    Attributes:
        spec: What it is like.
        token: What its API wants to see.
        context: What its machines share.
        gateways: Its edges.
        links: Its links process.
        layer: What machines are: hosts of their own, or programs on one loopback.
        why_not_hosts: Empty, or why they are not hosts.
        lenient: Its API has no limits now, see `WorldSpec`.
        faults: What was asked to go wrong in it.
        measured: Result of the newest measurement of its links, in the form of world.json.
    """

    def __init__(
        self,
        spec: WorldSpec,
        links: LinkControl,
        context: WorldContext,
        gateways: Gateways,
        *,
        layer: Layer,
        why_not_hosts: str,
    ) -> None:
        self.spec = spec
        self.lenient = spec.lenient
        self.links = links
        self.context = context
        self.gateways = gateways
        self.layer = layer
        self.why_not_hosts = why_not_hosts
        self.token = secrets.token_urlsafe(24)
        self.measured: tuple[LinkFacts, ...] = ()
        self._runtimes: dict[str, MachineRuntime] = {}
        self._measuring, self._watching = asyncio.Lock(), asyncio.Lock()
        self._watch: WorldWatch | None = None
        self.faults = FaultBoard(links, context.store, spec.regions, spec.seed, self._end_machine)
        self._aiming = asyncio.create_task(context.network.keep_aiming(), name="network")

    @classmethod
    async def start(
        cls, spec: WorldSpec, base: Path, registry: Registry, layer: Layer = "relay", why: str = ""
    ) -> World:
        """
        Bring up links and edges; machines are made later, through the API.

        Args:
            spec: What the world is like.
            base: Its folder.
            registry: Where process groups are noted.
            layer: What machines are; ``hosts`` only if this process may make them.
            why: Why they are not hosts, where they are not.
        """
        for folder in ("logs", "tmp"):
            (base / folder).mkdir(mode=0o700, exist_ok=True)
        environment = base_environment(base, os.environ)
        templates = Templates(base, environment, enters_places=layer == "hosts")
        templates.begin(spec.programs)
        store = Store()
        gateways = Gateways(spec.regions, WorldAuthority(base))
        links = await LinkControl.start(enters_places=layer == "hosts")
        registry.add(links.pid, 15)
        network = WorldNetwork(spec, store, links, gateways.port)
        gateways.resolve_with(network)
        sockets, hosts = SocketMaker(), None
        if layer == "hosts":
            hosts = WorldHosts(
                *(spec, base, store),
                network=network,
                links=links,
                sockets=sockets,
                authorities=gateways.authority.bundle,
            )
        context = WorldContext(
            *(spec, base, store, network, gateways, registry, environment, sockets),
            templates,
            ImageStore(base),
            gateways.authority,
            hosts,
        )
        return cls(spec, links, context, gateways, layer=layer, why_not_hosts=why)

    @property
    def store(self) -> Store:
        """Return its apps and machines."""
        return self.context.store

    def create(
        self, app: str, name: str, region: str, raw_config: Json, config: MachineConfig
    ) -> MachineRecord:
        """Make a machine that does not run yet."""
        machine = self.store.add(app, name, region, raw_config, config)
        if runs_postgres(config):
            machine.postgres_role = self._postgres_role(machine)
        self._runtimes[machine.id] = MachineRuntime(machine, self.context)
        return machine

    def runtime(self, machine: MachineRecord) -> MachineRuntime:
        """Return what runs a machine."""
        return self._runtimes[machine.id]

    def logs(self) -> MachineLogs:
        """Return the end of what each machine printed, its app's secrets left out."""
        return MachineLogs(tuple(map(self._log_of, self.store.machines())))

    def _log_of(self, machine: MachineRecord) -> MachineLog:
        base, hide = self.context.base, tuple(self.store.apps[machine.app].secrets.values())
        places = (base / "logs" / machine.id, postgres_log(base, machine.id))
        text = "".join(end_of(place, _LOG_BYTES, hide) for place in places)
        return MachineLog(machine.app, machine.region, machine.id, text)

    async def destroy(self, machine: MachineRecord) -> None:
        """Destroy a machine."""
        await self._runtimes[machine.id].destroy()

    async def destroy_app(self, app: str) -> None:
        """Destroy an app and all its machines."""
        await asyncio.gather(*(self.destroy(machine) for machine in self.store.machines(app)))
        await self.gateways.forget(app)
        for machine in self.store.machines(app, destroyed=True):
            self._runtimes.pop(machine.id, None)
        self.store.forget(app)

    async def measure(self, pings: int) -> tuple[LinkFacts, ...]:
        """
        Measure the round trip of every pair of regions through real links, and keep the result.

        Connections that lead elsewhere than their names do by now are reset before: load comes
        next.

        Args:
            pings: Round trips per pair.
        """
        hosts, network = self.context.hosts, self.context.network
        misled = hosts.misled() if hosts is not None else ()
        await settle(network, self.links, self.store, misled)
        async with self._measuring:
            measures = await measure(self.links, self._pairs(), pings)
        self.measured = tuple(
            LinkFacts(
                from_=found.source,
                to=found.target,
                configured_rtt_ms=found.configured_rtt_ms,
                measured_rtt_p50_ms=finite(found.measured_rtt_p50_ms),
                measured_rtt_p95_ms=finite(found.measured_rtt_p95_ms),
                n=found.n,
                ok=found.within(self.spec.tolerance_ms, self.spec.tolerance_share),
            )
            for found in measures
        )
        return self.measured

    async def watch(self) -> PathFacts:
        """
        Begin to watch over a load, anew if it was begun before; return where connections lead.

        Raises:
            WorldError: The links process has ended.
        """
        async with self._watching:
            if self._watch is not None:
                await self._watch.stop()
            paths = await self._paths()
            self._watch = await WorldWatch.start(
                self.links, self._pairs(), paths, staleness_probes(self.context)
            )
            return paths

    async def watched(self, *, over: bool) -> WatchFacts:
        """
        Return what the watch has seen, and where connections lead now.

        Args:
            over: End the watch.

        Raises:
            WorldError: The links process has ended, or nothing is watched.
        """
        async with self._watching:
            watch = self._watch
            if watch is None:
                raise WorldError("nobody has asked this world to watch over a load")
            if over:
                await watch.stop()
                self._watch = None
                self.faults.forget_later()
            return watch.seen(
                self.store.machines(destroyed=True),
                self.faults.facts(watch.began_ns),
                await self._paths(),
            )

    def glance(self) -> WorldGlance:
        """
        Return the latest of what the watch has seen.

        Raises:
            WorldError: Nothing is watched.
        """
        if self._watch is None:
            raise WorldError("nobody has asked this world to watch over a load")
        faults = self.faults.facts(self._watch.began_ns)
        return self._watch.glance(self.store.machines(destroyed=True), faults)

    async def _paths(self) -> PathFacts:
        hosts = self.context.hosts
        misled = hosts.misled(first_only=True) if hosts is not None else ()
        return await look_at_paths(self.context.network, self.links, self.store, misled)

    def _pairs(self) -> list[Pair]:
        """Return every pair of regions, and every region with itself, with its one-way time."""
        regions = [(region, region) for region in self.spec.regions]
        return [(a, b, self.spec.one_way_ns(a, b)) for a, b in [*self.spec.pairs(), *regions]]

    async def visitor(self, region: str) -> MachineRecord:
        """
        Return the machine of a region that commands of a person run in.

        Raises:
            WorldError: Machines are no hosts here, or it did not start.
        """
        return await visitor_in(region, self.context, self.create, self.runtime)

    async def broken(self) -> str:
        """Return, once it happens, why the world cannot go on: its links process has ended."""
        code = await self.links.wait()
        return f"the links process ended with exit code {code}"

    async def stop(self) -> None:
        """Stop every machine side by side, then edges and links."""
        self._aiming.cancel()
        self.faults.close()
        if self._watch is not None:
            await self._watch.stop()
        running = [r for r in self._runtimes.values() if r.machine.state != "destroyed"]
        results = await asyncio.gather(
            self.gateways.close(),
            *(runtime.stop(timeout_s=_STOP_S) for runtime in running),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, Exception):
                _log.warning("while stopping: %s", result)
        await self.context.templates.stop()
        with contextlib.suppress(WorldError):
            await self.links.stop()

    async def _end_machine(self, machine: MachineRecord, again: bool) -> None:
        await self._runtimes[machine.id].kill(again=again)

    def _postgres_role(self, machine: MachineRecord) -> str:
        """Return what a PostgreSQL machine becomes: the first in the primary region leads."""
        primary_region = machine.config.env.get("PRIMARY_REGION", self.spec.primary_region)
        leads = any(
            other.postgres_role == "primary"
            for other in self.store.machines(machine.app)
            if other is not machine
        )
        return "replica" if leads or machine.region != primary_region else "primary"


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None for what is not a number."""
    return value if math.isfinite(value) else None
