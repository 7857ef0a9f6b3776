"""The flags of Locust's own command line, for its own locustfiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from loadtest.cli_words import FileName, list_of
from loadtest.errors import PlanError
from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.plan.locustfile import LocustCommand
    from loadtest.plan.model import Plan


def locust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of Locust's own command line, for its own locustfiles."""
    options = [
        click.option("-f", "--locustfile", type=FileName(), metavar="FILE",
                     help="Play a locustfile as it is; words name user classes."),
        click.option("-H", "--host", "hosts", multiple=True, metavar="URL",
                     help="With -f: base URL; several are compared."),
        click.option("-u", "--users", type=click.IntRange(1), help="With -f: users of each cell."),
        click.option("-r", "--spawn-rate", type=click.FloatRange(0, min_open=True),
                     help="With -f: users started a second."),
        click.option("-t", "--run-time", callback=_run_time, metavar="TIME",
                     help="With -f: such as 300, 20s, 3m, 1h30m."),
        click.option("-T", "--tags", callback=list_of, metavar="A,B",
                     help="With -f: only tasks with one of these tags."),
        click.option("-E", "--exclude-tags", callback=list_of, metavar="A,B",
                     help="With -f: no task with one of these tags."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _run_time(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """Read a time as Locust writes it, in seconds."""
    from loadtest.plan.locustfile import run_time_s

    return None if value is None else run_time_s(value)


def locust_command(options: Mapping[str, Any], words: Sequence[str]) -> LocustCommand | None:
    """
    Return what the flags say of a locustfile; None where there is none.

    Args:
        options: Values of the flags.
        words: The words beside them: user classes, then options of the file's own after ``--``.

    Raises:
        PlanError: A flag that goes with a locustfile is given without one.
    """
    from loadtest.plan.credentials import without_credentials
    from loadtest.plan.locustfile import LocustCommand
    from loadtest.plan.urls import looks_like_url

    given = ("hosts", "users", "spawn_rate", "run_time", "tags", "exclude_tags")
    if options["locustfile"] is None:
        for name in given:
            if options[name]:
                flag = name.rstrip("s") if name == "hosts" else name.replace("_", "-")
                raise PlanError(f"--{flag} goes with a locustfile; add -f FILE")
        return None
    if urls := [word for word in words if looks_like_url(word)]:
        shown = without_credentials(urls[0])
        raise PlanError(f"-f: {shown} is the target of a locustfile: write --host {shown}")
    first = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    return LocustCommand(
        options["locustfile"],
        tuple(options["hosts"]),
        tuple(words[:first]),
        options["users"],
        options["spawn_rate"],
        options["run_time"],
        tuple(options["tags"] or ()),
        tuple(options["exclude_tags"] or ()),
        tuple(words[first:]),
    )


def plan_for(
    terminal: Terminal, command: LocustCommand, options: Mapping[str, Any], flags: dict[str, object]
) -> Plan:
    """
    Return the plan that plays a locustfile; says what it will do, and what has no meaning.

    Raises:
        PlanError: The file cannot be played, or a flag does not go with it.
    """
    from loadtest.plan.locustfile import users_in_words
    from loadtest.run.locustfile import locustfile_plan

    if options["paths"]:
        raise PlanError("--path goes with a URL; a locustfile says itself what to ask for")
    plan, notes = locustfile_plan(command, options["at"], flags)
    for note in notes:
        terminal.warn(note)
    terminal.done(f"load of {command.path}: {users_in_words(plan)}")
    return plan
