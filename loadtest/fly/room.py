"""
Asks the platform before anything is ordered whether its regions can take the machines.

Capacity is not promised: between the answer and the order it may go, and then the order is refused.
A token that may not ask (403), or a platform that does not know the question, is no reason to stop.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from loadtest.errors import WorldError
from loadtest.fly.answers import PlatformRegion
from loadtest.fly.client import MachinesClient
from loadtest.fly.machines import Guest
from loadtest.fly.transport import MachinesApiError
from loadtest.regions import region_table

_ALTERNATIVES = 3
_NO_ANSWER = (401, 403, 404, 405, 501)


async def check_room(
    client: MachinesClient, org: str, wanted: Mapping[str, Sequence[Guest]]
) -> None:
    """
    Return if every region takes its machines, as far as the platform tells.

    Args:
        client: The Machines API.
        org: Slug of the organization.
        wanted: The machines by region.

    Raises:
        WorldError: A region is not listed, deprecated or full; with those that are not.
    """
    try:
        listed = {region.code: region for region in await client.regions()}
    except MachinesApiError as error:
        if error.status in _NO_ANSWER:
            return
        raise
    faults = []
    for region, guests in wanted.items():
        if fault := _unlisted(region, listed):
            faults.append(f"{fault}; {await others(client, org, region, guests, wanted)}")
        elif not await _has_room(client, org, region, guests):
            count = f"{len(guests)} machine{'' if len(guests) == 1 else 's'}"
            faults.append(
                f"region {region}: has no room for {count} now; "
                f"{await others(client, org, region, guests, wanted)}"
            )
    if faults:
        raise WorldError("\n".join(faults))


def _unlisted(region: str, listed: Mapping[str, PlatformRegion]) -> str:
    """Return why a region takes no machines at all, empty where it does."""
    if region not in listed:
        return f"region {region}: is not one that the platform lists"
    return f"region {region}: is deprecated" if listed[region].deprecated else ""


async def others(
    client: MachinesClient,
    org: str,
    region: str,
    guests: Sequence[Guest],
    taken: Collection[str],
) -> str:
    """
    Return what could be asked for in a region's place, the nearest first, as the end of a sentence.

    Args:
        client: The Machines API.
        org: Slug of the organization.
        region: The one that takes none.
        guests: The machines that were to go there.
        taken: Regions that have machines of the run anyway.
    """
    try:
        listed = [found.code for found in await client.regions() if not found.deprecated]
        free = (code for code in listed if code not in (region, *taken))
        found: list[str] = []
        for code in sorted(free, key=lambda code: _apart(region, code))[: 2 * _ALTERNATIVES]:
            if await _has_room(client, org, code, guests):
                found.append(code)
    except MachinesApiError:
        found = []
    if not found:
        return "`fly platform regions` lists others for --regions"
    return f"name another with --regions, such as {', '.join(found[:_ALTERNATIVES])}"


async def _has_room(client: MachinesClient, org: str, region: str, guests: Sequence[Guest]) -> bool:
    biggest = max(guests, key=lambda guest: (guest.cpus, guest.memory_mb))
    try:
        placed = await client.placements(org, region, len(guests), biggest)
    except MachinesApiError as error:
        if error.status in _NO_ANSWER:
            return True
        raise
    return placed.get(region, 0) >= len(guests)


def _apart(a: str, b: str) -> float:
    """Return how far two regions are apart, as an angle; infinite where one is not known."""
    table = region_table()
    if a not in table or b not in table:
        return math.inf
    one, two = table[a], table[b]
    lat1, lat2 = math.radians(one.latitude), math.radians(two.latitude)
    turn = math.radians(one.longitude - two.longitude)
    cosine = math.sin(lat1) * math.sin(lat2) + math.cos(lat1) * math.cos(lat2) * math.cos(turn)
    return math.acos(max(-1.0, min(1.0, cosine)))
