"""The load generator's app as a deployment order: its secrets, its scenario."""

from __future__ import annotations

import base64
import json
import os
import posixpath
from collections.abc import Mapping

from loadtest.assets import find_asset
from loadtest.errors import PlanError
from loadtest.fly.machines import GuestFile
from loadtest.fly.orders import AppOrder
from loadtest.plan.model import Plan
from loadtest.run.app_files import our_image, platform_keys, read_file
from loadtest.run.run_secrets import Secrets

_IMAGE_FOLDER = "/app"  # where the Dockerfile's programs run
_MOST_SCENARIO_BYTES = 1 << 20


def generator_order(
    plan: Plan, run_id: str, keys: Secrets, image: str, app_secrets: Mapping[str, str]
) -> AppOrder:
    """
    Return the order of the load generator's app.

    Args:
        plan: Resolved plan.
        run_id: Label of everything that is made.
        keys: The run's secrets.
        image: Image reference for our own apps; empty takes what the fly.toml names.
        app_secrets: What the apps and the scenario find in their environment.
    """
    config = read_file(plan.generator.fly_toml, "generator.fly_toml")
    return AppOrder(
        config=config,
        regions=plan.regions,
        primary_region=plan.primary_region,
        run_id=run_id,
        image=our_image(plan, config, image),
        secrets={
            "LOADTEST_TOKEN": keys.token,
            **keys.curve,
            **_script_environment(plan, app_secrets),
        },
        group_regions={"coordinator": (plan.primary_region,), "worker": plan.regions},
        counts={"worker": plan.generator.workers_per_region},
        deadline_s=plan.patience_s,
        public=True,
        files=_scenario_files(plan),
        **platform_keys(plan),
    )


def _script_environment(plan: Plan, app_secrets: Mapping[str, str]) -> dict[str, str]:
    """
    Return what a scenario finds in its environment, as one secret.

    That is what the apps are given; a locustfile that is played here sees our own as well.
    """
    own = {} if plan.locustfile is None or plan.world == "fly" else dict(os.environ)
    found = {**own, **app_secrets}
    return {"LOADTEST_SCRIPT_ENVIRONMENT": json.dumps(found)} if found else {}


def _scenario_files(plan: Plan) -> tuple[GuestFile, ...]:
    """
    Return the scenario as a file of the generator's machines, where they are not this one.

    A person's own scenario needs no image of its own; the one that the image has makes way for the
    one that the plan was checked with.  Only the file itself travels.

    Raises:
        PlanError: It cannot be read, or is too large.
    """
    found = find_asset(plan.scenario)
    if plan.world != "fly" or found is None:
        return ()
    try:
        content = found.read_bytes()
    except OSError as error:
        raise PlanError(f"scenario: {found} cannot be read: {error.strerror}") from error
    if len(content) > _MOST_SCENARIO_BYTES:
        raise PlanError(
            f"scenario: {found} has {len(content)} bytes; {_MOST_SCENARIO_BYTES} can travel to a "
            "machine; put its data into an image of your own (--image)"
        )
    path = posixpath.normpath(posixpath.join(_IMAGE_FOLDER, plan.scenario))
    return (GuestFile(path, base64.b64encode(content).decode()),)
