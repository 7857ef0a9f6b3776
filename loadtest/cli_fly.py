"""The commands about an account on Fly: what runs have there, and the end of what they left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loadtest.cli_options import EXIT_CODES
from loadtest.errors import EXIT_PASS, EXIT_WORLD, PlanError
from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.run.leftovers import FlyStatus

_ORG = click.option("--org", default="", metavar="SLUG", help="Organization; default: FLY_ORG.")
_RUN = click.option("--run", "run_id", default="", metavar="ID", help="What this run made alone.")


@click.group()
def fly() -> None:
    """Look after what runs have in an organization on Fly."""


@fly.command(epilog=EXIT_CODES)
@_ORG
@_RUN
@click.pass_obj
def status(terminal: Terminal, /, org: str, run_id: str) -> int:
    """Show the machines and apps of all runs, going on or left behind, and what they cost."""
    from loadtest.run.leftovers import look

    _show(terminal, look(org, run_id))
    return EXIT_PASS


@fly.command(epilog=EXIT_CODES)
@_ORG
@_RUN
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def clean(terminal: Terminal, /, org: str, run_id: str, *, yes: bool) -> int:
    """
    Show what runs have left, and destroy it.

    Only machines whose metadata names a run are destroyed, with their volumes, and apps that a run
    made.  A run that is going on is not told from one that was killed: name one with --run.
    """
    from loadtest.run.leftovers import destroy, look

    found = look(org, run_id)
    _show(terminal, found)
    if not found.leftovers:
        return EXIT_WORLD if found.faults else EXIT_PASS
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise PlanError(
                "--yes: there is no terminal to ask on; give --yes to destroy what is shown above"
            )
        click.confirm("Destroy them?", abort=True, err=True)
    terminal.step("destroying")
    terminal.lines([destroy(found)])
    return EXIT_PASS


def _show(terminal: Terminal, found: FlyStatus) -> None:
    from loadtest.run.leftovers import HEADERS

    for fault in found.faults:
        terminal.warn(f"not looked at: {fault}")
    if found.leftovers:
        terminal.table("Of runs of loadtest", HEADERS, found.rows)
    terminal.lines([found.sentence])
