"""
Deploys one app: fly.toml, regions and an image become running, healthy machines.

Names and labels are deterministic, so deploying again after a failure half-way takes up what is
there, and tearing down finds everything by the run id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from loadtest.errors import PlanError, WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import MachinesClient
from loadtest.fly.config import AppConfig
from loadtest.fly.machines import (
    EDGE_CONNECTIONS_KEY,
    FRESH,
    MADE_SECRET,
    RUN_ID_KEY,
    GuestFile,
    MachineConfig,
    Mount,
)
from loadtest.fly.transport import MachinesApiError
from loadtest.text import telling_lines

T = TypeVar("T")

_POLL_S = 0.1
_LONGEST_POLL_S = 0.5
_CRASHES_TOLD = 3  # an app that ended this often is not going to get healthy by itself
_OUTPUT_LINES = 12
_NO_ROOM = ("insufficient_capacity", "volume_placement_capacity")


@dataclass(frozen=True, slots=True)
class AppOrder:
    """
    What to deploy, and where.

    Args:
        config: The app's fly.toml.
        regions: Where its machines run unless ``group_regions`` says otherwise.
        primary_region: Becomes PRIMARY_REGION.
        run_id: Label that clean-up finds machines by.
        image: Image; empty means the one fly.toml names.
        app: Name of the app; empty means the one fly.toml names.
        org: Organization that a missing app is made in.
        secrets: Set before any machine is made.
        env: Laid over fly.toml's environment.
        env_by_region: Laid over that, for machines of one region.
        edge_keeps_connections: False asks an embedded world for edges that open a connection to
            the app for every request.
        group_regions: Regions by process group.
        counts: Machines per region by process group; 1 where a group is not named.
        deadline_s: Seconds until every machine must be healthy.
        public: Give the app the addresses that its public name needs.
        adopt: Deploy to an app of this name that exists and that no run of ours made.
        mark: Mark the app as a run's own where this deployment makes it.
        restart: Restart policy of every machine, in place of what fly.toml says.
        auto_destroy: The platform destroys a machine once it has stopped.
        wrap: Words that are put before the program of every machine that names one.
        files: Files written into every machine, beside those of fly.toml.
    """

    config: AppConfig
    regions: tuple[str, ...]
    primary_region: str
    run_id: str
    image: str = ""
    app: str = ""
    org: str = "personal"
    secrets: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    env_by_region: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    edge_keeps_connections: bool = True
    group_regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    deadline_s: float = 60.0
    public: bool = False
    adopt: bool = True
    mark: bool = False
    restart: str = ""
    auto_destroy: bool = False
    wrap: tuple[str, ...] = ()
    files: tuple[GuestFile, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of the app."""
        return self.app or self.config.name

    @property
    def metadata(self) -> dict[str, str]:
        """Return the labels that tell the run."""
        return {RUN_ID_KEY: self.run_id}


@dataclass(frozen=True, slots=True)
class Placement:
    """One machine to be: its name, region and config."""

    name: str
    region: str
    config: MachineConfig


@dataclass(frozen=True, slots=True)
class DeployedApp:
    """An app that runs: its name, its machines, and whether this deployment made the app."""

    app: str
    machines: tuple[Machine, ...]
    app_created: bool


def placements(order: AppOrder) -> tuple[Placement, ...]:
    """
    Return the machines that an order asks for, primary region first.

    Raises:
        PlanError: No image is named, or a process group that fly.toml does not define.
    """
    config, image = order.config, order.image or order.config.image
    if not image:
        raise PlanError(f"app {order.name}: no image; name one in [build] image or when deploying")
    named = {*order.group_regions, *order.counts}
    if unknown := sorted(named - set(config.processes)):
        raise PlanError(
            f"app {order.name}: no process group {unknown[0]!r} in its fly.toml; "
            f"there are: {', '.join(config.processes)}"
        )
    found = []
    for group in config.processes:
        for region in order.group_regions.get(group, order.regions):
            machine = config.machine_config(
                group,
                image=image,
                primary_region=order.primary_region,
                env={**order.env, **order.env_by_region.get(region, {})},
                metadata=order.metadata
                if order.edge_keeps_connections
                else {**order.metadata, EDGE_CONNECTIONS_KEY: FRESH},
            )
            if order.restart:
                machine = replace(machine, restart_policy=order.restart)
            machine = replace(machine, auto_destroy=machine.auto_destroy or order.auto_destroy)
            machine = _wrapped(machine, order.wrap)
            machine = replace(machine, files=(*machine.files, *order.files))
            for number in range(1, order.counts.get(group, 1) + 1):
                name = f"{order.name}-{group}-{region}-{number}-{order.run_id}"
                found.append(Placement(name, region, machine))
    found.sort(key=lambda place: place.region != order.primary_region)
    return tuple(found)


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
    until = time.monotonic() + order.deadline_s
    machines = await _all(
        [_bring_up(client, order, place, until, made.secrets_version) for place in places]
    )
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


def last_lines(machine: Machine) -> str:
    """Return the end of a machine's output as far as checks and events tell it, or nothing."""
    outputs = [check.output for check in machine.checks if not check.passing and check.output]
    ended = machine.last_exit
    text = (ended.output if ended is not None else "") or "\n".join(outputs)
    return "\n".join(f"  | {line}" for line in telling_lines(text, _OUTPUT_LINES))


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
            + _indented(ended)
        )


async def _bring_up(
    client: MachinesClient, order: AppOrder, place: Placement, until: float, secrets_version: int
) -> Machine:
    """Create one machine and return it healthy."""
    app, deadline_s = order.name, order.deadline_s
    machine = await _create(client, app, place, secrets_version)
    poll_s = _POLL_S
    while True:
        seen = await client.machine(app, machine.id)
        if seen is None:
            raise WorldError(f"machine {place.name} of app {app} vanished while it was starting")
        if seen.healthy:
            return seen
        _raise_if_crashed(app, seen)
        if time.monotonic() >= until:
            raise WorldError(_unhealthy(app, seen, deadline_s))
        await asyncio.sleep(poll_s)
        poll_s = min(_LONGEST_POLL_S, poll_s * 1.3)


async def _create(
    client: MachinesClient, app: str, place: Placement, secrets_version: int
) -> Machine:
    """Create one machine, with volumes of its own if its config mounts any."""
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
            raise WorldError(
                f"{error}; region {place.region} has run out of room: name another with --regions, "
                "or try again later"
            ) from error
        raise


def _raise_if_crashed(app: str, machine: Machine) -> None:
    exits = [event for event in machine.events if event.exit_code is not None]
    over = machine.state in ("stopped", "failed", "destroyed") and bool(exits)
    if over or len(exits) >= _CRASHES_TOLD:
        ended = machine.last_exit
        code = ended.exit_code if ended is not None else "unknown"
        raise WorldError(
            f"machine {machine.name} of app {app} in {machine.region} does not stay up: "
            f"it ended with exit code {code}{_indented(machine)}"
        )


def _unhealthy(app: str, machine: Machine, deadline_s: float) -> str:
    failing = [check.name for check in machine.checks if not check.passing]
    reason = f"check {failing[0]} does not pass" if failing else f"its state is {machine.state}"
    return (
        f"machine {machine.name} of app {app} in {machine.region} did not become healthy within "
        f"{deadline_s:g} s: {reason}{_indented(machine)}"
    )


def _indented(machine: Machine | None) -> str:
    lines = last_lines(machine) if machine is not None else ""
    return f"; its last output:\n{lines}" if lines else ""


def _wrapped(config: MachineConfig, words: tuple[str, ...]) -> MachineConfig:
    """Put words before the program; an image's own start command, which is not known, stays."""
    if config.entrypoint:
        return replace(config, entrypoint=(*words, *config.entrypoint))
    return replace(config, cmd=(*words, *config.cmd)) if config.cmd else config


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
