"""
Machines that do not outlive their run, whatever becomes of the command line.

The coordinator ends when its driver is silent, and its workers with it; every other machine of our
own image watches the coordinator.  A machine whose program ends is destroyed by the platform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from loadtest.fly.deploy import AppOrder, release_key
from loadtest.plan.model import Plan
from loadtest.run.coordinator import FIRST_ANSWER_S
from loadtest.run.run_deployment import RunDeployment

LIFELINE = ("-m", "loadtest.lifeline")
_LONGEST_FIRST_S = 3_600.0


def with_lifeline(
    orders: RunDeployment,
    plan: Plan,
    *,
    python: str = "python",
    has_program: Callable[[AppOrder], bool],
) -> RunDeployment:
    """
    Return orders whose machines end with the run.

    Args:
        orders: What is deployed.
        plan: Resolved plan.
        python: Interpreter that has our program, as the machines call it.
        has_program: Tells whether an app's machines have it.
    """
    silent_s = plan.generator.driver_silent_s
    releases = {release_key(order): order for order in orders.apps.values()}
    release_s = sum(
        order.config.release_timeout_s
        for order in releases.values()
        if order.config.release_command
    )
    # one deployment may wait for another, each with its whole deadline; then the name has to come
    stages = 1 + (orders.database is not None) + bool(orders.apps)
    deploy_s = stages * plan.healthy_within_s + release_s
    first_s = min(_LONGEST_FIRST_S, silent_s + deploy_s + FIRST_ANSWER_S)
    generator = orders.generator
    port = generator.config.env.get("PORT", "")
    told = {
        "LOADTEST_LIFELINE": f"coordinator.process.{generator.name}.internal:{port}",
        "LOADTEST_LIFELINE_S": f"{silent_s:g}",
        "LOADTEST_LIFELINE_FIRST_S": f"{first_s:g}",
    }

    def tied(order: AppOrder) -> AppOrder:
        order = replace(order, auto_destroy=True, restart="no")
        if not (port and has_program(order)):
            return order
        return replace(order, wrap=(python, *LIFELINE), env={**order.env, **told})

    driver = {
        "LOADTEST_DRIVER_SILENT_S": f"{silent_s:g}",
        "LOADTEST_DRIVER_FIRST_S": f"{first_s:g}",
    }
    return replace(
        orders,
        database=None if orders.database is None else tied(orders.database),
        companions={name: tied(order) for name, order in orders.companions.items()},
        apps={name: tied(order) for name, order in orders.apps.items()},
        generator=replace(
            generator, auto_destroy=True, restart="no", env={**generator.env, **driver}
        ),
    )
