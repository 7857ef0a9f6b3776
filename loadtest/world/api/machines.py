"""The Machines API of the world: machines and all that is done to one."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.fly.ids import new_ulid
from loadtest.world.api.answers import ApiError, body_of, number_query
from loadtest.world.api.apps import app_of, world_of
from loadtest.world.api.at_machine import lease_to, machine_of, seconds
from loadtest.world.api.create import check_name, check_secrets, read_config, read_region
from loadtest.world.api.volumes import attach, volumes_for
from loadtest.world.machines.programs import signal_number
from loadtest.world.machines.store import ENDED

_WAITABLE = ("started", "stopped", "suspended", "destroyed", "failed", "settled")
_SETTLED = ("started", "suspended", *ENDED)


async def list_machines(request: Request) -> Response:
    """GET /v1/apps/{app}/machines: filtered by region, state and metadata."""
    app, query = app_of(request), request.query_params
    destroyed = query.get("include_deleted") == "true"
    machines = world_of(request).store.machines(app.name, destroyed=destroyed)
    regions = query.get("region", "").split(",") if query.get("region") else []
    states = query.get("state", "").split(",") if query.get("state") else []
    labels = {
        key.removeprefix("metadata."): value
        for key, value in query.items()
        if key.startswith("metadata.")
    }
    return JSONResponse(
        [
            machine.to_json()
            for machine in machines
            if (not regions or machine.region in regions)
            and (not states or machine.state in states)
            and labels.items() <= dict(machine.config.metadata).items()
        ]
    )


async def create_machine(request: Request) -> Response:
    """POST /v1/apps/{app}/machines: made and, unless told otherwise, started."""
    world, app, body = world_of(request), app_of(request), await body_of(request)
    check_secrets(app, body.get("min_secrets_version"))
    config = read_config(world, body.get("config"))
    region = read_region(world, body.get("region"))
    name = str(body.get("name") or f"machine-{secrets.token_hex(4)}")
    check_name(world, app.name, name)
    volumes = volumes_for(world, app, config, region)
    machine = world.create(app.name, name, region, body["config"], config)
    attach(volumes, machine)
    answer = machine.to_json()
    if (ttl_s := body.get("lease_ttl")) is not None:
        answer["nonce"] = lease_to(machine, ttl_s).nonce
    if not body.get("skip_launch"):
        await world.runtime(machine).start()
    return JSONResponse(answer)


async def show_machine(request: Request) -> Response:
    """GET /v1/apps/{app}/machines/{machine}."""
    return JSONResponse(machine_of(request).to_json())


async def update_machine(request: Request) -> Response:
    """POST /v1/apps/{app}/machines/{machine}: a full config takes the place of the old one."""
    world, body = world_of(request), await body_of(request)
    machine = machine_of(request, change=True)
    config = read_config(world, body.get("config"))
    version = body.get("current_version")
    if version and version != machine.instance_id:
        raise ApiError(409, f"machine version is {machine.instance_id}, not {version}")
    runtime = world.runtime(machine)
    await runtime.stop()
    machine.raw_config, machine.config = body["config"], config
    machine.instance_id = new_ulid()
    machine.set_state("stopped", "update", source="user")
    if not body.get("skip_launch"):
        await runtime.start()
    return JSONResponse(machine.to_json())


async def destroy_machine(request: Request) -> Response:
    """DELETE /v1/apps/{app}/machines/{machine}: a running one only by force."""
    machine = machine_of(request, change=True)
    query = request.query_params
    forced = "true" in (query.get("force"), query.get("kill"))
    if machine.state in ("started", "starting", "stopping") and not forced:
        raise ApiError(
            412,
            f"failed_precondition: unable to destroy machine, not currently stopped: "
            f"it is {machine.state}; use force=true",
        )
    await world_of(request).destroy(machine)
    return JSONResponse({"ok": True})


async def start_machine(request: Request) -> Response:
    """POST …/start."""
    machine = machine_of(request, change=True)
    previous = machine.state
    await world_of(request).runtime(machine).start()
    return JSONResponse({"previous_state": previous, "migrated": False, "new_host": ""})


async def stop_machine(request: Request) -> Response:
    """POST …/stop: answers at once, the machine may take its time."""
    machine, body = machine_of(request, change=True), await body_of(request)
    number = _signal(body["signal"]) if body.get("signal") else None
    runtime = world_of(request).runtime(machine)
    request.app.state.later(runtime.stop(number, seconds(body.get("timeout"))))
    return JSONResponse({"ok": True})


async def suspend_machine(request: Request) -> Response:
    """POST …/suspend: a program stands still until it is started, others are stopped."""
    machine = machine_of(request, change=True)
    if machine.state != "started":
        raise ApiError(412, f"failed_precondition: machine is {machine.state}, not started")
    request.app.state.later(world_of(request).runtime(machine).suspend())
    return JSONResponse({"ok": True})


async def restart_machine(request: Request) -> Response:
    """POST …/restart."""
    machine, query = machine_of(request, change=True), request.query_params
    runtime = world_of(request).runtime(machine)
    number = _signal(query["signal"]) if query.get("signal") else None
    await runtime.stop(number, seconds(query.get("timeout")))
    await runtime.start()
    return JSONResponse({"ok": True})


async def signal_machine(request: Request) -> Response:
    """POST …/signal."""
    machine, body = machine_of(request, change=True), await body_of(request)
    world_of(request).runtime(machine).signal(_signal(body.get("signal") or "SIGINT"))
    return JSONResponse({"ok": True})


async def cordon_machine(request: Request) -> Response:
    """POST …/cordon and …/uncordon: whether edges may send requests there."""
    machine = machine_of(request, change=True)
    machine.cordoned = request.url.path.endswith("/cordon")
    machine.touch()
    return JSONResponse({"ok": True})


async def wait_for_machine(request: Request) -> Response:
    """GET …/wait: 200 when the state is reached, 408 when time is over first."""
    machine, query = machine_of(request), request.query_params
    states = {part for text in query.getlist("state") for part in text.split(",") if part}
    states = states or {"started"}
    if unknown := sorted(states - set(_WAITABLE)):
        raise ApiError(400, f"invalid state {unknown[0]!r}; it must be {', '.join(_WAITABLE)}")
    timeout_s = number_query(request, "timeout", 60, 1, 60)
    version = query.get("instance_id") or query.get("version") or ""

    def reached() -> bool:
        if machine.state == "destroyed" and "destroyed" in states:
            return True
        settled = "settled" in states and machine.state in _SETTLED
        same = version in ("", machine.instance_id)
        return same and (settled or machine.state in states)

    if not await machine.until(reached, timeout_s):
        raise ApiError(
            408,
            "deadline_exceeded: machine failed to reach desired state, "
            f"{', '.join(sorted(states))}, currently {machine.state}",
        )
    newest = machine.events[0]["id"] if machine.events else ""
    return JSONResponse(
        {"ok": True, "state": machine.state, "version": machine.instance_id, "event_id": newest}
    )


async def list_events(request: Request) -> Response:
    """GET …/events: newest first."""
    limit = number_query(request, "limit", 20, 1, 50)
    return JSONResponse(list(machine_of(request).events)[:limit])


async def list_versions(request: Request) -> Response:
    """GET …/versions: the newest only, older configs are not kept."""
    machine = machine_of(request)
    return JSONResponse([{"version": machine.instance_id, "user_config": machine.raw_config}])


def _signal(value: object) -> int:
    try:
        return int(value) if isinstance(value, int) else signal_number(str(value))
    except ValueError as error:
        raise ApiError(422, str(error)) from error


_ONE = "/v1/apps/{app}/machines/{machine}"
ROUTES = [
    Route("/v1/apps/{app}/machines", list_machines),
    Route("/v1/apps/{app}/machines", create_machine, methods=["POST"]),
    Route(_ONE, show_machine),
    Route(_ONE, update_machine, methods=["POST"]),
    Route(_ONE, destroy_machine, methods=["DELETE"]),
    Route(f"{_ONE}/versions", list_versions),
    Route(f"{_ONE}/start", start_machine, methods=["POST"]),
    Route(f"{_ONE}/stop", stop_machine, methods=["POST"]),
    Route(f"{_ONE}/suspend", suspend_machine, methods=["POST"]),
    Route(f"{_ONE}/restart", restart_machine, methods=["POST"]),
    Route(f"{_ONE}/signal", signal_machine, methods=["POST"]),
    Route(f"{_ONE}/cordon", cordon_machine, methods=["POST"]),
    Route(f"{_ONE}/uncordon", cordon_machine, methods=["POST"]),
    Route(f"{_ONE}/wait", wait_for_machine),
    Route(f"{_ONE}/events", list_events),
]
