"""
What stands already in a world that somebody keeps up, and whether it is what a plan asks for.

A run in such a world measures the apps as they stand and brings only its load generator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import connect
from loadtest.fly.machines import MachineConfig
from loadtest.fly.orders import AppOrder, placements
from loadtest.plan.model import Plan
from loadtest.records.world_facts import WorldFacts
from loadtest.run.interruptible import run_to_end
from loadtest.run.run_deployment import RunDeployment
from loadtest.run.run_world import RunWorld

REMEDY = "start the world anew with this plan and these flags: loadtest world up ..."
_SAME_MS = 1e-6


def still_to_deploy(
    place: RunWorld, plan: Plan, orders: RunDeployment, world: WorldFacts
) -> RunDeployment:
    """
    Return what a run has to deploy in a world that is up: everything, or the generator alone.

    Args:
        place: The world.
        plan: Resolved plan.
        orders: All that the plan wants.
        world: The world's description of itself.

    Raises:
        WorldError: What stands there is not what the plan wants, or another run is going on;
            every difference is told.
    """
    faults = network_faults(plan, world)
    machines = run_to_end(_machines(place, orders))
    if machines[orders.generator.name]:
        faults.append(
            f"the world at {place.api_url} has a load generator already: another run is going on "
            "(wait for it), or one was killed (start the world anew)"
        )
    wanted = orders.measured
    if not any(machines[order.name] for order in wanted):
        if faults:
            raise WorldError("\n".join(faults))
        return orders
    for order in wanted:
        faults += _app_faults(order, machines[order.name])
    if faults:
        raise WorldError("\n".join([*faults, REMEDY]))
    return replace(orders, database=None, companions={}, apps={})


async def _machines(place: RunWorld, orders: RunDeployment) -> dict[str, tuple[Machine, ...]]:
    """Return the machines of every app that a plan names, none where there is no such app."""
    async with connect(place.api_url, place.token) as client:
        found = {}
        for order in orders.every:
            there = await client.app(order.name) is not None
            found[order.name] = await client.machines(order.name) if there else ()
        return found


def network_faults(plan: Plan, world: WorldFacts) -> list[str]:
    """Return how a world's regions and the links it has measured differ from a plan's."""
    faults = []
    if missing := [code for code in plan.regions if code not in world.regions]:
        faults.append(
            f"regions: the world has {', '.join(world.regions)}, but not {', '.join(missing)}"
        )
    for link in world.links:
        a, b = link.from_, link.to
        if a not in plan.regions or b not in plan.regions:
            continue
        wanted_ms, set_ms = plan.rtt_between_ms(a, b), link.configured_rtt_ms
        if abs(wanted_ms - set_ms) > _SAME_MS:
            faults.append(
                f"link {a}-{b}: the world has {set_ms:g} ms, the plan wants {wanted_ms:g} ms"
            )
    return faults


def _app_faults(order: AppOrder, machines: tuple[Machine, ...]) -> Iterator[str]:
    """Yield how an app differs from its order: machines, their program, their settings."""
    for place in placements(order):
        where = (place.region, place.config.group)
        there = [m for m in machines if (m.region, m.config.group) == where]
        if not there:
            yield f"app {order.name}: has no machine in {place.region}"
        for machine in there:
            yield from (
                f"app {order.name} in {place.region}: {difference}"
                for difference in _differences(machine.config, place.config)
            )


def _differences(there: MachineConfig, wanted: MachineConfig) -> Iterator[str]:
    for key in sorted({*there.env, *wanted.env}):
        has, wants = there.env.get(key, "unset"), wanted.env.get(key, "unset")
        if key == "PATH":  # the app's own programs are first; behind them is each terminal's own
            has, wants = (path.partition(os.pathsep)[0] for path in (has, wants))
        if has != wants:
            yield f"{key} is {has}, the plan wants {wants}"
    if there.cmd != wanted.cmd:
        yield f"its command is {' '.join(there.cmd)!r}, the plan wants {' '.join(wanted.cmd)!r}"
    has_share, wants_share = there.new_connection_share, wanted.new_connection_share
    if has_share != wants_share:
        yield (
            f"its edges open a connection for {has_share:.0%} of the requests, the plan wants "
            f"{wants_share:.0%}"
        )
