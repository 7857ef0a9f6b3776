"""
Where a run takes place: a Machines API, and what is around it.

All but what `EmbeddedExtras` tells is the same for Fly and for the embedded world: an address, a
token, and the targets that workers of each region find their deployments at.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from loadtest.errors import PlanError, WorldError
from loadtest.fly.ledger import MachineLedger
from loadtest.fly.orders import AppOrder, placements
from loadtest.fly.transport import is_loopback
from loadtest.plan.model import Plan
from loadtest.plan.order import Target, Targets
from loadtest.records.watch import (
    WATCH_SCHEMA,
    NoWatch,
)
from loadtest.records.world_facts import (
    OWN,
    WORLD_SCHEMA,
    ComputerFacts,
    WorldFacts,
)
from loadtest.run.embedded_extras import WORLD_TOKEN_VARIABLE, EmbeddedExtras
from loadtest.run.own_machines import CANNOT_TELL, OwnCoordinator
from loadtest.run.run_deployment import RunDeployment
from loadtest.run.watching import NOT_OURS
from loadtest.versions import versions_of
from loadtest.world.handle import start_world
from loadtest.world.spec import ImageSpec, WorldSpec

FLY_API = "https://api.machines.dev"
FLY_API_VARIABLES = ("FLY_FLAPS_BASE_URL", "FLY_API_HOSTNAME")
FLY_TOKEN_VARIABLES = ("FLY_API_TOKEN", "FLY_ACCESS_TOKEN")
PACKAGES = ("loadtest", "locust", "gevent", "httptools", "psycopg", "pyarrow", "pandas")


@dataclass(frozen=True, slots=True, repr=False)
class RunWorld:
    """
    A Machines API to deploy to.

    Args:
        api_url: Address of the API.
        token: What the API lets in.
        extras: What only an embedded world can tell; None on Fly.
        stand_in: The embedded world that plays Fly, where one does: only it knows where its edges
            listen.
        ledger: What the run makes here, and for how long.
        own: A coordinator that stands already, in place of all this: nothing is deployed.
        paced: The API limits the rate of calls, as Fly's does.
    """

    api_url: str
    token: str
    extras: EmbeddedExtras | None
    stand_in: EmbeddedExtras | None = None
    ledger: MachineLedger = field(default_factory=MachineLedger)
    own: OwnCoordinator | None = None
    paced: bool = True

    @property
    def on_fly(self) -> bool:
        """Tell whether machines are ordered that cost money."""
        return self.extras is None and self.own is None

    @property
    def greeting(self) -> str:
        """Return what is said once it is there."""
        return f"coordinator: {self.own.url}" if self.own else "world: the Machines API answers"

    def coordinator_url(self, plan: Plan, orders: RunDeployment) -> str:
        """Return where the coordinator is reached; raises WorldError as long as it has no edge."""
        if self.own is not None:
            return self.own.url
        return self.app_url(orders.generator.name, plan.primary_region, self.describe(plan))

    def still_there(self) -> None:
        """
        Return if the world answers, as far as that can be told.

        Raises:
            WorldError: It is gone.
        """
        if self.extras is not None:
            with self.extras.hurry():
                self.extras.describe()

    def describe(self, plan: Plan) -> WorldFacts:
        """Return the content of world.json as far as it is known now."""
        if self.extras is not None:
            return self.extras.describe()
        return WorldFacts(
            schema=WORLD_SCHEMA,
            kind="fly" if self.on_fly else OWN,
            regions=plan.regions,
            primary_region=plan.primary_region,
            links=(),
            versions=versions_of(PACKAGES),
            machine=ComputerFacts(platform.platform(), None, None, None),
            watch=NoWatch(WATCH_SCHEMA, NOT_OURS if self.on_fly else CANNOT_TELL),
            api=self.api_url,
            edges=None if self.stand_in is None else self.stand_in.describe().edges,
        )

    def targets(self, plan: Plan, orders: RunDeployment, world: WorldFacts) -> Targets:
        """Return client region -> deployment -> target."""
        found: Targets = {}
        for region in plan.regions:
            found[region] = {}
            for name in plan.arms_in(region):
                deployment = plan.deployment(name)
                url = deployment.url.rstrip("/")
                if not url:
                    secure = plan.scheme_of(deployment) == "https"
                    app = orders.apps[name].name
                    found[region][name] = self._edge(app, region, world, secure=secure)
                elif deployment.at and self.extras is not None:
                    found[region][name] = self.extras.way_to(url, deployment.at, region)
                else:
                    found[region][name] = Target(url=url)
                http = plan.http_of(deployment)
                found[region][name] = found[region][name].model_copy(update={"http": http})
        return found

    def app_url(self, app: str, region: str, world: WorldFacts, *, secure: bool = False) -> str:
        """
        Return the address at which a client of a region reaches an app.

        Args:
            app: Its name.
            region: Of the client.
            world: What the world tells.
            secure: Where an embedded world's edges end TLS.
        """
        if self.extras is None and self.stand_in is None:
            return f"https://{app}.fly.dev"
        if (url := world.edge_of(region, app, secure=secure)) is None:
            raise WorldError(
                f"the world has no edge for app {app!r} in {region}; "
                "does its fly.toml have an [http_service]?"
            )
        return url

    def _edge(self, app: str, region: str, world: WorldFacts, *, secure: bool) -> Target:
        if not secure or self.extras is None:
            return Target(url=self.app_url(app, region, world))
        url = self.app_url(app, region, world, secure=True)
        return Target(url=url, host=f"{app}.fly.dev", ca_file=world.authority or "")


@contextmanager
def open_place(
    plan: Plan,
    orders: RunDeployment,
    world_url: str,
    scratch: Path | None = None,
    own: OwnCoordinator | None = None,
    *,
    afterwards: ExitStack | None = None,
) -> Iterator[RunWorld]:
    """
    Give the place that a plan wants; an embedded world is started here and ended afterwards.

    Args:
        plan: Resolved plan.
        orders: What will be deployed: its folders stand in for images.
        world_url: A world that is up already, or empty.
        scratch: A folder that has to go with an embedded world, should this process be killed.
        own: A coordinator with workers on machines of a person's own, or None.
        afterwards: An embedded world that was started here is told to end when this is left, and
            waited for when that is; None waits at once.  What gives it brings a load generator.

    Raises:
        WorldError: The world cannot be started or reached.
        PlanError: A token is missing.
    """
    if own is not None:
        yield RunWorld(own.url, own.token, None, own=own)
    elif world_url:
        extras = EmbeddedExtras(world_url, token := _token((WORLD_TOKEN_VARIABLE,)))
        try:
            extras.describe()
            yield RunWorld(world_url, token, extras)
        finally:
            extras.close()
    elif plan.world == "fly":
        with fly_place() as place:
            yield place
    elif plan.world == OWN:
        raise PlanError(
            "world: 'own' is machines of your own; say where their coordinator is with "
            "--coordinator URL"
        )
    else:
        spec = world_spec(plan, orders, generator=afterwards is not None)
        with ExitStack() as here:
            # nobody else calls it yet: it is to come up, not to let its maker wait
            alone = replace(spec, lenient=True, scratch=(scratch,) if scratch else ())
            handle = start_world(alone)
            (afterwards or here).callback(handle.stop)
            here.callback(handle.begin_stop)
            extras = EmbeddedExtras(handle.api_url, handle.token)
            here.callback(extras.close)
            yield RunWorld(handle.api_url, handle.token, extras, paced=False)


@contextmanager
def fly_place() -> Iterator[RunWorld]:
    """
    Give Fly, or what plays Fly at the address that the environment names.

    Raises:
        PlanError: A token is missing, or the address is no URL.
    """
    url = next((value for name in FLY_API_VARIABLES if (value := os.environ.get(name))), FLY_API)
    token = _token(FLY_TOKEN_VARIABLES)
    stand_in = _stand_in(url, token) if is_loopback(url) else None
    try:
        yield RunWorld(url, token, None, stand_in)
    finally:
        if stand_in is not None:
            stand_in.close()


def _stand_in(url: str, token: str) -> EmbeddedExtras | None:
    """Return the embedded world behind a loopback address, None where that leads to Fly's API."""
    extras = EmbeddedExtras(url, token, name=FLY_API_VARIABLES[0])
    try:
        extras.describe()
    except WorldError:
        extras.close()
        return None
    return extras


def world_spec(plan: Plan, orders: RunDeployment, *, generator: bool = False) -> WorldSpec:
    """
    Return the embedded world that a plan wants.

    Args:
        plan: Resolved plan.
        orders: What will be deployed.
        generator: The load generator will be, too, at once.
    """
    return WorldSpec(
        regions=plan.regions,
        primary_region=plan.primary_region,
        rtt_ms=plan.network.rtt_ms,
        same_region_ms=plan.network.same_region_ms,
        layer=plan.network.layer,
        seed=plan.seed,
        database=orders.database is not None,
        programs=tuple(sorted(set(_programs(orders.every if generator else orders.measured)))),
        tolerance_ms=plan.network.tolerance_ms,
        tolerance_share=plan.network.tolerance_share,
        images={
            **{name: ImageSpec(cwd=Path(folder)) for name, folder in orders.folders.items()},
            **{
                name: ImageSpec(cwd=Path("/"), archive=Path(path))
                for name, path in orders.archives.items()
            },
        },
    )


def _programs(orders: Iterable[AppOrder]) -> Iterator[str]:
    """Yield the modules that machines will run."""
    for order in orders:
        for placement in placements(order):
            for before, word in pairwise(placement.config.cmd):
                if before == "-m":
                    yield word


def _token(variables: tuple[str, ...]) -> str:
    for name in variables:
        if value := os.environ.get(name):
            if not (value.isascii() and value.isprintable()):
                raise PlanError(f"{name}: holds a character that no token has; set it anew")
            return value
    raise PlanError(
        f"no token: set {' or '.join(variables)} in the environment "
        "(`fly tokens create org -x 2h` makes one for Fly; `loadtest world up` prints its own)"
    )
