"""Waits until machines are healthy, and tells what one that does not get there said last."""

from __future__ import annotations

import asyncio
import time

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.client import MachinesClient
from loadtest.fly.machines import RUN_ID_KEY
from loadtest.text import telling_lines

_FIRST_POLL_S = 0.4
_POLL_S = 0.25
_CRASHES_TOLD = 3  # an app that ended this often is not going to get healthy by itself
_OUTPUT_LINES = 12


async def until_healthy(
    client: MachinesClient, app: str, machine: Machine, *, until: float, deadline_s: float
) -> Machine:
    """
    Return a machine once it is healthy.

    Args:
        client: The Machines API.
        app: The machine's app.
        machine: The machine, as last seen.
        until: Monotonic seconds; by then it must be.
        deadline_s: How long that was from the beginning, for the sentence.

    Raises:
        WorldError: It vanished, does not stay up or is late; with the last lines of its output.
    """
    poll_s = _FIRST_POLL_S
    while True:
        seen = await client.machine(app, machine.id)
        if seen is None:
            raise WorldError(f"machine {machine.name} of app {app} vanished while it was starting")
        if seen.healthy and seen.instance_id == machine.instance_id:
            return seen  # and not what it ran before
        _raise_if_crashed(app, seen)
        if time.monotonic() >= until:
            raise WorldError(_unhealthy(app, seen, deadline_s))
        await asyncio.sleep(poll_s)
        poll_s = _POLL_S


async def start_anew(client: MachinesClient, app: str, run_id: str, *, deadline_s: float) -> None:
    """
    Start the programs of a run's machines of an app anew; return when all are healthy again.

    Args:
        client: The Machines API.
        app: The app.
        run_id: The run whose machines are meant.
        deadline_s: Seconds until every machine must be healthy.

    Raises:
        WorldError: The API refused, or a machine did not get healthy.
    """
    until = time.monotonic() + deadline_s

    async def anew(machine: Machine) -> None:
        await client.restart(app, machine.id)
        await until_healthy(client, app, machine, until=until, deadline_s=deadline_s)

    async with asyncio.TaskGroup() as group:
        for machine in await client.machines(app, metadata={RUN_ID_KEY: run_id}):
            group.create_task(anew(machine))


def last_lines(machine: Machine) -> str:
    """Return the end of a machine's output as far as checks and events tell it, or nothing."""
    outputs = [check.output for check in machine.checks if not check.passing and check.output]
    ended = machine.last_exit
    text = (ended.output if ended is not None else "") or "\n".join(outputs)
    return "\n".join(f"  | {line}" for line in telling_lines(text, _OUTPUT_LINES))


def _raise_if_crashed(app: str, machine: Machine) -> None:
    exits = [e for e in machine.events if e.exit_code is not None and not e.asked]
    over = machine.state in ("stopped", "failed", "destroyed") and bool(exits)
    if over or len(exits) >= _CRASHES_TOLD:
        ended = machine.last_exit
        code = ended.exit_code if ended is not None else "unknown"
        raise WorldError(
            f"machine {machine.name} of app {app} in {machine.region} does not stay up: "
            f"it ended with exit code {code}{indented(machine)}"
        )


def _unhealthy(app: str, machine: Machine, deadline_s: float) -> str:
    failing = [check.name for check in machine.checks if not check.passing]
    reason = f"check {failing[0]} does not pass" if failing else f"its state is {machine.state}"
    return (
        f"machine {machine.name} of app {app} in {machine.region} did not become healthy within "
        f"{deadline_s:g} s: {reason}{indented(machine)}"
    )


def indented(machine: Machine | None) -> str:
    """Return the end of a machine's output as the end of a sentence; empty where there is none."""
    lines = last_lines(machine) if machine is not None else ""
    return f"; its last output:\n{lines}" if lines else ""
