"""Deploys everything a run needs, side by side where nothing waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from loadtest.fly.client import connect
from loadtest.fly.deploy import Order, deploy, destroy_run
from loadtest.run.orders import Orders
from loadtest.run.place import Place
from loadtest.run.progress import Progress


def deploy_all(place: Place, orders: Orders, progress: Progress) -> None:
    """
    Deploy the load generator beside the database, then the apps; return when all are healthy.

    Raises:
        WorldError: Something did not come up; carries its last output.
    """
    asyncio.run(_deploy_all(place, orders, progress))


def destroy_all(place: Place, orders: Orders) -> None:
    """Destroy every machine that a run made; for places that outlive the run."""
    asyncio.run(_destroy_all(place, orders))


async def _deploy_all(place: Place, orders: Orders, progress: Progress) -> None:
    async with connect(place.api_url, place.token) as client:
        done: set[tuple[str, str]] = set()

        async def one(order: Order) -> None:
            await deploy(client, order, done)
            progress.done(f"{order.name}: healthy in {', '.join(order.regions)}")

        async def database_then_apps() -> None:
            if orders.database is not None:
                progress.step("starting the database")
                await one(orders.database)
            progress.step(f"starting {', '.join(o.name for o in orders.apps.values())}")
            apps = _release_first(orders.apps.values())
            # The first app's release command prepares the database that all of them use.
            for order in apps[:1]:
                await one(order)
            async with asyncio.TaskGroup() as group:
                for order in apps[1:]:
                    group.create_task(one(order))

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(one(orders.generator))
                group.create_task(database_then_apps())
        except BaseExceptionGroup as errors:
            raise _first(errors) from None


def _release_first(orders: Iterable[Order]) -> list[Order]:
    """Return the orders with one that has a release command, and fewest machines, in front."""
    return sorted(orders, key=lambda o: (not o.config.release_command, len(o.regions)))


async def _destroy_all(place: Place, orders: Orders) -> None:
    async with connect(place.api_url, place.token) as client:
        every = [*orders.apps.values(), orders.generator]
        if orders.database is not None:
            every.append(orders.database)
        for order in every:
            await destroy_run(client, order.name, order.run_id)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error that is no group and no mere cancellation."""
    for error in errors.exceptions:
        found = _first(error) if isinstance(error, BaseExceptionGroup) else error
        if not isinstance(found, asyncio.CancelledError):
            return found
    return errors
