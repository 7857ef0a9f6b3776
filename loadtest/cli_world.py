"""The commands about an embedded world that stays up: to look around, to let things go wrong."""

from __future__ import annotations

from typing import Any

import click

from loadtest.cli_options import EXIT_CODES, flags_of, plan_options, typed_after
from loadtest.cli_words import seconds
from loadtest.errors import EXIT_PASS
from loadtest.terminal import Terminal

_WORLD = click.option(
    "--world", "url", default="", metavar="URL", help="Which world; default: the one that is up."
)


@click.group()
def world() -> None:
    """Keep an emulated world running, to look around in."""


@world.command("up")
@click.argument("plan", required=False)
@plan_options()
@click.pass_obj
def world_up(terminal: Terminal, /, plan: str | None, **options: Any) -> int:
    """Bring a world up, print every address, stay until Ctrl-C."""
    from loadtest.plan.resolve import load_plan
    from loadtest.run.begun import begun_for

    resolved = load_plan(plan, flags_of(options))
    with begun_for(resolved):
        from loadtest.run.visit import stay

        stay(resolved, terminal, terminal.lines, flags=typed_after("up"))
    return EXIT_PASS


@world.command("fault", epilog=EXIT_CODES)
@click.argument("what", nargs=-1, required=True)
@click.option("--for", "for_s", callback=seconds, metavar="S", help="Until it heals by itself.")
@_WORLD
@click.pass_obj
def world_fault(terminal: Terminal, /, what: tuple[str, ...], for_s: float | None, url: str) -> int:
    """
    Let something go wrong in a world that is up, or that a run is using.

    WHAT is one of: cut A-B, freeze A, loss 1% A-B, reorder 5% by 10ms A-B, jitter 5ms A-B,
    delay 20ms A>B, bandwidth 10mbit A-B, heal A-B, kill APP/REGION, restart APP/REGION.
    """
    from loadtest.faults import parse_fault
    from loadtest.run.standing_world import bend

    fault = parse_fault(" ".join(what))
    terminal.lines([bend(fault.what, for_s=for_s or 0.0, url=url)])
    return EXIT_PASS


@world.command("exec", epilog=EXIT_CODES, context_settings={"ignore_unknown_options": True})
@_WORLD
@click.argument("where")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def world_exec(where: str, command: tuple[str, ...], url: str) -> None:
    """
    Run a command in a world that is up: WHERE is a region, or a machine as APP/REGION or APP/ID.

    It sees that place's network, names and files: `loadtest world exec syd -- curl http://...`.
    """
    from loadtest.run.standing_world import become_command

    become_command(where.lower(), command, url=url)
