"""The Machines API of the world: the labels that machines are found by."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.world.api.answers import ApiError, body_of
from loadtest.world.api.apps import world_of
from loadtest.world.api.at_machine import MACHINE, machine_of
from loadtest.world.api.create import read_config
from loadtest.world.machines.store import MachineRecord


async def show_metadata(request: Request) -> Response:
    """GET …/metadata."""
    return JSONResponse(dict(machine_of(request).config.metadata))


async def change_metadata(request: Request) -> Response:
    """PATCH …/metadata, and PUT, which does the same: null and nothing remove a key."""
    machine, body = machine_of(request, change=True), await body_of(request)
    changes = body.get("metadata")
    if not isinstance(changes, Mapping):
        raise ApiError(400, "metadata: an object of keys and values is wanted")
    version = body.get("machine_version")
    if version and version != machine.instance_id:
        raise ApiError(412, f"machine version is {machine.instance_id}, not {version}")
    _change(request, machine, changes)
    return Response(status_code=204)


async def show_value(request: Request) -> Response:
    """GET …/metadata/{key}."""
    metadata, key = machine_of(request).config.metadata, request.path_params["key"]
    if key not in metadata:
        raise ApiError(404, f"metadata key not found: {key}")
    return JSONResponse({"value": metadata[key]})


async def set_value(request: Request) -> Response:
    """POST and DELETE …/metadata/{key}."""
    machine, key = machine_of(request, change=True), request.path_params["key"]
    value = None if request.method == "DELETE" else (await body_of(request)).get("value", "")
    _change(request, machine, {key: value})
    return Response(status_code=204)


def _change(request: Request, machine: MachineRecord, changes: Mapping[str, object]) -> None:
    for key, value in changes.items():
        if not (value is None or isinstance(value, str)):
            raise ApiError(400, f"metadata {key}: {value!r} is no text")
    merged = {**machine.config.metadata, **changes}
    raw = {**machine.raw_config, "metadata": {k: v for k, v in merged.items() if v}}
    machine.raw_config, machine.config = raw, read_config(world_of(request), raw)
    machine.touch()


ROUTES = [
    Route(f"{MACHINE}/metadata", show_metadata),
    Route(f"{MACHINE}/metadata", change_metadata, methods=["PATCH", "PUT"]),
    Route(MACHINE + "/metadata/{key}", show_value),
    Route(MACHINE + "/metadata/{key}", set_value, methods=["POST", "DELETE"]),
]
