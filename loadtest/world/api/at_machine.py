"""Finds the machine that a call is about, and who may change it: leases."""

from __future__ import annotations

import secrets
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.fly.values import parse_duration_s
from loadtest.world.api.answers import ApiError, body_of
from loadtest.world.api.apps import app_of, world_of
from loadtest.world.machines.store import Lease, MachineRecord

NONCE_HEADER = "fly-machine-lease-nonce"
_DEFAULT_LEASE_S = 3_600


def machine_of(request: Request, *, change: bool = False) -> MachineRecord:
    """
    Return the machine that a path names.

    Args:
        request: The request.
        change: The call changes it, so a lease of somebody else forbids it.

    Raises:
        ApiError: 404 when there is none, 409 when it is leased.
    """
    app, machine_id = app_of(request), request.path_params["machine"]
    machine = world_of(request).store.machine(app.name, machine_id)
    if machine is None or (change and machine.state == "destroyed"):
        raise ApiError(404, f"machine not found: {machine_id}")
    lease = machine.lease
    if change and lease is not None and lease.expires_at > time.time():
        nonce = request.headers.get("fly-machine-lease-nonce", "")
        if nonce != lease.nonce:
            raise ApiError(
                409,
                f"machine ID {machine.id} lease currently held by {lease.owner}, "
                f"expires at {lease.expires_at}",
            )
    return machine


def lease_to(machine: MachineRecord, ttl: object, description: str = "") -> Lease:
    """
    Give the lease of a machine to the caller; one that it holds already is renewed.

    Raises:
        ApiError: 422 when ``ttl`` is no time.
    """
    held = machine.lease is not None and machine.lease.expires_at > time.time()
    nonce = machine.lease.nonce if machine.lease is not None and held else secrets.token_hex(6)
    ttl_s = int(seconds(ttl) or _DEFAULT_LEASE_S)
    machine.lease = Lease(nonce, "loadtest", description, int(time.time()) + ttl_s)
    return machine.lease


async def take_lease(request: Request) -> Response:
    """POST …/lease: the same nonce renews it."""
    machine, body = machine_of(request, change=True), await body_of(request)
    told = body.get("ttl") or request.query_params.get("ttl")  # fly-go sends it in the query
    lease = lease_to(machine, told, str(body.get("description", "")))
    return JSONResponse(_lease(machine, lease), status_code=201)


async def show_lease(request: Request) -> Response:
    """GET …/lease."""
    machine = machine_of(request)
    if machine.lease is None or machine.lease.expires_at <= time.time():
        raise ApiError(404, f"lease not found for machine {machine.id}")
    return JSONResponse(_lease(machine, machine.lease))


async def drop_lease(request: Request) -> Response:
    """DELETE …/lease."""
    machine_of(request, change=True).lease = None
    return JSONResponse({"ok": True})


def _lease(machine: MachineRecord, lease: Lease) -> dict[str, object]:
    return {
        "status": "success",
        "data": {
            "nonce": lease.nonce,
            "expires_at": lease.expires_at,
            "owner": lease.owner,
            "description": lease.description,
            "version": machine.instance_id,
        },
    }


def seconds(value: object) -> float | None:
    """Return a time-out in seconds: a number counts seconds, text is a Go duration."""
    if value in (None, ""):
        return None
    try:
        return parse_duration_s(value)
    except ValueError as error:
        raise ApiError(422, str(error)) from error


MACHINE = "/v1/apps/{app}/machines/{machine}"
ROUTES = [
    Route(f"{MACHINE}/lease", show_lease),
    Route(f"{MACHINE}/lease", take_lease, methods=["POST"]),
    Route(f"{MACHINE}/lease", drop_lease, methods=["DELETE"]),
]
