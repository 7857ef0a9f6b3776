"""The world that is up, for commands of another terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from loadtest.errors import WorldError
from loadtest.records.world_facts import WorldFacts
from loadtest.run.embedded_extras import WORLD_TOKEN_VARIABLE, EmbeddedExtras
from loadtest.world.guard.addresses import WorldAddress, addresses


@contextmanager
def standing_world(url: str = "") -> Iterator[EmbeddedExtras]:
    """
    Give the world that is up on this machine.

    Args:
        url: Which one; empty where there is only one.

    Raises:
        WorldError: There is none, there are several, or it does not answer.
    """
    address = _choose(url)
    extras = EmbeddedExtras(address.api_url, address.token)
    try:
        yield extras
    finally:
        extras.close()


def bend(what: str, *, for_s: float, url: str) -> str:
    """
    Let something go wrong in a world that is up; return a sentence about it.

    Args:
        what: The words, see `loadtest.faults`.
        for_s: Seconds until it is over; 0 for until it is healed.
        url: Which world; empty where there is only one.

    Raises:
        WorldError: There is no such world, or it refuses.
    """
    with standing_world(url) as extras:
        told = extras.fault(what, for_s=for_s)
    touched = [_counted(len(told.roads), "direction") if told.roads else ""]
    touched += [_counted(len(told.machines), "machine") if told.machines else ""]
    lasts = f", for {for_s:g} s" if for_s else ""
    return f"{told.what}: touches {''.join(touched) or 'nothing'}{lasts}"


def become_command(where: str, command: Sequence[str], *, url: str) -> NoReturn:
    """
    Become a command in a world that is up; its exit code is this program's.

    Args:
        where: As for `command_inside`.
        command: As there.
        url: As there.

    Raises:
        WorldError: As there.
    """
    words = command_inside(where, command, url=url)
    root = str(Path(__file__).resolve().parents[2])  # the package, wherever it was found
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    os.execve(words[0], words, {**os.environ, "PYTHONPATH": path})  # noqa: S606 - no shell is meant


def command_inside(where: str, command: Sequence[str], *, url: str) -> list[str]:
    """
    Return the command line that runs a command in a region's place, or in a machine's.

    Args:
        where: A region, or ``APP/MACHINE`` with the machine's region, id or name.
        command: What to run there.
        url: Which world; empty where there is only one.

    Raises:
        WorldError: There is no such place, or none that can be entered.
    """
    with standing_world(url) as extras:
        world = extras.describe()
        if "/" in where:
            pid = _machine(where, world)
        elif where not in world.regions:
            raise WorldError(
                f"{where!r} is no place: name a region ({', '.join(world.regions)}), or a "
                "machine as APP/REGION"
            )
        elif world.link_layer != "hosts":
            raise WorldError(_no_place(world, where))
        else:
            pid = extras.visitor(where)
    return [sys.executable, "-m", "loadtest.world.hosts.visit", str(pid), *command]


def _machine(where: str, world: WorldFacts) -> int:
    """Return the process id of a machine."""
    app, _, name = where.partition("/")
    found = [
        m
        for m in world.machines or ()
        if m.app == app and name in (m.region, m.id, m.name) and m.pid
    ]
    if not found:
        running = sorted({f"{m.app}/{m.region}" for m in world.machines or () if m.pid})
        raise WorldError(f"no machine {where!r} runs; there are {', '.join(running) or 'none'}")
    return int(found[0].pid or 0)


def _no_place(world: WorldFacts, region: str) -> str:
    """Return what is possible where machines share this machine's loopback."""
    edges = (world.edges or {}).get(region, {})
    urls = ", ".join(f"{app} at {url}" for app, url in sorted(edges.items()))
    why = f" ({world.why_not_hosts})" if world.why_not_hosts else ""
    return (
        f"layer relay{why}: machines share this machine's loopback, so {region} is no place of its "
        f"own; its edge is reached from here: {urls or 'no app serves HTTP'}. "
        "APP/REGION runs a command with that machine's environment"
    )


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _choose(url: str) -> WorldAddress:
    found = addresses()
    if url:
        token = os.environ.get(WORLD_TOKEN_VARIABLE, "")
        known = [entry for entry in found if entry.api_url == url.rstrip("/")]
        if token or not known:
            return WorldAddress(url, token)
        return known[0]
    if not found:
        raise WorldError("no world is up: `loadtest world up` brings one up")
    if len(found) > 1:
        urls = ", ".join(sorted(entry.api_url for entry in found))
        raise WorldError(f"several worlds are up: name one of them with --world: {urls}")
    return found[0]
