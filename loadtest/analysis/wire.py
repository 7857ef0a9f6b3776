"""
Database round trips as the links saw them, for apps that do not report their own.

A link counts how often its client side begins to speak anew: one round trip each.  Opening a
connection is one more.  Counted around each segment of the load, while nothing is under way, and
divided by the requests that the edges sent to those machines, this is exact to the few statements
that an app sends of its own accord, so one query more on a page cannot hide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from loadtest.records.world_facts import WorldCounts, WorldFacts

UNKNOWN = -1
_PRIMARY = (":5432", ":6432")
"""Ports of the primary, without TLS and with it; on another a name leads to the nearest server."""

Cells = dict[tuple[str, str], float]
"""(deployment, client region) -> round trips per request."""


def round_trips_on_the_wire(world: WorldFacts) -> Cells:
    """
    Return database round trips per request of each deployment and client region.

    What the machines of a region spent is shared out by how many requests they were sent from each
    edge.  Where machines spent some that were sent none, every region has its deployment's mean.

    Args:
        world: ``apps`` names each deployment's app, ``counters`` what links and edges counted.

    Where machines are hosts, all that they send goes over links: one that opened none to the
    database spent nothing.  Of a relay that nobody opened it is not known whether it was passed by.

    Returns:
        Cells without those that served nothing, and deployments of whose database nothing is known.
    """
    trips: Counter[tuple[str, str]] = Counter()  # by app and machine's region
    asked: Counter[tuple[str, str]] = Counter()  # by app and edge's region
    sent: Counter[tuple[str, str, str]] = Counter()  # by app, edge's region, machine's region
    for sign, counts in _counts(world):
        for link in counts.links:
            if link.target_app == world.database:
                trips[link.app, link.region] += sign * (link.flights + link.connections)
        for edge in counts.edges:
            asked[edge.app, edge.region] += sign * edge.requests
            for region, number in edge.served.items():
                sent[edge.app, edge.region, region] += sign * number
    found: Cells = {}
    all_seen = bool(world.database) and world.link_layer == "hosts"
    for name, app in (world.apps or {}).items():
        edges = {region: n for (of, region), n in asked.items() if of == app and n > 0}
        spent = {region: n for (of, region), n in trips.items() if of == app}
        if not edges or not (spent or all_seen):
            continue
        ways = {key[1:]: n for key, n in sent.items() if key[0] == app and n > 0}
        mean = sum(spent.values()) / sum(edges.values())
        shared = _shared(spent, edges, ways)
        found |= {(name, region): round((shared or {}).get(region, mean), 3) for region in edges}
    return found


def databases_passed_by(world: WorldFacts) -> tuple[str, ...]:
    """
    Return a sentence for each app that asked a far database and never the one in its own region.

    Only of relays, where a name that an app builds at run time leads nowhere, so that it may do
    with the primary what it means to do with its replica.  In hosts every name leads where it says.

    Args:
        world: Its machines, the database's among them, and what its links counted.
    """
    if world.link_layer != "relay" or not world.database:
        return ()
    near = {m.region for m in world.machines or () if m.app == world.database}
    near.discard(world.primary_region)
    trips: Counter[tuple[str, str, bool]] = Counter()  # by app, region, whether to the primary
    for sign, counts in _counts(world):
        for link in counts.links:
            theirs = link.app != world.database  # whose replicas ask the primary and nobody else
            if theirs and link.target_app == world.database and link.region in near:
                primary = link.target.endswith(_PRIMARY) and not link.target.startswith(
                    f"{link.region}."
                )
                trips[link.app, link.region, primary] += sign * link.flights
    far: dict[str, list[str]] = {}
    for (app, region, primary), count in sorted(trips.items()):
        if primary and count > 0 and trips[app, region, False] <= 0:
            far.setdefault(app, []).append(region)
    return tuple(
        f"{app}: its machines in {', '.join(regions)} asked the database in {world.primary_region} "
        "and never the one in their own region. That is right of an app with one database. One "
        "that builds its replica's name at run time finds nothing in the relay layer: run it in "
        "hosts (--layer hosts), or name the replica in its environment."
        for app, regions in far.items()
    )


def _counts(world: WorldFacts) -> Iterator[tuple[int, WorldCounts]]:
    """Yield what is to be added and what to be taken off."""
    if world.counters is None:
        return
    segments = [(segment.start, segment.end) for segment in world.counters.segments]
    for start, end in segments or [(world.counters.before, world.counters.after)]:
        yield -1, start
        yield 1, end


def _shared(
    spent: Mapping[str, int], edges: Mapping[str, int], ways: Mapping[tuple[str, str], int]
) -> dict[str, float] | None:
    """Return round trips per request by edge; None where machines spent some and served none."""
    served: Counter[str] = Counter()
    for (_, machine), number in ways.items():
        served[machine] += number
    if any(number > 0 and not served[region] for region, number in spent.items()):
        return None
    return {
        edge: sum(
            number * spent.get(machine, 0) / served[machine]
            for (at, machine), number in ways.items()
            if at == edge
        )
        / asked
        for edge, asked in edges.items()
    }


def with_wire_counts(
    frame: pd.DataFrame, world: WorldFacts
) -> tuple[pd.DataFrame, frozenset[tuple[str, str]]]:
    """
    Return records in which deployments that report no round trips have those of the wire.

    Beside them stand the cells that have: deployment and client region.
    """
    counted = round_trips_on_the_wire(world)
    deployments, regions = frame["deployment"].cat, frame["region"].cat
    of, at = deployments.codes.to_numpy(), regions.codes.to_numpy()
    trips = frame["db_round_trips"].to_numpy()
    told = {
        code for code in range(len(deployments.categories)) if (trips[of == code] != UNKNOWN).any()
    }
    filled = trips.astype(np.float32)
    filling: set[tuple[str, str]] = set()
    for code, name in enumerate(deployments.categories):
        for where, region in enumerate(regions.categories):
            value = counted.get((str(name), str(region)))
            if value is not None and code not in told:
                filled[(of == code) & (at == where)] = value
                filling.add((str(name), str(where)))
    cells = frozenset(filling)
    return (frame.assign(db_round_trips=filled) if filling else frame), cells
