"""
Machines that do not outlive their run, whatever becomes of the command line.

The coordinator ends when its driver is silent, and its workers with it; every other machine of our
own image watches the coordinator.  A machine whose program ends is destroyed by the platform.  The
driver lets the coordinator hear of it from the first moment on, while all else is being deployed:
a run that is killed then ends as soon as one that is killed later.  Twice the longest that a run
may take ends it whoever is heard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from loadtest.fly.orders import AppOrder
from loadtest.plan.model import Plan
from loadtest.plan.profile import LoadProfile
from loadtest.run.coordinator import FIRST_ANSWER_S
from loadtest.run.run_deployment import RunDeployment

LIFELINE = ("-m", "loadtest.lifeline")


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
    named_s = silent_s + FIRST_ANSWER_S  # its name has to come before anybody reaches it
    # it is ordered with the first of them, and the others come later
    there_s = silent_s + plan.patience_s
    generator = orders.generator
    port = generator.config.env.get("PORT", "")
    told = {
        "LOADTEST_LIFELINE": f"coordinator.process.{generator.name}.internal:{port}",
        "LOADTEST_LIFELINE_S": f"{silent_s:g}",
        "LOADTEST_LIFELINE_FIRST_S": f"{there_s:g}",
    }

    def tied(order: AppOrder) -> AppOrder:
        order = replace(order, auto_destroy=True, restart="no")
        if not (port and has_program(order)):
            return order
        return replace(order, wrap=(python, *LIFELINE), env={**order.env, **told})

    driver = {
        "LOADTEST_DRIVER_SILENT_S": f"{silent_s:g}",
        "LOADTEST_DRIVER_FIRST_S": f"{named_s:g}",
        "LOADTEST_RUN_MOST_S": f"{_most_s(plan):.0f}",
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


def longest_load_s(plan: Plan) -> float:
    """Return the seconds of load with every segment that a plan allows."""
    return plan.load.warmup_s + LoadProfile.of(plan.load).duration_s * plan.gate.max_looks


def _most_s(plan: Plan) -> float:
    """Return after how many seconds nobody can be waiting for a run any more."""
    # database, apps, and what is started anew between looks, each as late as it may be
    deploying_s = FIRST_ANSWER_S + (1 + plan.gate.max_looks) * plan.patience_s
    return 2 * (deploying_s + longest_load_s(plan))
