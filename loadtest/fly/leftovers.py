"""
Finds what runs made in an organization and what is still there, whichever run made it.

A machine is a run's own when its metadata says so, an app when a run marked it as it made it.
Nothing else is ever touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.cleanup import delete_if_made, destroy_machines
from loadtest.fly.client import MachinesClient
from loadtest.fly.machines import MADE_SECRET
from loadtest.fly.transport import MachinesApiError

_AT_A_TIME = 8

T = TypeVar("T")
L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class Leftover:
    """
    What runs have left in one app.

    Args:
        app: Name of the app.
        made: A run made the app itself.
        machines: Machines that runs made in it.
        others: How many machines it has that no run made.
    """

    app: str
    made: bool
    machines: tuple[Machine, ...]
    others: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, and what could not be looked at or destroyed, each with its reason."""

    leftovers: tuple[Leftover, ...]
    faults: tuple[str, ...]


async def find_leftovers(
    client: MachinesClient, org: str, *, run_id: str = "", prefix: str = ""
) -> Findings:
    """
    Look through every app of an organization.

    Args:
        client: The Machines API.
        org: Slug of the organization.
        run_id: Keep what this run made; empty keeps what any run made.
        prefix: What stands in front of the names of apps that runs make. One with nothing in it was
            made by a run that was killed before it could mark it.

    Raises:
        MachinesApiError: The apps cannot be listed.
    """

    async def listed() -> list[str]:
        return [app.name for app in await client.apps(org)]

    async def look(app: str) -> Leftover:
        try:
            every = await client.machines(app)
        except MachinesApiError as error:
            if error.status not in (401, 404):
                raise
            if app not in await listed():
                return Leftover(app, made=False, machines=())
            every = await client.until_known(app)
        ours = [machine for machine in every if machine.run_id]
        names = await client.secret_names(app) if len(ours) == len(every) else ("of others",)
        bare = not every and not names and bool(prefix) and app.startswith(f"{prefix}-")
        made = MADE_SECRET in names or bare
        kept = tuple(machine for machine in ours if run_id in ("", machine.run_id))
        return Leftover(app, made, kept, len(every) - len(ours))

    found, faults = await _each(look, await listed())
    kept = tuple(
        leftover
        for leftover in sorted(found, key=lambda leftover: leftover.app)
        if leftover.machines or (leftover.made and not run_id)
    )
    return Findings(kept, faults)


async def destroy_leftovers(client: MachinesClient, leftovers: Iterable[Leftover]) -> Findings:
    """
    Destroy machines of runs, and the apps that runs made once nothing is in them.

    Returns:
        What is left after all, looked at again, and each fault on the way.
    """
    again: list[Leftover] = []

    async def clear(leftover: Leftover) -> list[str]:
        faults = await destroy_machines(client, leftover.app, leftover.machines)
        wanted = {machine.id for machine in leftover.machines}
        there = await client.machines(leftover.app)
        left = tuple(machine for machine in there if machine.id in wanted)
        if leftover.made and not there:
            await delete_if_made(client, leftover.app, bare_too=True)
        elif left:
            again.append(replace(leftover, machines=left))
        return faults

    told, faults = await _each(clear, leftovers)
    return Findings(tuple(again), (*(fault for faults in told for fault in faults), *faults))


async def _each(
    work: Callable[[L], Awaitable[T]], items: Iterable[L]
) -> tuple[list[T], tuple[str, ...]]:
    """Do the work for each item, a few at a time; return results, and the faults of the others."""
    gate = asyncio.Semaphore(_AT_A_TIME)
    done: list[T] = []
    faults: list[str] = []

    async def one(item: L) -> None:
        async with gate:
            try:
                done.append(await work(item))
            except WorldError as error:
                faults.append(str(error))

    await asyncio.gather(*(one(item) for item in items))
    return done, tuple(faults)
