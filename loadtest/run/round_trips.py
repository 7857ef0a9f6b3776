"""
Round trips between a run's regions on Fly, measured by its own machines over the private network.

Before the load a byte goes to and fro between the first worker of each two regions.  What comes of
it is stored with the run, and ``--rtt RUN_FOLDER`` gives an embedded world the same distances.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import MachinesClient, connect
from loadtest.plan.network import ROUND_TRIPS_FILE
from loadtest.records.whole import whole_file
from loadtest.run.interruptible import run_to_end
from loadtest.run.progress import Progress
from loadtest.run.run_deployment import RunDeployment
from loadtest.run.run_world import RunWorld
from loadtest.units import NS_PER_MS

WORKER = "worker"
PINGS = 15
_PORTS = range(20_000, 30_000)
_LIMIT_S = 50
_TOOL = ("python", "-m", "loadtest.ping")


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Two regions, codes in alphabetical order, and the round trips between them."""

    a: str
    b: str
    ns: tuple[int, ...]

    @property
    def p50_ms(self) -> float:
        """Return the median, milliseconds."""
        return statistics.median(self.ns) / NS_PER_MS


def measure_round_trips(
    place: RunWorld, orders: RunDeployment, progress: Progress
) -> tuple[RoundTrip, ...]:
    """
    Return the round trips between each two regions of a run on Fly; none where that cannot be.

    An embedded world measures its own links, and machines of a person's own have no such way.  A
    failure here ends no run: it is told, and then there are none.
    """
    if not place.on_fly:
        return ()
    try:
        found = run_to_end(_measure(place, orders))
    except WorldError as error:
        progress.warn(f"round trips between the regions were not measured: {error}")
        return ()
    if found:
        told = ", ".join(f"{trip.a}-{trip.b} {trip.p50_ms:.1f} ms" for trip in found)
        progress.done(f"round trips between the machines: {told}")
    return found


def write_round_trips(folder: Path, found: Sequence[RoundTrip], run_id: str) -> None:
    """Write what was measured into a run folder, in the form that ``--rtt`` reads."""
    if not found:
        return
    with whole_file(folder / ROUND_TRIPS_FILE) as file:
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("from", "to", "rtt_ms", "source"))
        for trip in found:
            source = f"run {run_id}: median of {len(trip.ns)}"
            writer.writerow((trip.a, trip.b, f"{trip.p50_ms:.3f}", source))
        file.write(lines.getvalue().encode())


async def _measure(place: RunWorld, orders: RunDeployment) -> tuple[RoundTrip, ...]:
    generator = orders.generator
    async with connect(place.api_url, place.token) as client:
        machines = await client.machines(generator.name, metadata=generator.metadata)
        workers = {m.region: m for m in reversed(machines) if m.config.group == WORKER}
        regions = sorted(workers)
        found: list[RoundTrip] = []
        for number, region in enumerate(regions):
            if number:  # one at a time: an end that answers several is busy
                peers = [workers[other] for other in regions[:number]]
                found += await _asked_by(client, place, generator.name, workers[region], peers)
    return tuple(sorted(found, key=lambda trip: (trip.a, trip.b)))


async def _asked_by(
    client: MachinesClient, place: RunWorld, app: str, there: Machine, peers: Sequence[Machine]
) -> list[RoundTrip]:
    """Return the round trips from some machines to one."""
    port = random.choice(_PORTS)
    words = (*_TOOL, "answer", str(port), str(len(peers)), str(_LIMIT_S))

    async def ask(peer: Machine) -> RoundTrip:
        host, near = _way(place, there, port, peer.region)
        asked = (*_TOOL, "ask", host, str(near), str(PINGS))
        text = await client.run_command(app, peer.id, asked, timeout_s=_LIMIT_S)
        try:
            told = tuple(int(ns) for ns in json.loads(text))
        except (ValueError, TypeError) as error:
            raise WorldError(f"machine {peer.name} answered {text[:200]!r}") from error
        if not told:
            raise WorldError(f"machine {peer.name} measured nothing")
        a, b = sorted((peer.region, there.region))
        return RoundTrip(a, b, told)

    answering = asyncio.create_task(client.run_command(app, there.id, words, timeout_s=_LIMIT_S))
    try:
        found = list(await asyncio.gather(*(ask(peer) for peer in peers)))
    except BaseException:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        raise
    await answering
    return found


def _way(place: RunWorld, there: Machine, port: int, region: str) -> tuple[str, int]:
    """Return where a machine of a region reaches a port of another one."""
    if place.stand_in is None:
        return there.private_ip, port
    way = place.stand_in.way_to(f"http://127.0.0.1:{port}", there.region, region)
    parts = urlsplit(way.url)
    return str(parts.hostname), int(parts.port or 0)
