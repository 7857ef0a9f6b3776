"""Has a locustfile looked at in a process of its own: importing it patches sockets."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.errors import PlanError
from loadtest.frozen import read, to_json
from loadtest.plan.locustfile import LocustCommand, LocustfileFacts, plan_of_locustfile
from loadtest.plan.model import Plan
from loadtest.plan.resolve import plan_of_raw
from loadtest.plan.selection import names_in
from loadtest.run.looking import LOCUSTFILE, Look


def locustfile_plan(
    command: LocustCommand, at: str, flags: Mapping[str, object]
) -> tuple[Plan, list[str]]:
    """
    Return the plan that plays a locustfile, and what a person should know of it beforehand.

    Args:
        command: What the command line says of it.
        at: Region that the hosts stand in; empty: no distance is emulated.
        flags: As for ``load_raw``.

    Raises:
        PlanError: The file cannot be played; one sentence, with file and line where there is one.
    """
    flags = dict(flags)
    if flags.get("load.rate") is not None:
        raise PlanError(
            f"--rate {flags['load.rate']:g}: a locustfile's users send when they are ready (the "
            "closed model); say how many there are with --users"
        )
    for key, flag in (("load.duration_s", "--duration"), ("load.warmup_s", "--warmup")):
        if flags.get(key) is not None:
            raise PlanError(f"{flag}: a locustfile runs for --run-time, its start included")
    if flags.get("scenario") is not None:
        raise PlanError("--scenario: the scenario is the locustfile; give one of the two")
    regions = names_in(flags, "regions")
    flags.pop("regions", None)
    if at and at not in regions:
        regions = [at, *regions]
    command, facts = look(command)
    world = str(flags.get("world") or "embedded")
    raw, notes = plan_of_locustfile(command, facts, at=at, regions=regions, world=world)
    return plan_of_raw(raw, flags), notes


def look(command: LocustCommand) -> tuple[LocustCommand, LocustfileFacts]:
    """
    Return the command with what Locust's own settings add to it, and what the file says of itself.

    Raises:
        PlanError: It cannot be imported or played.
    """
    with Look(LOCUSTFILE, command.path, to_json(command)) as looked:
        answer = looked.answer()
    facts = LocustfileFacts.from_json(answer["facts"])
    return read(LocustCommand, answer["command"], command.path), facts
