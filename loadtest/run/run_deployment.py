"""From a plan to what is deployed: apps, their regions, their secrets; only reads files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.orders import AppOrder
from loadtest.plan.apps import Deployment
from loadtest.plan.model import Plan
from loadtest.run.app_files import OUR_IMAGE, image_name, our_image, platform_keys, read_file
from loadtest.run.companions import addresses, companion_orders
from loadtest.run.database_order import database_order, database_urls
from loadtest.run.generator_order import generator_order
from loadtest.run.images import checked
from loadtest.run.run_secrets import Secrets
from loadtest.run.start_command import search_path, with_start_command

_UNNAMED_APP = "app"


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
        app_secrets: Environment of every app, and of the scenario, that is not stored or shown
            anywhere.

    Raises:
        PlanError: A fly.toml is missing or wrong.
    """
    folders: dict[str, str] = {OUR_IMAGE: str(Path.cwd())}
    archives: dict[str, str] = {}
    database = database_order(plan, run_id, keys, image)
    urls = database_urls(plan, database, keys)
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
                **database_urls(plan, database, keys, deployment),
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
        generator_order(plan, run_id, keys, image, app_secrets or {}),
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
        config = order.config
        here = () if plan.world == "fly" else config.embedded_notes
        if plan.world != "fly" and name in orders.apps and config.name not in orders.archives:
            here += config.folder_notes
        for note in (*config.notes, *here):
            told.setdefault(note, []).append(name)
    return tuple(f"fly.toml of {', '.join(names)}: {note}" for note, names in told.items())


def _app_order(plan: Plan, deployment: Deployment, run_id: str, taken: set[str]) -> AppOrder:
    """Return the order of one deployment but for its image and its secrets."""
    config = read_file(deployment.fly_toml, f"deployments.{deployment.name}.fly_toml")
    config = replace(config, name=_app_name(plan, deployment, config, taken))
    if deployment.release_command:
        config = replace(config, release_command=deployment.release_command)
    if deployment.seed_command:
        config = replace(config, seed_command=deployment.seed_command)
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
    if deployment.new_connection_share:
        env["NEW_CONNECTION_SHARE"] = f"{deployment.new_connection_share:g}"
    if plan.world != "fly" and any(plan.base_ms.values()):  # a real app takes the time it takes
        env["APP_BASE_MS"] = _base_times(plan)
    return AppOrder(
        config=config,
        regions=_machine_regions(plan, deployment),
        primary_region=plan.primary_region,
        run_id=run_id,
        env=env,
        new_connection_share=deployment.new_connection_share,
        deadline_s=plan.patience_s,
        public=True,
        **platform_keys(plan),
    )


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
