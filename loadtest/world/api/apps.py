"""The Machines API of the world: apps and their addresses."""

from __future__ import annotations

import re
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.fly.values import Json
from loadtest.units import NS_PER_MS
from loadtest.world.api.answers import ApiError, body_of
from loadtest.world.machines.store import AppRecord, now_text
from loadtest.world.machines.supervisor import World

_APP_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?")
_ADDRESS_KINDS = ("v6", "v4", "shared_v4", "private_v6")
_UNKNOWN_CALLS, _UNKNOWN_MS = 2, 1_000  # as long as a fresh app may be unknown


def world_of(request: Request) -> World:
    """Return the world that an API serves."""
    world = request.app.state.world
    assert isinstance(world, World)
    return world


def app_of(request: Request) -> AppRecord:
    """
    Return the app that a path names, once the platform knows it everywhere.

    Raises:
        ApiError: 403 when it is another organization's, 404 when there is none, or none yet: the
            first calls about a fresh app find it unknown, or known without anybody who may use it
            (401).
    """
    name, world = request.path_params["app"], world_of(request)
    if name in world.spec.foreign_apps:
        raise ApiError(403, f"unauthorized: not authorized to access app {name}")
    app = world.store.apps.get(name)
    if app is None:
        raise ApiError(404, f"app not found: {name}")
    if app.unknown_calls and time.time_ns() // NS_PER_MS < app.created_ms + _UNKNOWN_MS:
        app.unknown_calls -= 1
        if app.unknown_calls % 2 == 0:
            raise ApiError(401, f"unauthorized: app {name}")
        raise ApiError(404, f"app not found: {name}")
    return app


async def list_apps(request: Request) -> Response:
    """GET /v1/apps: those of an organization."""
    world, org = world_of(request), request.query_params.get("org_slug")
    if not org:
        raise ApiError(400, "org_slug is required")
    apps = [app for app in world.store.apps.values() if app.org == org]
    return JSONResponse(
        {"total_apps": len(apps), "apps": [_app_answer(world, app) for app in apps]}
    )


async def create_app(request: Request) -> Response:
    """POST /v1/apps."""
    world, body = world_of(request), await body_of(request)
    name = body.get("name") or body.get("app_name")
    if not isinstance(name, str) or not _APP_NAME.fullmatch(name):
        raise ApiError(
            422, "Validation failed: Name may hold lower-case letters, digits and dashes only"
        )
    if name in world.store.apps or name in world.spec.foreign_apps:
        raise ApiError(422, "Validation failed: Name has already been taken", "name_taken")
    app = AppRecord(name, str(body.get("org_slug") or "personal"), str(body.get("network") or ""))
    app.unknown_calls = 0 if world.lenient else _UNKNOWN_CALLS
    world.store.apps[name] = app
    return JSONResponse({"id": app.id, "created_at": app.created_ms}, status_code=201)


async def show_app(request: Request) -> Response:
    """GET /v1/apps/{app}."""
    return JSONResponse(_app_answer(world_of(request), app_of(request)))


async def delete_app(request: Request) -> Response:
    """DELETE /v1/apps/{app}: with its machines when forced."""
    world, app = world_of(request), app_of(request)
    if world.store.machines(app.name) and request.query_params.get("force") != "true":
        raise ApiError(412, f"app {app.name} has machines; destroy them first or use force=true")
    await world.destroy_app(app.name)
    return Response(status_code=202)


async def list_addresses(request: Request) -> Response:
    """GET /v1/apps/{app}/ip_assignments."""
    return JSONResponse({"ips": list(app_of(request).addresses.values())})


async def assign_address(request: Request) -> Response:
    """POST /v1/apps/{app}/ip_assignments: from now on the edges know the app by its name."""
    world, app, body = world_of(request), app_of(request), await body_of(request)
    kind = body.get("type")
    if kind not in _ADDRESS_KINDS:
        raise ApiError(422, f"type {kind!r} is not one of {', '.join(_ADDRESS_KINDS)}")
    number = len(app.addresses) + 1
    ip = f"66.241.124.{number}" if kind in ("v4", "shared_v4") else f"2a09:8280:1::{number:x}"
    address: Json = {
        "ip": ip,
        "region": "global",
        "service_name": "",
        "shared": kind == "shared_v4",
        "created_at": now_text(),
    }
    app.addresses[ip] = address
    if any(machine.http_port is not None for machine in world.store.machines(app.name)):
        await world.gateways.ensure(app.name)
    return JSONResponse(address)


async def release_address(request: Request) -> Response:
    """DELETE /v1/apps/{app}/ip_assignments/{ip}: an app without addresses has no edge."""
    world, app = world_of(request), app_of(request)
    if app.addresses.pop(request.path_params["ip"], None) is None:
        raise ApiError(404, f"IP address not found: {request.path_params['ip']}")
    if not app.addresses:
        await world.gateways.forget(app.name)
    return Response(status_code=204)


def _app_answer(world: World, app: AppRecord) -> dict[str, object]:
    count = len(world.store.machines(app.name))
    return {
        "id": app.id,
        "name": app.name,
        "status": "deployed" if count else "pending",
        "machine_count": count,
        "volume_count": len(app.volumes),
        "network": app.network,
        "organization": {"name": app.org, "slug": app.org},
    }


ROUTES = [
    Route("/v1/apps", list_apps),
    Route("/v1/apps", create_app, methods=["POST"]),
    Route("/v1/apps/{app}", show_app),
    Route("/v1/apps/{app}", delete_app, methods=["DELETE"]),
    Route("/v1/apps/{app}/ip_assignments", list_addresses),
    Route("/v1/apps/{app}/ip_assignments", assign_address, methods=["POST"]),
    Route("/v1/apps/{app}/ip_assignments/{ip}", release_address, methods=["DELETE"]),
]
