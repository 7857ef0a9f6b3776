"""The Machines API of the world: what is done inside a machine that runs."""

from __future__ import annotations

import shlex

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.fly.values import Json
from loadtest.world.api.answers import ApiError, body_of
from loadtest.world.api.at_machine import MACHINE, machine_of
from loadtest.world.machines.inside import processes_of, run_inside
from loadtest.world.machines.store import MachineRecord

_LONGEST_S = 60


async def run_command(request: Request) -> Response:
    """POST …/exec: a command beside the machine's program; answers once it has ended."""
    machine, body = machine_of(request, change=True), await body_of(request)
    words = _words(body)
    timeout_s = body.get("timeout") or _LONGEST_S
    if not isinstance(timeout_s, int) or not 0 < timeout_s <= _LONGEST_S:
        raise ApiError(400, f"timeout {timeout_s!r} is not 1 to {_LONGEST_S} seconds")
    pid, text = _running(machine), str(body.get("stdin") or "")
    try:
        end = await run_inside(pid, words, text=text, timeout_s=timeout_s)
    except TimeoutError as error:
        raise ApiError(
            408, f"deadline_exceeded: the command did not end within {timeout_s} s"
        ) from error
    return JSONResponse(
        {
            "exit_code": end.exit_code,
            "exit_signal": end.exit_signal,
            "stdout": end.stdout,
            "stderr": end.stderr,
        }
    )


async def list_processes(request: Request) -> Response:
    """GET …/ps: the program and all that it started; times of the kernel's are not told."""
    found: list[Json] = [
        {
            "pid": process.pid,
            "command": process.command,
            "directory": process.directory,
            "cpu": process.cpu_s,
            "rss": process.resident_bytes,
            "rtime": 0,
            "stime": 0,
            "listen_sockets": [],
        }
        for process in processes_of(_running(machine_of(request)))
    ]
    return JSONResponse(found)


def _running(machine: MachineRecord) -> int:
    if machine.state != "started" or machine.pid is None:
        raise ApiError(412, f"failed_precondition: machine is {machine.state}, not started")
    return machine.pid


def _words(body: dict[str, object]) -> list[str]:
    command = body.get("command") or []
    if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
        return command
    try:
        words = shlex.split(str(body.get("cmd") or ""))
    except ValueError as error:
        raise ApiError(400, f"cmd: {error}") from error
    if not words:
        raise ApiError(400, "command: a list of words is wanted")
    return words


ROUTES = [
    Route(f"{MACHINE}/exec", run_command, methods=["POST"]),
    Route(f"{MACHINE}/ps", list_processes),
]
