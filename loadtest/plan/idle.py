"""Flags that a run has no use for: said once, so that nobody believes that they did something."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from loadtest.errors import PlanError
from loadtest.plan.model import Plan

_OF_FLY: Final = ("--org", "--prefix", "--use-app", "--budget", "--yes")
_OF_APPS: Final = ("--env", "--env-file", "--secret", "--redis", "--base")
_OF_DISTANCE: Final = ("--rtt", "--layer")


def idle_flags(plan: Plan, typed: Collection[str]) -> list[str]:
    """
    Return a sentence for every kind of flag that was typed and changes nothing in this run.

    Args:
        plan: What they made of the plan.
        typed: The flags, each by its long name.

    Raises:
        PlanError: One of them would end a run where it has no meaning.
    """
    on_fly = plan.world == "fly"
    if "--image" in typed and not on_fly:
        raise PlanError(
            "--image: goes with --world fly; in the embedded world an app runs from its folder, or "
            "from the image that its deployment names in the plan (deployments.image)"
        )
    deploys = any(not deployment.url for deployment in plan.deployments)
    far = on_fly or deploys or any(deployment.at for deployment in plan.deployments)
    kinds = (
        (_OF_FLY, on_fly, "nothing is ordered from Fly; they go with --world fly"),
        (_OF_APPS, deploys, "no app is started, a URL runs already"),
        (_OF_DISTANCE, far, "no distance is emulated; they go with --at"),
    )
    found = [
        (", ".join(flag for flag in flags if flag in typed), why)
        for flags, useful, why in kinds
        if not useful
    ]
    return [f"{flags}: no effect here: {why}" for flags, why in found if flags]
