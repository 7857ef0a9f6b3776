"""Where machines' connections really lead, held against where their names lead now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.records.watch import AstrayFacts, PathFacts
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.control import LinkControl
from loadtest.world.machines.aims import MachineLink
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


async def settle(network: WorldNetwork, links: LinkControl, misled: Sequence[Misled]) -> int:
    """
    Let no connection lead to where its name led at another time.

    An app that starts before the replica of its region connects to another region's, and a pool
    keeps that for good; what is reset is opened anew, to the machine that is right now.

    Args:
        network: Who reaches whom.
        links: The links process.
        misled: Whose connections go whatever they lead to.

    Returns:
        How many connections were reset.
    """
    ends = {(entry.machine, entry.target) for entry in misled}
    return await links.settle([link.id for link in network.links() if _ends(link) in ends])


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
    by_ends = {(entry.machine, entry.target): entry for entry in misled}
    own = {link.id: link for link in network.links()}
    found = await links.strays([i for i, link in own.items() if _ends(link) in by_ends])
    astray: list[AstrayFacts] = []
    for link_id, targets in found.leads_to.items():
        link = own.get(link_id)
        if link is None:
            continue
        machine, entry = store.by_id(link.machine_id), by_ends.get(_ends(link))
        name, region = f"{link.host}:{link.port}", link.region
        if entry is not None:
            name, region = entry.name, store.by_id(entry.now).region
        found_regions = {_region_of(store, target) for target in targets}
        if entry is not None and found_regions == {region} == {link.region}:
            continue  # by another's door, as every one of a database's leads to its primary
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


def _ends(link: MachineLink) -> tuple[str, str]:
    """Return who calls, and the machine that the link's name means, where it means one."""
    return link.machine_id, link.name.value if link.name.kind == "machine" else ""


def _region_of(store: Store, target: LinkAddress) -> str:
    for machine in store.machines():
        for port in machine.ports.values():
            if (machine.place, port) == (target.place, target.port):
                return machine.region
    return "a machine that is gone"
