"""Checks what a caller wants a machine to be, with the API's own answers to what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from loadtest.fly.machines import MachineConfig
from loadtest.regions import region_table
from loadtest.world.api.answers import ApiError
from loadtest.world.machines.programs import signal_number
from loadtest.world.machines.store import AppRecord
from loadtest.world.machines.supervisor import World

_POLICIES = ("no", "always", "on-failure")
_ALLOWED_FLY_KEYS = ("FLY_PROCESS_GROUP",)  # which flyctl, too, sets in the config


def read_config(world: World, data: object) -> MachineConfig:
    """
    Read and check a machine's config.

    Raises:
        ApiError: 422, with the key at fault.
    """
    if not isinstance(data, Mapping):
        raise ApiError(422, "config: an object is wanted")
    try:
        config = MachineConfig.from_json(data)
        signal_number(config.stop_signal)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ApiError(422, f"config: of the wrong kind: {error}") from error
    if not config.image:
        raise ApiError(422, "config.image is required")
    context = world.context
    if not context.knows_image(config.image):
        raise ApiError(
            422,
            f"config.image {config.image!r} has no stand-in in this world; "
            f"there are: {context.image_names}",
        )
    for key in config.env:
        if key.startswith("FLY_") and key not in _ALLOWED_FLY_KEYS:
            raise ApiError(422, f"config.env.{key}: names beginning with FLY_ are reserved")
    if config.restart_policy not in _POLICIES:
        raise ApiError(
            422,
            f"config.restart.policy {config.restart_policy!r} is not one of {', '.join(_POLICIES)}",
        )
    for check in (*config.checks.values(), *(c for s in config.services for c in s.checks)):
        if check.type not in ("http", "tcp"):
            raise ApiError(422, f"config.checks: type {check.type!r} is not one of http, tcp")
        if check.port is None and not config.services:
            raise ApiError(422, "config.checks: a check without a service needs a port")
    return replace(config, env=dict(config.env))


def read_region(world: World, wanted: Any, full: str = "insufficient_capacity") -> str:
    """
    Return the region that a machine or volume goes to: the first of the list with room.

    Args:
        world: The world.
        wanted: A region, a list of them, or nothing for the primary one.
        full: The API's word for there being no room.

    Raises:
        ApiError: 422 when there is none, none has room, Fly retired it and the world is strict, or
            it is for paid plans.
    """
    text = str(wanted or world.spec.primary_region)
    codes = [code.strip() for code in text.split(",") if code.strip()]
    for code in codes:
        known = region_table().get(code)
        if world.spec.strict_regions and known is not None and known.retired:
            raise ApiError(
                422,
                f"Region {code} is deprecated and cannot have new resources provisioned. Please "
                f"consider using an alternate region such as {known.replacement}",
            )
        if code in world.spec.paid_regions:
            raise ApiError(422, f"region {code} is available on paid plans only")
        open_here = [c for c in world.spec.regions if c not in world.spec.full_regions]
        if code in open_here:
            return code
        if code == "any" and open_here:
            return open_here[0]
    if crowded := [code for code in codes if code in (*world.spec.full_regions, "any")]:
        raise ApiError(
            422,
            f"insufficient resources available to fulfill request in {crowded[0]}: could not claim "
            "capacity for 1 machine",
            full,
        )
    raise ApiError(
        422, f"region {text!r} is not part of this world; it has {', '.join(world.spec.regions)}"
    )


def check_secrets(app: AppRecord, wanted: Any) -> None:
    """
    Refuse a machine that wants newer secrets than the app has.

    Raises:
        ApiError: 412; 422 when the version is no number.
    """
    if wanted is None:
        return
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise ApiError(422, f"min_secrets_version {wanted!r} is not a whole number")
    if wanted > app.secrets_version:
        raise ApiError(
            412, f"secrets of app {app.name} are at version {app.secrets_version}, not {wanted}"
        )


def check_name(world: World, app: str, name: str) -> None:
    """
    Refuse a name that a machine of the app has already.

    Raises:
        ApiError: 409.
    """
    for machine in world.store.machines(app):
        if machine.name == name:
            raise ApiError(
                409,
                "already_exists: unique machine name violation, machine ID "
                f"{machine.id} already exists with name {name!r}",
            )
