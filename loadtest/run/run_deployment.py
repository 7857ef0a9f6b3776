"""From a plan to what is deployed: apps, their regions, their secrets; only reads files."""

from __future__ import annotations

import base64
import json
import os
import posixpath
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from loadtest.assets import find_asset
from loadtest.errors import PlanError
from loadtest.fly.config import AppConfig
from loadtest.fly.deploy import AppOrder
from loadtest.fly.machines import GuestFile
from loadtest.plan.model import Deployment, Plan
from loadtest.run.app_files import OUR_IMAGE, image_name, our_image, platform_keys, read_file
from loadtest.run.companions import addresses, companion_orders
from loadtest.run.images import checked
from loadtest.run.own_keys import curve_keys
from loadtest.run.start_command import search_path, with_start_command

DATABASE_USER = "postgres"
DATABASE_PORT = 5432
REPLICA_PORT = 5433
_UNNAMED_APP = "app"
_IMAGE_FOLDER = "/app"  # where the Dockerfile's programs run
_MOST_SCENARIO_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Passwords and keys of one run, made anew for each; never shown, never stored."""

    database: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    replication: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    curve: Mapping[str, str] = field(default_factory=curve_keys)


@dataclass(frozen=True, slots=True)
class RunDeployment:
    """
    Everything that is deployed for a run.

    Args:
        database: The PostgreSQL app, or None.
        apps: One order for each deployment that is not a URL, by the deployment's name.
        generator: The load generator's app.
        folders: Image name -> folder that the commands of its machines run in (embedded world).
        companions: Orders of what stands beside the deployments, by name.
        archives: Image name -> the image itself, a folder or a tar (embedded world).
        database_first: Apps are started when the database is ready, not beside it.
    """

    database: AppOrder | None
    apps: Mapping[str, AppOrder]
    generator: AppOrder
    folders: Mapping[str, str]
    archives: Mapping[str, str] = field(default_factory=dict)
    database_first: bool = True
    companions: Mapping[str, AppOrder] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[AppOrder, ...]:
        """Return every app but the generator's: the database's first, then companions."""
        database = () if self.database is None else (self.database,)
        return (*database, *self.companions.values(), *self.apps.values())

    @property
    def every(self) -> tuple[AppOrder, ...]:
        """Return every app."""
        return (*self.measured, self.generator)


def orders_of(
    plan: Plan,
    run_id: str,
    keys: Secrets,
    *,
    image: str = "",
    app_secrets: Mapping[str, str] | None = None,
) -> RunDeployment:
    """
    Turn a plan into deployment orders.

    Args:
        plan: Resolved plan.
        run_id: Label of everything that is made.
        keys: The run's secrets.
        image: Image reference for our own apps; empty takes what each fly.toml names.
        app_secrets: Environment of every app that is not stored or shown anywhere.

    Raises:
        PlanError: A fly.toml is missing or wrong.
    """
    folders: dict[str, str] = {OUR_IMAGE: str(Path.cwd())}
    archives: dict[str, str] = {}
    database = _database_order(plan, run_id, keys, image)
    urls = _database_urls(plan, database, keys, "")
    companions = companion_orders(plan, run_id, urls, image)
    taken: set[str] = {order.name for order in companions.values()}
    apps: dict[str, AppOrder] = {}
    for deployment in plan.deployments:
        if deployment.url:
            continue
        order = _app_order(plan, deployment, run_id, taken)
        order = replace(
            order,
            image=_image_reference(
                plan, deployment, order.config, image, folders=folders, archives=archives
            ),
            secrets={
                **_database_urls(plan, database, keys, deployment.database),
                **(app_secrets or {}),
            },
            env={
                **addresses(plan, companions, deployment.name, {**order.config.env, **order.env}),
                **order.env,
            },
        )
        taken.add(order.name)
        apps[deployment.name] = order
    return RunDeployment(
        database,
        apps,
        _generator_order(plan, run_id, keys, image),
        folders,
        archives=archives,
        database_first=plan.database.first,
        companions=companions,
    )


def file_notes(plan: Plan, orders: RunDeployment) -> tuple[str, ...]:
    """
    Return what a person should know of the fly.toml files of a run: keys that do nothing there.

    A sentence that holds for several deployments is told once.
    """
    told: dict[str, list[str]] = {}
    for name, order in (
        ("the database", orders.database),
        *orders.companions.items(),
        *orders.apps.items(),
        ("the generator", orders.generator),
    ):
        if order is None:
            continue
        here = () if plan.world == "fly" else order.config.embedded_notes
        for note in (*order.config.notes, *here):
            told.setdefault(note, []).append(name)
    return tuple(f"fly.toml of {', '.join(names)}: {note}" for note, names in told.items())


def _database_order(plan: Plan, run_id: str, keys: Secrets, image: str) -> AppOrder | None:
    if not plan.database.fly_toml or not any(d.fly_toml for d in plan.deployments):
        return None
    config = read_file(plan.database.fly_toml, "database.fly_toml")
    everywhere = plan.database.regions == "all"
    return AppOrder(
        config=config,
        regions=plan.regions if everywhere else (plan.primary_region,),
        primary_region=plan.primary_region,
        run_id=run_id,
        image=our_image(plan, config, image),
        secrets={
            "OPERATOR_PASSWORD": keys.database,
            "SU_PASSWORD": keys.database,
            "REPL_PASSWORD": keys.replication,
        },
        env={
            "DATABASE_NAME": plan.database.database,
            **({"MORE_DATABASES": ",".join(own)} if (own := _own_databases(plan)) else {}),
        },
        deadline_s=plan.healthy_within_s,
        **platform_keys(plan),
    )


def _generator_order(plan: Plan, run_id: str, keys: Secrets, image: str) -> AppOrder:
    config = read_file(plan.generator.fly_toml, "generator.fly_toml")
    return AppOrder(
        config=config,
        regions=plan.regions,
        primary_region=plan.primary_region,
        run_id=run_id,
        image=our_image(plan, config, image),
        secrets={"LOADTEST_TOKEN": keys.token, **keys.curve, **_script_environment(plan)},
        group_regions={"coordinator": (plan.primary_region,), "worker": plan.regions},
        counts={"worker": plan.generator.workers_per_region},
        deadline_s=plan.healthy_within_s,
        public=True,
        files=_scenario_files(plan),
        **platform_keys(plan),
    )


def _own_databases(plan: Plan) -> tuple[str, ...]:
    """Return the names of databases that single deployments have to themselves."""
    asked = dict.fromkeys(d.database for d in plan.deployments if d.fly_toml)
    return tuple(name for name in asked if name not in ("", plan.database.database))


def _app_order(plan: Plan, deployment: Deployment, run_id: str, taken: set[str]) -> AppOrder:
    """Return the order of one deployment but for its image and its secrets."""
    config = read_file(deployment.fly_toml, f"deployments.{deployment.name}.fly_toml")
    config = replace(config, name=_app_name(plan, deployment, config, taken))
    if deployment.release_command:
        config = replace(config, release_command=deployment.release_command)
    if plan.world == "embedded" and config.gpu_groups:
        raise PlanError(
            f"deployments.{deployment.name}: {deployment.fly_toml} gives group "
            f"{config.gpu_groups[0]} a GPU, which is not offered here; choose a [[vm]] size "
            "without one, or run it with --world fly"
        )
    if plan.world == "embedded" and deployment.image:
        env = dict(deployment.env)  # it brings its own programs
    elif plan.world == "embedded" and image_name(config.image) != OUR_IMAGE:
        folder = Path(deployment.folder or config.folder)
        config = with_start_command(
            config, deployment.command, folder, f"deployments.{deployment.name}"
        )
        env = {**search_path(None, (folder, config.folder)), **deployment.env}
    else:
        env = dict(deployment.env)
    if deployment.connection_per_database_use:
        env["DATABASE_CONNECTIONS"] = "per-request"
    if plan.world != "fly" and any(plan.base_ms.values()):  # a real app takes the time it takes
        env["APP_BASE_MS"] = _base_times(plan)
    return AppOrder(
        config=config,
        regions=_machine_regions(plan, deployment),
        primary_region=plan.primary_region,
        run_id=run_id,
        env=env,
        edge_keeps_connections=deployment.edge_keeps_connections,
        deadline_s=plan.healthy_within_s,
        public=True,
        **platform_keys(plan),
    )


def _script_environment(plan: Plan) -> dict[str, str]:
    """Return our own environment for a locustfile that is played on this machine, as one secret."""
    if plan.locustfile is None or plan.world == "fly":
        return {}
    return {"LOADTEST_SCRIPT_ENVIRONMENT": json.dumps(dict(os.environ))}


def _scenario_files(plan: Plan) -> tuple[GuestFile, ...]:
    """
    Return the scenario as a file of the generator's machines, where they are not this one.

    A person's own scenario needs no image of its own; the one that the image has makes way for the
    one that the plan was checked with.  Only the file itself travels.

    Raises:
        PlanError: It cannot be read, or is too large.
    """
    found = find_asset(plan.scenario)
    if plan.world != "fly" or found is None:
        return ()
    try:
        content = found.read_bytes()
    except OSError as error:
        raise PlanError(f"scenario: {found} cannot be read: {error.strerror}") from error
    if len(content) > _MOST_SCENARIO_BYTES:
        raise PlanError(
            f"scenario: {found} has {len(content)} bytes; {_MOST_SCENARIO_BYTES} can travel to a "
            "machine; put its data into an image of your own (--image)"
        )
    path = posixpath.normpath(posixpath.join(_IMAGE_FOLDER, plan.scenario))
    return (GuestFile(path, base64.b64encode(content).decode()),)


def _base_times(plan: Plan) -> str:
    """
    Return how long the app waits, by client region.

    A base time is what a client beside a machine feels, so the hop from the edge to that machine is
    in it: the link adds that one, the app the rest.
    """
    hop_ms = plan.network.same_region_ms
    return ",".join(f"{code}={max(0.0, ms - hop_ms):g}" for code, ms in plan.base_ms.items())


def _machine_regions(plan: Plan, deployment: Deployment) -> tuple[str, ...]:
    """Return the primary region, and where clients are unless the plan says where machines are."""
    if deployment.regions:
        return tuple(c for c in plan.regions if c in (plan.primary_region, *deployment.regions))
    clients = plan.clients_of(deployment) if deployment.machines == "all" else ()
    return tuple(c for c in plan.regions if c == plan.primary_region or c in clients)


def _database_urls(
    plan: Plan, database: AppOrder | None, keys: Secrets, own: str
) -> dict[str, str]:
    """Return the addresses of primary and nearest replica; apps that want neither ignore them."""
    if database is None:
        return {}
    login = f"postgres://{DATABASE_USER}:{quote(keys.database, safe='')}"
    name = own or plan.database.database
    nearest = f"top1.nearest.of.{database.name}.internal"
    primary = f"{database.name}.internal:{DATABASE_PORT}"
    if plan.world == "fly":
        # 5432 is answered by any machine of the app, which passes it on to the primary: a query of
        # Paris may travel by Sydney.  One region's own server is what is meant.
        primary = f"{plan.primary_region}.{database.name}.internal:{REPLICA_PORT}"
    return {
        "DATABASE_URL": f"{login}@{primary}/{name}",
        "REPLICA_DATABASE_URL": f"{login}@{nearest}:{REPLICA_PORT}/{name}",
    }


def _app_name(plan: Plan, deployment: Deployment, config: AppConfig, taken: set[str]) -> str:
    """
    Name an app as its fly.toml does; variants and further revisions get a word behind it.

    Raises:
        PlanError: On Fly, where names are everybody's, and the file has none.
    """
    if not config.name and plan.world == "fly":
        raise PlanError(
            f"deployments.{deployment.name}: {deployment.fly_toml} names no app, and names on Fly "
            'are everybody\'s; write app = "my-app" at its top'
        )
    name = config.name or _UNNAMED_APP
    if not deployment.of and name not in taken:
        return name
    return f"{name}-{deployment.name.removeprefix(deployment.of + '-')}"


def _image_reference(
    plan: Plan,
    deployment: Deployment,
    config: AppConfig,
    image: str,
    *,
    folders: dict[str, str],
    archives: dict[str, str],
) -> str:
    """
    Choose a deployment's image: ours, its own, or one that stands for its folder on this machine.

    Raises:
        PlanError: On Fly, none is named that Fly could pull; here, the one that is named cannot be
            read.
    """
    if deployment.image:
        if plan.world == "fly":
            return deployment.image
        key = f"deployments.{deployment.name}.image"
        archives[config.name] = str(checked(Path(deployment.image), key))
        return f"{config.name}:local"
    if image_name(config.image) == OUR_IMAGE and not deployment.folder:
        return our_image(plan, config, image)
    if plan.world == "fly":
        if not config.image:
            raise PlanError(
                f"deployments.{deployment.name}: its fly.toml names no image, and Fly builds none "
                "here; name one in [build] image, or deploy it with flyctl and give its url"
            )
        return config.image
    folders[config.name] = str(Path(deployment.folder or config.folder).resolve())
    return f"{config.name}:local"
