"""
The Machines API of the world: volumes, each of one region and for one machine at a time.

A machine's files live in the world's folder under the machine's own id, so a volume holds nothing
that outlives the machine: what a volume's end does to data, a machine's does here.
"""

from __future__ import annotations

import re
import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.fly.machines import MachineConfig, Mount
from loadtest.world.api.answers import ApiError, body_of
from loadtest.world.api.apps import app_of, world_of
from loadtest.world.api.create import read_region
from loadtest.world.machines.store import AppRecord, MachineRecord, VolumeRecord, now_text
from loadtest.world.machines.supervisor import World

_NAME = re.compile(r"[a-z0-9_]{1,30}")
_DEFAULT_GB, _LARGEST_GB = 3, 500


async def list_volumes(request: Request) -> Response:
    """GET /v1/apps/{app}/volumes."""
    held = _held(world_of(request), app_of(request))
    return JSONResponse([volume.to_json() for volume in held])


async def create_volume(request: Request) -> Response:
    """POST /v1/apps/{app}/volumes."""
    app, body = app_of(request), await body_of(request)
    name = body.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ApiError(
            422, f"name {name!r}: lower-case letters, digits and underscores, at most 30 of them"
        )
    volume = VolumeRecord(
        id=f"vol_{secrets.token_hex(8)}",
        name=name,
        region=read_region(world_of(request), body.get("region"), "volume_placement_capacity"),
        zone=secrets.token_hex(2),
        size_gb=_size_gb(body.get("size_gb", _DEFAULT_GB)),
        encrypted=bool(body.get("encrypted", True)),
        fstype=str(body.get("fstype") or "ext4"),
        auto_backup_enabled=bool(body.get("auto_backup_enabled", True)),
        snapshot_retention=int(body.get("snapshot_retention") or 5),
        created_at=now_text(),
    )
    app.volumes[volume.id] = volume
    return JSONResponse(volume.to_json())


async def show_volume(request: Request) -> Response:
    """GET /v1/apps/{app}/volumes/{volume}."""
    return JSONResponse(_volume_of(request).to_json())


async def update_volume(request: Request) -> Response:
    """PUT /v1/apps/{app}/volumes/{volume}: how often it is saved, which here it never is."""
    volume, body = _volume_of(request), await body_of(request)
    for key, kind in (("auto_backup_enabled", bool), ("snapshot_retention", int)):
        if key in body:
            if not isinstance(body[key], kind):
                raise ApiError(400, f"{key} {body[key]!r} is of the wrong kind")
            setattr(volume, key, body[key])
    return JSONResponse(volume.to_json())


async def extend_volume(request: Request) -> Response:
    """PUT /v1/apps/{app}/volumes/{volume}/extend: it only grows."""
    volume, body = _volume_of(request), await body_of(request)
    size_gb = _size_gb(body.get("size_gb"))
    if size_gb < volume.size_gb:
        raise ApiError(422, f"size_gb {size_gb} is less than the {volume.size_gb} that it has")
    volume.size_gb = size_gb
    needs_restart = volume.attached_machine_id is not None
    return JSONResponse({"volume": volume.to_json(), "needs_restart": needs_restart})


async def delete_volume(request: Request) -> Response:
    """DELETE /v1/apps/{app}/volumes/{volume}: not while a machine has it."""
    volume = _volume_of(request)
    if machine := volume.attached_machine_id:
        raise ApiError(412, f"failed_precondition: volume is currently bound to machine: {machine}")
    app_of(request).volumes.pop(volume.id)
    return JSONResponse(volume.to_json() | {"state": "pending_destroy"})


def volumes_for(
    world: World, app: AppRecord, config: MachineConfig, region: str
) -> list[VolumeRecord]:
    """
    Return the volumes that a machine of a region would mount, by their ids or names.

    Raises:
        ApiError: 422 when there is no such volume, or it is elsewhere or another machine's.
    """
    held = _held(world, app)
    return [_wanted(held, mount, region) for mount in config.mounts]


def attach(volumes: list[VolumeRecord], machine: MachineRecord) -> None:
    """Note whose volumes these are."""
    for volume in volumes:
        volume.attached_machine_id = machine.id


def _held(world: World, app: AppRecord) -> list[VolumeRecord]:
    """Return an app's volumes; those of machines that are gone are free again."""
    for volume in app.volumes.values():
        machine = world.store.machine(app.name, volume.attached_machine_id or "")
        if machine is None or machine.state == "destroyed":
            volume.attached_machine_id = None
    return list(app.volumes.values())


def _wanted(held: list[VolumeRecord], mount: Mount, region: str) -> VolumeRecord:
    named = [v for v in held if mount.volume in (v.id, v.name)]
    if not named:
        raise ApiError(422, f"config.mounts: volume {mount.volume!r} does not exist")
    here = [volume for volume in named if volume.region == region]
    if not here:
        raise ApiError(
            422,
            f"config.mounts: volume {mount.volume} is in {named[0].region}, "
            f"the machine in {region}",
        )
    free = [volume for volume in here if volume.attached_machine_id is None]
    if not free:
        raise ApiError(
            422,
            f"config.mounts: volume {mount.volume} is attached to machine "
            f"{here[0].attached_machine_id}",
        )
    return free[0]


def _size_gb(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST_GB:
        raise ApiError(422, f"size_gb {value!r} is not 1 to {_LARGEST_GB}")
    return value


def _volume_of(request: Request) -> VolumeRecord:
    app, wanted = app_of(request), request.path_params["volume"]
    for volume in _held(world_of(request), app):
        if volume.id == wanted:
            return volume
    raise ApiError(404, f"volume not found: {wanted}")


_ALL, _ONE = "/v1/apps/{app}/volumes", "/v1/apps/{app}/volumes/{volume}"
ROUTES = [
    Route(_ALL, list_volumes),
    Route(_ALL, create_volume, methods=["POST"]),
    Route(_ONE, show_volume),
    Route(_ONE, update_volume, methods=["PUT"]),
    Route(_ONE, delete_volume, methods=["DELETE"]),
    Route(f"{_ONE}/extend", extend_volume, methods=["PUT"]),
]
