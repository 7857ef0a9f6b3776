"""The edge of one region: where clients of the region meet every app, as at Fly's proxy."""

from __future__ import annotations

import asyncio
import ssl

from loadtest.errors import WorldError
from loadtest.world.edge.client import ClientConnection
from loadtest.world.edge.doors import SecureDoor
from loadtest.world.edge.hop import EdgeContext, Tally
from loadtest.world.edge.http2 import Http2Client
from loadtest.world.edge.memory import ReplayMemory
from loadtest.world.edge.types import EdgeCounters, EdgeSettings, MachineResolver
from loadtest.world.edge.upstream import Pool

_BACKLOG = 1_024
_SWEEP_S = 1.0


class EdgeListener:
    """
    One region's edge.

    Args:
        region: Code of the region.
        resolver: What the world knows of its machines.
        settings: Limits.
    """

    def __init__(
        self, region: str, resolver: MachineResolver, settings: EdgeSettings | None = None
    ) -> None:
        self.region = region
        self._resolver = resolver
        self._settings = settings or EdgeSettings()
        self._pool = Pool(self._settings.upstream_idle_s, self._settings.head_bytes)
        self._servers: dict[tuple[str, bool], asyncio.Server] = {}
        self._clients: dict[str, set[ClientConnection | Http2Client]] = {}
        self._tallies: dict[str, Tally] = {}
        self._memories: dict[str, ReplayMemory] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(
        self,
        app: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> int:
        """
        Take requests for ``app`` and return the port.

        Args:
            app: Name of the app; the resolver knows its machines.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            ssl_context: Ends TLS here when given; HTTP/2 is spoken where it agrees to ``h2``.

        Raises:
            WorldError: The port is in use, or the app is being listened for already, with TLS or
                without as asked for.
        """
        secure = ssl_context is not None
        if (app, secure) in self._servers:
            raise WorldError(f"the edge in {self.region} listens for app {app!r} already")
        tally = self._tallies.setdefault(app, Tally())
        clients = self._clients.setdefault(app, set())
        memory = self._memories.setdefault(app, ReplayMemory())
        context = EdgeContext(
            self.region, app, self._resolver, self._settings, self._pool, tally, memory
        )

        def old() -> ClientConnection:
            clients.add(client := ClientConnection(context, secure=secure, on_lost=clients.discard))
            return client

        def new() -> Http2Client:
            clients.add(client := Http2Client(context, clients.discard))
            return client

        def connected() -> asyncio.Protocol:
            return SecureDoor(old, new) if secure else old()

        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                connected, host, port, ssl=ssl_context, backlog=_BACKLOG
            )
        except OSError as error:
            raise WorldError(
                f"the edge in {self.region} cannot listen on {host}:{port} for {app!r}: {error}"
            ) from None
        self._servers[app, secure] = server
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_S, self._sweep)
        return int(server.sockets[0].getsockname()[1])

    async def unlisten(self, app: str) -> None:
        """Take no more requests for ``app`` and break those under way; unknown apps are ignored."""
        servers = [self._servers.pop(key) for key in list(self._servers) if key[0] == app]
        for server in servers:
            server.close()
        self._memories.pop(app, None)
        for client in list(self._clients.pop(app, ())):
            client.abort()
        for server in servers:
            await server.wait_closed()

    def counters(self) -> dict[str, EdgeCounters]:
        """Return what this edge did so far, by app; counts survive :meth:`unlisten`."""
        return {
            app: EdgeCounters(
                tally.requests,
                tally.replays,
                tally.errors,
                tally.upstream_connections,
                dict(tally.served),
            )
            for app, tally in self._tallies.items()
        }

    async def close(self) -> None:
        """Stop listening for every app and drop all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for app in {app for app, _ in self._servers}:
            await self.unlisten(app)
        self._pool.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep)
        self._pool.sweep(now_s)
        for clients in self._clients.values():
            for client in list(clients):
                if client.deadline_s < now_s:
                    client.abort()
