"""
Deploys one app: fly.toml, regions and an image become running, healthy machines.

Names and labels are deterministic, so deploying again after a failure half-way takes up what is
there, and tearing down finds everything by the run id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import MachinesClient
from loadtest.fly.health import indented, until_healthy
from loadtest.fly.machines import (
    MADE_SECRET,
    Mount,
)
from loadtest.fly.orders import AppOrder, Placement, patience_s, placements
from loadtest.fly.room import others
from loadtest.fly.transport import MachinesApiError

T = TypeVar("T")

_NO_ROOM = ("insufficient_capacity", "volume_placement_capacity")


@dataclass(frozen=True, slots=True)
class DeployedApp:
    """An app that runs: its name, its machines, and whether this deployment made the app."""

    app: str
    machines: tuple[Machine, ...]
    app_created: bool


async def deploy(
    client: MachinesClient, order: AppOrder, done: set[tuple[str, str]]
) -> DeployedApp:
    """
    Bring an app up and return when every machine of it is healthy.

    Args:
        client: The Machines API.
        order: What to deploy.
        done: Release commands that have run, as (command, database URL): several apps on one
            database migrate it once. This call adds its own.

    Returns:
        The app and its machines.

    Raises:
        WorldError: The API refused, the release command failed, or a machine did not get healthy;
            with the last lines of its output where the world tells them.
    """
    places = placements(order)
    made = await release(client, order, done)
    order = replace(order, deadline_s=patience_s(order))
    until = time.monotonic() + order.deadline_s
    machines = await _all([_bring_up(client, order, place, until, made) for place in places])
    return DeployedApp(order.name, tuple(machines), made.app_created)


@dataclass(frozen=True, slots=True)
class ReleasedApp:
    """An app that exists: whether this call made it, and the version of the secrets it set."""

    app_created: bool
    secrets_version: int


async def release(
    client: MachinesClient, order: AppOrder, done: set[tuple[str, str]]
) -> ReleasedApp:
    """
    Make an app, set its secrets and run its release command, unless its database has seen it.

    Args:
        client: The Machines API.
        order: What will be deployed.
        done: Release commands that have run or need not; this call adds its own.

    Raises:
        WorldError: The API refused, the app is somebody's own, or the command failed; with its last
            output.
    """
    created = await client.ensure_app(order.name, org=order.org)
    ours = created
    if not created and not order.adopt:
        ours = await _is_bare(client, order)
    values = dict(order.secrets)
    if ours and order.mark:
        values[MADE_SECRET] = order.run_id
    version = await client.set_secrets(order.name, values) if values else 0
    if order.public:
        await client.ensure_addresses(order.name)
    await _release(client, order, done, version)
    return ReleasedApp(created, version)


async def _is_bare(client: MachinesClient, order: AppOrder) -> bool:
    """
    Tell whether an app that was there has nothing in it, as one of a run that was killed early.

    Raises:
        WorldError: It is not ours, or in use by another run of ours.
    """
    machines = await client.machines(order.name)
    theirs = [machine for machine in machines if not machine.run_id]
    names = set(await client.secret_names(order.name))
    secrets = set() if MADE_SECRET in names else names - set(order.secrets)
    if theirs or secrets:
        what = f"{len(theirs)} machines" if theirs else f"the secret {min(secrets)}"
        raise WorldError(
            f"app {order.name}: exists, with {what} that no run made; it is left alone. Choose "
            f"other names with --prefix, or allow it with --use-app {order.name}"
        )
    if others := {machine.run_id for machine in machines} - {order.run_id}:
        raise WorldError(
            f"app {order.name}: has machines of run {min(others)}. Either that run is going on: "
            "wait for it, or give this one a --prefix of its own; or it was killed: "
            "`loadtest fly clean` destroys what it left"
        )
    return not machines and not names


def release_key(order: AppOrder) -> tuple[str, str]:
    """Return what a release is known by: image, its commands, the database it prepares."""
    database = order.secrets.get("DATABASE_URL") or order.env.get("DATABASE_URL", order.name)
    config = order.config
    return f"{order.image} {config.release_command} {config.seed_command}".rstrip(), database


async def _release(
    client: MachinesClient, order: AppOrder, done: set[tuple[str, str]], secrets_version: int
) -> None:
    """Run the release command, then the seed command, unless their database has seen them."""
    commands = {"release": order.config.release_command, "seed": order.config.seed_command}
    if not any(commands.values()) or release_key(order) in done:
        return
    for what, command in commands.items():
        if command:
            await _run_once(client, order, what, command, secrets_version)
    done.add(release_key(order))


async def _run_once(
    client: MachinesClient, order: AppOrder, what: str, command: str, secrets_version: int
) -> None:
    """Run a command in a machine of its own, to its end."""
    config = order.config.release_config(
        image=order.image or order.config.image,
        primary_region=order.primary_region,
        env={**order.env, **order.env_by_region.get(order.primary_region, {})},
        metadata=order.metadata,
        command=command,
    )
    machine = await client.create_machine(
        order.name,
        name=f"{order.name}-{what}-{order.run_id}",
        region=order.primary_region,
        config=config,
        min_secrets_version=secrets_version,
    )
    limit_s = order.config.release_timeout_s
    try:
        await client.wait(order.name, machine, "stopped", deadline_s=limit_s)
        ended = await client.machine(order.name, machine.id)
    finally:
        await client.destroy(order.name, machine.id)
    last = ended.last_exit if ended is not None else None
    if ended is None or last is None or last.exit_code != 0:
        told = "unknown" if last is None else last.exit_code
        raise WorldError(
            f"app {order.name}: the {what} command {command!r} ended with exit code {told}"
            + indented(ended)
        )


async def _bring_up(
    client: MachinesClient, order: AppOrder, place: Placement, until: float, made: ReleasedApp
) -> Machine:
    """Create one machine and return it healthy."""
    machine = await _create(client, order, place, made.secrets_version)
    return await until_healthy(
        client, order.name, machine, until=until, deadline_s=order.deadline_s
    )


async def _create(
    client: MachinesClient, order: AppOrder, place: Placement, secrets_version: int
) -> Machine:
    """Create one machine, with volumes of its own if its config mounts any."""
    app = order.name
    if place.config.mounts and (found := await client.machine_named(app, place.name)) is not None:
        return found
    mounts: list[Mount] = []
    try:
        for mount in place.config.mounts:
            mounts.append(await client.create_volume(app, mount, place.region))
        return await client.create_machine(
            app,
            name=place.name,
            region=place.region,
            config=replace(place.config, mounts=tuple(mounts)),
            min_secrets_version=secrets_version,
        )
    except WorldError as error:
        for mount in mounts:
            await client.delete_volume(app, mount.volume)
        if isinstance(error, MachinesApiError) and error.code in _NO_ROOM:
            wanted = [place.config.guest]
            near = await others(client, order.org, place.region, wanted, order.regions)
            raise WorldError(
                f"{error}; region {place.region} has run out of room: try again later, or {near}"
            ) from error
        raise


async def _all(jobs: Sequence[Awaitable[T]]) -> list[T]:
    """Run jobs side by side; the first failure cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
