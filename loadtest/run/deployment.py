"""Deploys everything a run needs, side by side where nothing waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from loadtest.errors import WorldError
from loadtest.fly.cleanup import destroy_run
from loadtest.fly.client import MachinesClient, connect
from loadtest.fly.deploy import deploy, release, release_key
from loadtest.fly.exchange import exchange
from loadtest.fly.health import start_anew
from loadtest.fly.machines import Guest
from loadtest.fly.orders import AppOrder, patience_s, placements
from loadtest.fly.room import check_room
from loadtest.run.companions import is_server
from loadtest.run.interruptible import run_to_end
from loadtest.run.progress import Progress
from loadtest.run.run_deployment import RunDeployment
from loadtest.run.run_world import RunWorld


def deploy_all(
    place: RunWorld, orders: RunDeployment, progress: Progress, *, generator: bool = True
) -> None:
    """
    Deploy database, apps and load generator, if wanted; return when all are healthy.

    Release commands run once the database is up; apps wait for that too, unless the world is this
    run's own and the plan says that they can do their waiting themselves.

    Raises:
        WorldError: A region has no room, or something did not come up; carries its last output.
    """
    if place.extras is None:
        check_regions(place, orders)
    run_to_end(_deploy_all(place, orders, progress, generator))


def check_regions(place: RunWorld, orders: RunDeployment) -> None:
    """
    Return if the platform has room for a run, as far as it tells; nothing is ordered.

    Raises:
        WorldError: A region is full or takes no machines; says which others do.
    """
    wanted: dict[str, list[Guest]] = {}
    for order in orders.every:
        for machine in placements(order):
            wanted.setdefault(machine.region, []).append(machine.config.guest)

    async def ask() -> None:
        async with connect(place.api_url, place.token) as client:
            await check_room(client, orders.generator.org, wanted)

    run_to_end(ask())


def start_arms_anew(place: RunWorld, orders: RunDeployment) -> None:
    """
    Start the processes of every arm anew, all at the same time; return when all are healthy.

    What belongs to one start of a process, such as the luck of its heap, is drawn again then.

    Raises:
        WorldError: One did not come up again; carries its last output.
    """

    async def anew() -> None:
        async with _client(place) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for order in orders.apps.values():
                        group.create_task(
                            start_anew(
                                client, order.name, order.run_id, deadline_s=patience_s(order)
                            )
                        )
            except BaseExceptionGroup as errors:
                raise _first(errors) from None

    run_to_end(anew())


def exchange_arms(place: RunWorld, orders: RunDeployment) -> RunDeployment:
    """
    Let the machines of both arms change places; return the orders as they are from now on.

    Raises:
        WorldError: One did not come up again; carries its last output.
    """
    (first, one), (second, other) = orders.apps.items()

    async def change() -> tuple[AppOrder, AppOrder]:
        async with _client(place) as client:
            try:
                return await exchange(client, one, other)
            except BaseExceptionGroup as errors:
                raise _first(errors) from None

    moved = run_to_end(change())
    return replace(orders, apps=dict(zip((first, second), moved, strict=True)))


def destroy_all(place: RunWorld, orders: RunDeployment) -> None:
    """
    Destroy every machine that a run made; for places that outlive the run.

    Raises:
        WorldError: Something is left; every app was tried, and each fault is told.
    """
    run_to_end(_destroy_all(place, orders))


async def _deploy_all(
    place: RunWorld, orders: RunDeployment, progress: Progress, generator: bool
) -> None:
    async with _client(place) as client:
        released: set[tuple[str, str]] = set()
        # Release commands have a place of their own here, so no deployment runs them again.
        elsewhere = {release_key(order) for order in orders.apps.values()}
        ready = asyncio.Event()  # the database is up and the release commands have run
        servers = [order for order in orders.companions.values() if is_server(order.config)]
        workers = [order for order in orders.companions.values() if order not in servers]
        waited = len(servers)
        served = asyncio.Event()  # the caches are up
        # Where calls are limited, machines come one after the other: an app that is there before
        # the replica beside it would open its connections to one far away, and keep them.
        patient = orders.database_first or place.paced

        async def one(order: AppOrder) -> None:
            await deploy(client, order, elsewhere)
            progress.done(f"{order.name}: healthy in {', '.join(order.regions)}")

        async def database() -> None:
            if orders.database is not None:
                await one(orders.database)
            for name, order in orders.apps.items():
                with _named(name):
                    await release(client, order, released)
            ready.set()

        async def server(order: AppOrder) -> None:
            nonlocal waited
            await one(order)
            waited -= 1
            if not waited:
                served.set()

        async def app(order: AppOrder, *, patient: bool, name: str) -> None:
            if servers:
                await served.wait()
            if patient:
                await ready.wait()
            with _named(name):
                await one(order)

        progress.step("starting the database, the apps and the load generator")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(database())
                for order in servers:
                    group.create_task(server(order))
                for order in workers:
                    group.create_task(app(order, patient=True, name=""))
                for name, order in orders.apps.items():
                    group.create_task(app(order, patient=patient, name=name))
                if generator:
                    group.create_task(one(orders.generator))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None


async def _destroy_all(place: RunWorld, orders: RunDeployment) -> None:
    async with _client(place) as client:
        faults = []
        for order in reversed(orders.every):
            try:
                await destroy_run(client, order.name, order.run_id)
            except WorldError as error:  # the other apps are cleaned up all the same
                faults.append(str(error))
        if faults:
            raise WorldError("\n".join(faults))


def _client(place: RunWorld) -> MachinesClient:
    return connect(place.api_url, place.token, paced=place.paced, ledger=place.ledger)


@contextmanager
def _named(deployment: str) -> Iterator[None]:
    """Say which deployment an error is about: the apps of two revisions have one name."""
    try:
        yield
    except WorldError as error:
        if not deployment or type(error) is not WorldError:
            raise
        raise WorldError(f"deployment {deployment}: {error}") from error


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error that is no group and no mere cancellation."""
    for error in errors.exceptions:
        found = _first(error) if isinstance(error, BaseExceptionGroup) else error
        if not isinstance(found, asyncio.CancelledError):
            return found
    return errors
