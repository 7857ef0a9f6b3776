"""Apps that stand beside the deployments and are not measured: caches, queues, workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.orders import AppOrder
from loadtest.fly.values import is_cache
from loadtest.plan.apps import Companion
from loadtest.plan.model import Plan
from loadtest.run.app_files import OUR_IMAGE, image_name, our_image, platform_keys, read_file

CACHE_PORT = 6379
_DATABASES = 16
"""Numbered databases that a Redis-compatible server has unless its configuration says otherwise."""


def is_server(config: AppConfig) -> bool:
    """Tell whether a companion is a cache, which needs nothing and is there before the apps."""
    return is_cache(config.image)


def companion_orders(
    plan: Plan, run_id: str, urls: Mapping[str, str], image: str
) -> dict[str, AppOrder]:
    """
    Return what deploys the companions of a plan, by name.

    Args:
        plan: Resolved plan.
        run_id: Label of the run.
        urls: Addresses of the databases; a cache does not get them.
        image: Image reference for our own apps; empty takes what each fly.toml names.

    Raises:
        PlanError: A file is missing or wrong, or runs what the embedded world cannot.
    """
    found = {}
    for companion in plan.companions:
        config = read_file(companion.fly_toml, f"companions.{companion.name}.fly_toml")
        if plan.world == "fly" or image_name(config.image) == OUR_IMAGE or is_server(config):
            reference = our_image(plan, config, image)
            order = _order(plan, companion, config, run_id, image=reference, secrets=urls)
            found[companion.name] = replace(order, **platform_keys(plan))
            continue
        raise PlanError(
            f"companions.{companion.name}: {companion.fly_toml} runs {config.image!r}, and the "
            "embedded world has a stand-in for Redis-compatible images and for ours alone"
        )
    return found


def _order(
    plan: Plan,
    companion: Companion,
    config: AppConfig,
    run_id: str,
    *,
    image: str,
    secrets: Mapping[str, str],
) -> AppOrder:
    everywhere = companion.machines == "all"
    if is_server(config) and plan.world != "fly":
        # said aloud, so that words such as a life-line can be put before it
        commands = {group: line or "redis-server" for group, line in config.processes.items()}
        config = replace(config, processes=commands)
    return AppOrder(
        config=config,
        regions=plan.regions if everywhere else (plan.primary_region,),
        primary_region=plan.primary_region,
        run_id=run_id,
        image=image,
        secrets={} if is_server(config) else dict(secrets),
        env=dict(companion.env),
        deadline_s=plan.patience_s,
    )


def addresses(
    plan: Plan, companions: Mapping[str, AppOrder], deployment: str, own: Mapping[str, str]
) -> dict[str, str]:
    """
    Return the variables that tell a deployment where its caches are.

    Each deployment has a numbered database to itself, so that the arms of a run share no key.

    Args:
        plan: Resolved plan.
        companions: Orders by name.
        deployment: Name of the deployment.
        own: What its fly.toml and the plan set: these stay as they are.
    """
    number = [d.name for d in plan.deployments].index(deployment) % _DATABASES
    return {
        c.variable: f"redis://top1.nearest.of.{companions[c.name].name}.internal:{CACHE_PORT}/{number}"
        for c in plan.companions
        if c.variable and c.variable not in own
    }
