"""Destroys what a run made, each thing whatever becomes of the others, and says what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import MachinesClient
from loadtest.fly.machines import MADE_SECRET
from loadtest.fly.transport import MachinesApiError

_ATTEMPTS = 3
NOT_FOUND = 404


async def destroy_run(client: MachinesClient, app: str, run_id: str) -> int:
    """
    Destroy every machine of an app that a run made, and the volumes made for them.

    An app that a run made goes, too, unless it has machines still.

    Returns:
        How many there were.

    Raises:
        WorldError: Some are left; each was tried, and each fault is told.
    """
    try:  # one that has just been made may be unknown still
        there = await client.until_known(app, attempts=_ATTEMPTS)
    except MachinesApiError as error:
        if error.status != NOT_FOUND:
            raise
        client.ledger.only(app, ())
        return 0
    machines = _of_run(there, run_id)
    faults = await destroy_machines(client, app, machines)
    there = await client.machines(app)
    left = _of_run(there, run_id)
    client.ledger.only(app, [machine.id for machine in left])
    if left or faults:
        names = ", ".join(machine.name for machine in left) or "no machine"
        raise WorldError(
            f"app {app}: {names} of run {run_id} left after clean-up"
            + "".join(f"\n  {fault}" for fault in faults)
        )
    if not there:
        await delete_if_made(client, app)
    return len(machines)


def _of_run(machines: Sequence[Machine], run_id: str) -> list[Machine]:
    return [machine for machine in machines if machine.run_id == run_id]


async def delete_if_made(client: MachinesClient, app: str, *, bare_too: bool = False) -> None:
    """
    Delete an app without machines that a run made; without force, so that a race is lost.

    Args:
        client: The Machines API.
        app: Its name.
        bare_too: An app without any secret counts as made by a run.
    """
    names = await client.secret_names(app)
    if MADE_SECRET in names or (bare_too and not names):
        await client.delete_app(app, force=False)


async def destroy_machines(
    client: MachinesClient, app: str, machines: Sequence[Machine]
) -> list[str]:
    """Destroy machines side by side, with their volumes; return the faults, one each."""
    return await _every([_destroy(client, app, machine) for machine in machines])


async def _destroy(client: MachinesClient, app: str, machine: Machine) -> None:
    """Destroy a machine and the volumes that were made for it."""
    await client.destroy(app, machine.id)
    await client.wait(app, machine, "destroyed")
    for mount in machine.config.mounts:
        await client.delete_volume(app, mount.volume)


async def _every(jobs: Sequence[Awaitable[None]]) -> list[str]:
    """Run jobs side by side, each to its end whatever becomes of the others; return the faults."""
    results = await asyncio.gather(*jobs, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, WorldError):
            raise result
    return [str(result) for result in results if isinstance(result, WorldError)]
