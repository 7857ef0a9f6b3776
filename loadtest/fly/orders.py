"""What to deploy, and which machines that makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.machines import (
    NEW_CONNECTIONS_KEY,
    RUN_ID_KEY,
    GuestFile,
    MachineConfig,
)


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
        new_connection_share: Share of requests for which the edges of an embedded world are asked
            to open a connection to the app.
        group_regions: Regions by process group.
        counts: Machines per region by process group; 1 where a group is not named.
        deadline_s: Seconds until every machine must be healthy; longer where a ``grace_period`` of
            fly.toml is.
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
    new_connection_share: float = 0.0
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
        """Return the labels that tell the run, and what it asks of edges."""
        share = self.new_connection_share
        asked = {NEW_CONNECTIONS_KEY: f"{share:g}"} if share else {}
        return {RUN_ID_KEY: self.run_id, **asked}


@dataclass(frozen=True, slots=True)
class Placement:
    """One machine to be: its name, region and config."""

    name: str
    region: str
    config: MachineConfig


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
                metadata=order.metadata,
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


def patience_s(order: AppOrder) -> float:
    """
    Return how long machines of an order may take to get healthy, in seconds.

    A check with a ``grace_period`` beyond the order's deadline is waited for, and asked once more.
    """
    checks = [
        check
        for place in placements(order)
        for check in (
            *place.config.checks.values(),
            *(check for service in place.config.services for check in service.checks),
        )
    ]
    grace_s = [
        c.grace_period_s + c.timeout_s for c in checks if c.grace_period_s > order.deadline_s
    ]
    return max([order.deadline_s, *grace_s])


def _wrapped(config: MachineConfig, words: tuple[str, ...]) -> MachineConfig:
    """Put words before the program; an image's own start command, which is not known, stays."""
    if config.entrypoint:
        return replace(config, entrypoint=(*words, *config.entrypoint))
    return replace(config, cmd=(*words, *config.cmd)) if config.cmd else config
