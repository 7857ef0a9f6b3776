"""
Machines of two apps that change places: each runs on with the other's program and secrets.

What belongs to a machine, such as the host it is on, then is on the other side of a comparison: a
crossover (Jones and Kenward, Design and Analysis of Cross-Over Trials, 2014).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from loadtest.errors import WorldError
from loadtest.fly.client import MachinesClient
from loadtest.fly.health import until_healthy
from loadtest.fly.machines import RUN_ID_KEY
from loadtest.fly.orders import AppOrder, Placement, patience_s, placements


def cannot_exchange(first: AppOrder, second: AppOrder) -> str:
    """Return why the machines of two apps cannot change places; empty where they can."""
    # one app's names for both: they tell region, process group and number
    mine, others = (
        {place.name: place for place in placements(replace(order, app=first.name))}
        for order in (first, second)
    )
    if mine.keys() != others.keys():
        return "they do not have as many machines in the same regions"
    if first.secrets.keys() != second.secrets.keys():
        return "they do not have secrets of the same names"
    for name, here in mine.items():
        there = others[name]
        if here.config.mounts or there.config.mounts:
            return "a volume stays with its machine"
        if here.config.guest != there.config.guest:
            return f"their machines in {here.region} are not of one size"
        if here.config.services != there.config.services:
            return f"their machines in {here.region} do not offer the same services"
    return ""


async def exchange(
    client: MachinesClient, first: AppOrder, second: AppOrder
) -> tuple[AppOrder, AppOrder]:
    """
    Let the machines of two apps change places; return when all are healthy.

    Args:
        client: The Machines API.
        first: An app as it was deployed.
        second: Another one, with which `cannot_exchange` finds nothing wrong.

    Returns:
        Both orders, each with the app that it is found at from now on.

    Raises:
        ExceptionGroup: Of WorldErrors: the API refused, or machines did not get healthy.
    """
    moved = replace(first, app=second.name), replace(second, app=first.name)
    async with asyncio.TaskGroup() as group:
        for order in moved:
            group.create_task(_take_over(client, order))
    return moved


async def _take_over(client: MachinesClient, order: AppOrder) -> None:
    """Let the machines of an app that are there run an order that was another app's."""
    deadline_s = patience_s(order)
    until = time.monotonic() + deadline_s
    version = await client.set_secrets(order.name, order.secrets) if order.secrets else 0
    there = await client.machines(order.name, metadata={RUN_ID_KEY: order.run_id})
    by_name = {machine.name: machine for machine in there}

    async def change(place: Placement) -> None:
        if (machine := by_name.get(place.name)) is None:
            raise WorldError(f"machine {place.name} of app {order.name} is gone")
        changed = await client.update_machine(
            order.name, machine, config=place.config, min_secrets_version=version
        )
        await until_healthy(client, order.name, changed, until=until, deadline_s=deadline_s)

    async with asyncio.TaskGroup() as group:
        for place in placements(order):
            group.create_task(change(place))
