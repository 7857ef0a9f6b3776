"""The edges of every region, and where each listens for which app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from loadtest.world.edge.authority import WorldAuthority
from loadtest.world.edge.proxy import EdgeListener
from loadtest.world.edge.types import EdgeCounters, MachineResolver


class Gateways:
    """
    One edge per region; an app is listened for in all of them once it has an HTTP service.

    Args:
        regions: The world's regions.
        authority: Signs their certificates.
    """

    def __init__(self, regions: Sequence[str], authority: WorldAuthority) -> None:
        self.authority = authority
        self._regions = tuple(regions)
        self._edges: dict[str, EdgeListener] = {}
        self._ports: dict[tuple[str, bool], dict[str, int]] = {
            (region, secure): {} for region in regions for secure in (False, True)
        }
        self._turn = asyncio.Lock()

    def resolve_with(self, resolver: MachineResolver) -> None:
        """Make the edges; ``resolver`` is what they ask for machines."""
        self._edges = {region: EdgeListener(region, resolver) for region in self._regions}

    async def ensure(self, app: str) -> None:
        """Let every region's edge listen for an app, once."""
        async with self._turn:
            for region, edge in self._edges.items():
                if app not in self._ports[region, True]:
                    self._ports[region, False][app] = await edge.listen(app)
                    self._ports[region, True][app] = await edge.listen(
                        app, ssl_context=self.authority.context(app)
                    )

    async def forget(self, app: str) -> None:
        """Stop listening for an app that is gone."""
        async with self._turn:
            for region, edge in self._edges.items():
                self._ports[region, True].pop(app, None)
                if self._ports[region, False].pop(app, None) is not None:
                    await edge.unlisten(app)

    def port(self, region: str, app: str, secure: bool) -> int | None:
        """Return the port of a region's edge for an app, with TLS or without; None for none."""
        return self._ports[region, secure].get(app)

    def urls(self, *, secure: bool = False) -> dict[str, dict[str, str]]:
        """Return the address of every app at every edge: region, then app."""
        scheme = "https" if secure else "http"
        return {
            region: {
                app: f"{scheme}://127.0.0.1:{port}"
                for app, port in self._ports[region, secure].items()
            }
            for region in self._regions
        }

    def counters(self) -> Iterator[tuple[str, str, EdgeCounters]]:
        """Yield what every edge did for every app: region, app, counts."""
        for region, edge in self._edges.items():
            for app, count in edge.counters().items():
                yield region, app, count

    async def close(self) -> None:
        """Stop listening everywhere."""
        await asyncio.gather(*(edge.close() for edge in self._edges.values()))
