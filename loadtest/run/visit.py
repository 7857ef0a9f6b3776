"""`loadtest world up`: a world to look around in, with everything a plan deploys, until Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from loadtest.errors import PlanError
from loadtest.plan.model import Plan
from loadtest.records.world_facts import WorldFacts
from loadtest.run.database_order import DATABASE_USER, REPLICA_PORT
from loadtest.run.deployment import deploy_all
from loadtest.run.embedded_extras import WORLD_TOKEN_VARIABLE
from loadtest.run.link_words import link_faults, measure_links
from loadtest.run.progress import Progress
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import RunWorld, open_place


def stay(
    plan: Plan, progress: Progress, say: Callable[[Iterable[str]], None], *, flags: str = ""
) -> None:
    """
    Bring a world up, say every address of it, and stay until interrupted.

    Args:
        plan: Resolved plan; its deployments are running when this begins to wait.
        progress: Told what goes on.
        say: Given the lines with all addresses.
        flags: The plan and the flags as they were typed: a run in this world needs the same.

    Raises:
        PlanError: The plan is one for Fly, where what stands costs money until it is destroyed.
        WorldError: It could not be brought up.
        KeyboardInterrupt: The person ended it; everything is gone by then.
    """
    if plan.world == "fly":
        raise PlanError(
            "world: 'fly' cannot be brought up to look around in: machines would stay and cost "
            'money until somebody destroys them; use `loadtest run`, or set world = "embedded"'
        )
    orders = orders_of(plan, "visit", keys := Secrets())
    with open_place(plan, orders, "") as place:
        deploy_all(place, orders, progress, generator=False)  # each run brings its own
        if place.extras is not None:
            measure_links(place.extras, progress)
            place.extras.be_strict()  # others call it from here on
        world = place.describe(plan)
        for fault in link_faults(world.links):
            progress.warn(fault)
        say(_addresses(plan, orders, keys, world))
        say(_from_inside(plan, orders, world))
        say(_how_to_measure(place, flags))
        threading.Event().wait()


def _addresses(plan: Plan, orders: RunDeployment, keys: Secrets, world: WorldFacts) -> list[str]:
    width = max(len(order.name) for order in orders.apps.values()) if orders.apps else 0
    lines = ["", "Deployments, as clients of each region reach them:"]
    for region in plan.regions:
        for order in orders.apps.values():
            url = world.edge_of(region, order.name)
            if url:
                lines.append(f"  {region}  {order.name:{width}}  {url}")
    lines += ["", "For example:  curl -i -d city=Sydney -d title=Soup <URL>/recipes"]
    if orders.apps and world.authority:
        lines += ["", f"The same over TLS and HTTP/2 (curl --cacert {world.authority}):"]
        for region in plan.regions:
            for order in orders.apps.values():
                if url := world.edge_of(region, order.name, secure=True):
                    lines.append(f"  {region}  {order.name:{width}}  TLS  {url}")
    if orders.database is not None:
        lines += ["", "Databases (the password is this world's own and ends with it):"]
        for machine in world.machines or ():
            port = machine.ports.get(str(REPLICA_PORT))
            if machine.app == orders.database.name and port:
                lines.append(
                    f"  {machine.region}  postgres://{DATABASE_USER}:{keys.database}"
                    f"@127.0.0.1:{port}/{plan.database.database}"
                )
    return lines


def _from_inside(plan: Plan, orders: RunDeployment, world: WorldFacts) -> list[str]:
    """Return how to run a command in a region's place, or in a machine's."""
    apps = [order.name for order in orders.apps.values()]
    if not apps:
        return []
    lines = ["", "From another terminal, in a region's place and in a machine's:"]
    if world.link_layer == "hosts":
        for region in plan.regions:
            lines.append(f"  loadtest world exec {region} -- curl -i https://{apps[-1]}.fly.dev/")
    else:
        lines.append("  (layer relay: regions are no places of their own, use the addresses above)")
    lines.append(f"  loadtest world exec {apps[-1]}/{plan.primary_region} -- sh")
    if len(plan.regions) > 1:
        one, two = plan.regions[:2]
        lines.append(f"  loadtest world fault loss 1% {one}-{two} --for 30s")
    return lines


def _how_to_measure(place: RunWorld, flags: str) -> list[str]:
    words = ["loadtest run", *filter(None, [flags]), f"--world {place.api_url}"]
    return [
        "",
        f"Machines API:  {place.api_url}/v1",
        "Measure it from another terminal:",
        f"  {WORLD_TOKEN_VARIABLE}={place.token} {' '.join(words)}",
        "",
        "Ctrl-C ends it.",
    ]
