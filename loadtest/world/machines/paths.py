"""Where machines' connections really lead, held against where their names lead now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.records.watch import AstrayFacts, PathFacts
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl
from loadtest.world.machines.aims import PRIMARY_PORTS
from loadtest.world.machines.network import WorldNetwork
from loadtest.world.machines.store import Store


@dataclass(frozen=True, slots=True)
class Misled:
    """
    A machine that was once led to another to which its names do not lead first any more.

    Args:
        machine: Id of the machine that asked.
        target: Id of the machine that it was led to.
        name: The name that it asked for.
        now: Id of the machine that the name leads to now.
    """

    machine: str
    target: str
    name: str
    now: str


async def settle(
    network: WorldNetwork, links: LinkControl, store: Store, misled: Sequence[Misled]
) -> int:
    """
    Let no connection lead to where its name led at another time.

    An app that starts before the replica of its region connects to another region's, and a pool
    keeps that for good; what is reset is opened anew, to the machine that is right now.

    Args:
        network: Who reaches whom.
        links: The links process.
        store: The machines.
        misled: Whose connections go whatever they lead to.

    Returns:
        How many connections were reset.
    """
    return await links.settle(list(_misled(network, store, misled)))


async def look_at_paths(
    network: WorldNetwork, links: LinkControl, store: Store, misled: Sequence[Misled]
) -> PathFacts:
    """
    Return how many connections machines have, and which lead elsewhere than their name does.

    Args:
        network: Who reaches whom.
        links: The links process.
        store: The machines.
        misled: As for `settle`; their connections are elsewhere if there are any.
    """
    own = {link.id: link for link in network.links()}
    entries = _misled(network, store, misled)
    found = await links.strays(list(entries))
    astray: list[AstrayFacts] = []
    for link_id, targets in found.leads_to.items():
        link = own.get(link_id)
        if link is None:
            continue
        machine, entry = store.by_id(link.machine_id), entries.get(link_id)
        name, region = f"{link.host}:{link.port}", link.region
        if entry is not None:
            name, region = entry.name, store.by_id(entry.now).region
        found_regions = {_region_of(store, target) for target in targets}
        astray.append(
            AstrayFacts(
                app=machine.app,
                region=machine.region,
                name=name,
                wanted_region=region,
                found_regions=tuple(sorted(found_regions)),
                connections=len(targets),
            )
        )
    return PathFacts(sum(found.live.get(link_id, 0) for link_id in own), tuple(astray))


def _misled(network: WorldNetwork, store: Store, misled: Sequence[Misled]) -> dict[str, Misled]:
    """
    Return by their ids the links that lead to what a name does not mean first any more.

    The port of a database's primary leads there by the door of each of its machines.
    """
    by_ends = {(entry.machine, entry.target): entry for entry in misled}
    primaries = {m.app for m in store.machines() if m.postgres_role == "primary"}
    return {
        link.id: by_ends[ends]
        for link in network.links()
        if (ends := (link.machine_id, link.name.value)) in by_ends
        and link.name.kind == "machine"
        and not (link.port in PRIMARY_PORTS and link.name.app in primaries)
    }


def _region_of(store: Store, target: LinkAddress) -> str:
    for machine in store.machines():
        for port in machine.ports.values():
            if (machine.place, port) == (target.place, target.port):
                return machine.region
    return "a machine that is gone"
