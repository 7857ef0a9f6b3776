"""The command line: reads flags, calls a room, prints, exits; imports rooms where needed."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from loadtest.errors import EXIT_INTERRUPTED, EXIT_PASS, LoadtestError, PlanError
from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.run.judge import Judged

EXIT_CODES = """\b
Exit codes:
   0  pass, or no thresholds          10  fail
  11  inconclusive                    12  invalid: the numbers cannot be trusted
  13  the plan is wrong               14  the world could not be brought up
  15  the load could not be made     130  interrupted (what was measured is kept)
   1  a bug in loadtest                2  bad usage
"""


def main() -> None:
    """Run the command line; every foreseeable failure is a sentence and an exit code."""
    terminal = Terminal()
    try:
        code = cli.main(standalone_mode=False, obj=terminal)
    except LoadtestError as error:
        terminal.error(str(error))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        terminal.error("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    finally:
        terminal.finish()
    sys.exit(code if isinstance(code, int) else EXIT_PASS)


def _list(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """Split ``a,b c`` into names; None stays None."""
    if value is None:
        return None
    return [name for name in value.replace(",", " ").split() if name]


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that win over a plan's keys."""
    for option in reversed(
        [
            click.option("--regions", callback=_list, metavar="A,B", help="Client regions."),
            click.option("--primary", metavar="CODE", help="Region of the primary database."),
            click.option("--deployments", callback=_list, metavar="A,B", help="Keep only these."),
            click.option("--scenario", metavar="FILE", help="Python file with TTFBUser classes."),
            click.option("--rate", type=float, help="Arrivals per second in each cell."),
            click.option("--duration", type=float, metavar="S", help="Seconds of measuring."),
            click.option("--warmup", type=float, metavar="S", help="Seconds before measuring."),
            click.option("--seed", type=int, help="Seed of the schedule and the bootstrap."),
            click.option("--rtt", metavar="SET", help="published-era, neutral, or a CSV file."),
            click.option("--base", "base_ms", metavar="MS", help="published, ms, or a CSV file."),
            click.option("--threshold", "thresholds", multiple=True, metavar="RULE",
                         help="Rule such as 'ttfb.p95 < 100ms'; repeatable; replaces the plan's."),
            click.option("--looks", type=int, help="Segments an undecided run may take."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


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


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loadtest")
def cli() -> None:
    """Measure time to first byte from every region, compare deployments, give a verdict."""


@cli.command(epilog=EXIT_CODES)
@click.argument("plan", required=False)
@plan_options
@click.option("--world", default=None, metavar="WHERE",
              help="embedded (default), fly, or the URL of a world that is up.")  # fmt: skip
@click.option("--image", metavar="REF", help="On Fly: image of the apps, as pushed.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to write.")
@click.pass_obj
def run(terminal: Terminal, /, plan: str | None, **options: Any) -> int:
    """Measure a PLAN (default: the latency tables), write the report, exit with the verdict."""
    from loadtest.plan.resolve import load_plan
    from loadtest.run.conduct import Conduct

    where = options["world"]
    flags = flags_of(options)
    if where in ("embedded", "fly"):
        flags["world"] = where
    elif where is not None and not where.startswith(("http://", "https://")):
        raise PlanError(f"--world: {where!r} is neither 'embedded', 'fly' nor the URL of a world")
    resolved = load_plan(plan, flags)
    conduct = Conduct(
        resolved,
        terminal,
        out=options["out"],
        world_url=where if where and "://" in where else "",
        image=options["image"] or "",
        command=_command(),
    )
    with _gentle_stop(conduct.request_stop):
        judged = conduct.run()
    return _say(terminal, judged)


@cli.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def analyze(terminal: Terminal, /, folder: Path | None) -> int:
    """Redo summary, verdict and report of a stored run (default: the latest)."""
    from loadtest.run.judge import judge_folder

    return _say(terminal, judge_folder(folder, command=""))


@cli.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--open/--no-open", "show", default=True, help="Open it in the browser.")
@click.pass_obj
def report(terminal: Terminal, /, folder: Path | None, *, show: bool) -> int:
    """Print where the report of a stored run is (default: the latest), and open it."""
    from loadtest.run.judge import report_path

    path = report_path(folder)
    terminal.lines([str(path)])
    if show and sys.stdout.isatty():
        click.launch(path.as_uri())
    return EXIT_PASS


@cli.group()
def world() -> None:
    """Keep an emulated world running, to look around in."""


@world.command("up")
@click.argument("plan", required=False)
@plan_options
@click.pass_obj
def world_up(terminal: Terminal, /, plan: str | None, **options: Any) -> int:
    """Bring a world up, print every address, stay until Ctrl-C."""
    from loadtest.plan.resolve import load_plan
    from loadtest.run.visit import stay

    resolved = load_plan(plan, flags_of(options))
    stay(resolved, terminal, terminal.lines)
    return EXIT_PASS


def _say(terminal: Terminal, judged: Judged) -> int:
    """Print tables and verdict of a judged run; return its exit code."""
    for table in judged.tables:
        terminal.table(table.title, table.headers, table.rows)
    terminal.verdict(judged.decision, judged.verdict_lines)
    terminal.lines(["", f"report: {judged.report}"])
    return judged.exit_code


def _command() -> str:
    """Return the command as it was typed, for the report's last section."""
    return shlex.join(["loadtest", *sys.argv[1:]])


class _gentle_stop:  # noqa: N801 - used as a function, in a with statement
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


if __name__ == "__main__":
    main()
