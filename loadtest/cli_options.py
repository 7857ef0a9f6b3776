"""What the commands share: the flags that win over a plan, the gentle stop, the last words."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.run.judge import Judged

EXIT_CODES = """\b
Exit codes:
   0  pass, or no thresholds          10  fail
  11  inconclusive                    12  invalid: the numbers cannot be trusted
  13  the plan is wrong               14  the world could not be brought up
  15  the load could not be made     130  interrupted (what was measured is kept)
 141  the output was closed, as by head
   1  a bug in loadtest                2  bad usage
"""


def _list(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """Split ``a,b c`` into names; None stays None."""
    if value is None:
        return None
    return [name for name in value.replace(",", " ").split() if name]


def plan_options(base_time: str = "--base") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Return a decorator that gives a command the flags that win over a plan's keys.

    Args:
        base_time: Name of the flag for the app's base time; ``loadtest gate`` means something else
            by ``--base``.
    """
    options = [
        click.option("--regions", callback=_list, metavar="A,B", help="Client regions."),
        click.option("--primary", metavar="CODE", help="Region of the primary database."),
        click.option("--deployments", callback=_list, metavar="A,B", help="Keep only these."),
        click.option("--scenario", metavar="FILE", help="Python file with TTFBUser classes."),
        click.option("--rate", type=float, help="Arrivals per second in each cell."),
        click.option("--duration", type=float, metavar="S", help="Seconds of measuring."),
        click.option("--warmup", type=float, metavar="S", help="Seconds before measuring."),
        click.option("--seed", type=int, help="Seed of the schedule and the bootstrap."),
        click.option("--rtt", metavar="SET", help="published-era, neutral, or a CSV file."),
        click.option(base_time, "base_ms", metavar="MS",
                     help="The app's own time: published, ms, or a CSV file."),
        click.option("--threshold", "thresholds", multiple=True, metavar="RULE",
                     help="Rule such as 'ttfb.p95 < 100ms'; repeatable; replaces the plan's."),
        click.option("--looks", type=int, help="Segments an undecided run may take."),
    ]  # fmt: skip

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def flags_of(options: dict[str, Any]) -> dict[str, Any]:
    """Turn option values into dotted keys of a plan."""
    keys = {
        "regions": "regions",
        "primary": "primary_region",
        "deployments": "deployments",
        "scenario": "scenario",
        "rate": "load.rate",
        "duration": "load.duration_s",
        "warmup": "load.warmup_s",
        "seed": "seed",
        "rtt": "network.rtt",
        "base_ms": "base",
        "looks": "gate.max_looks",
    }
    flags = {key: options.get(name) for name, key in keys.items()}
    flags["thresholds"] = options.get("thresholds") or None
    return flags


def say(terminal: Terminal, judged: Judged) -> int:
    """Print tables and verdict of a judged run; return its exit code."""
    from loadtest.run.judge import tell_github

    for table in judged.tables:
        terminal.table(table.title, table.headers, table.rows)
    terminal.verdict(judged.decision, judged.verdict_lines)
    terminal.lines(["", f"report: {judged.report}"])
    terminal.lines(tell_github(judged, os.environ))
    return judged.exit_code


def typed_command() -> str:
    """Return the command as it was typed, for the report's last section."""
    return shlex.join(["loadtest", *sys.argv[1:]])


def typed_after(word: str) -> str:
    """Return what was typed after a word of the command line; nothing where it was not typed."""
    words = sys.argv[1:]
    return shlex.join(words[words.index(word) + 1 :]) if word in words else ""


class gentle_stop:  # noqa: N801 - used as a function, in a with statement
    """
    First Ctrl-C or SIGTERM asks the run to stop and keep what it has; the second ends at once.

    Args:
        stop: Called once, from the signal handler; must only set a flag.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            os.write(2, b"\n")
            raise KeyboardInterrupt
        self._asked = True
        self._stop()
