"""Machines that do nothing, one a region: the place of a command that somebody runs there."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.errors import WorldError
from loadtest.fly.machines import MachineConfig
from loadtest.fly.values import Json
from loadtest.world.machines.context import VISITOR_IMAGE, WorldContext
from loadtest.world.machines.runtime import MachineRuntime
from loadtest.world.machines.store import AppRecord, MachineRecord

APP = "visitors"

_STARTED_S = 10.0
_CONFIG: Json = {
    "image": VISITOR_IMAGE,
    "init": {"cmd": ["tail", "-f", "/dev/null"]},
    "restart": {"policy": "no"},
}

Create = Callable[[str, str, str, Json, MachineConfig], MachineRecord]


async def visitor_in(
    region: str,
    context: WorldContext,
    create: Create,
    runtime: Callable[[MachineRecord], MachineRuntime],
) -> MachineRecord:
    """
    Return the machine of a region that commands run in, made when it is asked for first.

    Args:
        region: One of the world's.
        context: What machines share.
        create: Makes a machine, as `World.create`.
        runtime: Returns what runs one.

    Raises:
        WorldError: Machines are no hosts here, or it did not start.
    """
    store = context.store
    if context.hosts is None:
        raise WorldError(
            "machines share this machine's loopback here (layer relay), so a region is no place "
            "that a command could run in; ask the URL of its edge instead: GET /world names them"
        )
    store.apps.setdefault(APP, AppRecord(APP))
    found = next((m for m in store.machines(APP) if m.region == region), None)
    if found is None:
        config = MachineConfig.from_json(_CONFIG)
        found = create(APP, f"visitor-{region}", region, _CONFIG, config)
    machine = found
    await runtime(machine).start()
    if not await machine.until(lambda: machine.state == "started", _STARTED_S):
        raise WorldError(f"the visitors' machine in {region} did not start: it is {machine.state}")
    return machine
