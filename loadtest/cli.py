"""The command line: reads flags, calls a room, prints, exits; imports rooms where needed."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadtest.cli_advise import advise
from loadtest.cli_begin import doctor, explain, init, regions, scenarios
from loadtest.cli_fly import fly
from loadtest.cli_gate import comment, compare, gate, history
from loadtest.cli_live import LiveCommand, conduct, live_option
from loadtest.cli_locust import locust_command, locust_options, plan_for
from loadtest.cli_options import (
    EXIT_CODES,
    agreement,
    app_environment,
    app_secrets_of,
    client_options,
    flags_of,
    fly_options,
    header_option,
    plan_options,
    typed_command,
    typed_flags,
)
from loadtest.cli_output import output_options, say, say_failure, say_failure_object, say_length
from loadtest.cli_own import coordinator, keys, own_coordinator, own_options, worker
from loadtest.cli_words import FilePath, complete_codes, complete_file, place
from loadtest.cli_world import world
from loadtest.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_ENGINE,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EXIT_PLAN,
    EXIT_WORLD,
    LoadtestError,
    PlanError,
)
from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.plan.model import Plan


def main() -> None:
    """Run the command line; every foreseeable failure is a sentence and an exit code."""
    try:
        _main()
    except KeyboardInterrupt:  # one more, while it was told how the command ended
        sys.exit(EXIT_INTERRUPTED)


def _main() -> None:
    _open_standard_streams()
    # The products of the bootstrap are small: threads would only get in each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    terminal = Terminal()
    try:
        code = cli.main(standalone_mode=False, obj=terminal)
        gc.freeze()  # the process ends: what the interpreter would look through is all the report's
    except LoadtestError as error:
        say_failure(terminal, str(error), error.exit_code)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        if "--json" in sys.argv[1:]:  # bad usage is met before any flag counts
            terminal.only_json()
        say_failure_object(terminal, error.format_message(), error.exit_code)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say_failure(terminal, "interrupted", EXIT_INTERRUPTED)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # nobody reads on, as with `| head`
        terminal.give_up_output()
        sys.exit(EXIT_BROKEN_PIPE)
    except RecursionError:
        say_failure(terminal, "the input is nested too deeply; no plan needs that", EXIT_PLAN)
        sys.exit(EXIT_PLAN)
    except MemoryError:
        say_failure(terminal, "this machine has no memory left for it; give it more", EXIT_ENGINE)
        sys.exit(EXIT_ENGINE)
    except OSError as error:  # such as a full disk, wherever it is met
        where = f"{error.filename}: " if error.filename else ""
        say_failure(terminal, f"{where}{error.strerror or error}", EXIT_WORLD)
        sys.exit(EXIT_WORLD)
    finally:
        terminal.finish()
    sys.exit(code if isinstance(code, int) else EXIT_PASS)


def _open_standard_streams() -> None:
    """Open what the caller closed: the next file that we open would take its place otherwise."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - lasts as long as we do
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - the same


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loadtest")
def cli() -> None:
    """Measure time to first byte from every region, compare deployments, give a verdict."""


_KEYS = {"paths": "paths = [...]", "at": "deployments.at"}

for command in (
    gate,
    comment,
    compare,
    history,
    advise,
    fly,
    world,
    keys,
    coordinator,
    worker,
    init,
    doctor,
    regions,
    scenarios,
    explain,
):
    cli.add_command(command)


@cli.command(cls=LiveCommand, epilog=EXIT_CODES)
@click.argument("what", nargs=-1, metavar="[PLAN | URL...]", shell_complete=complete_file)
@plan_options()
@locust_options
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="With a URL: path to ask for; repeatable.",
)
@click.option(
    "--at",
    metavar="CODE",
    callback=place,
    shell_complete=complete_codes,
    help="With a URL: region it stands in; the distance to it is emulated.",
)
@click.option(
    "--from",
    "source",
    type=FilePath(),
    metavar="FILE",
    help="Requests as curl command lines, HAR or OpenAPI (JSON, YAML): written down as a scenario.",
)
@click.option("--world", default=None, metavar="WHERE",
              help="embedded (default), fly, or the URL of a world that is up.")  # fmt: skip
@header_option
@client_options
@app_environment
@fly_options
@own_options
@click.option("--image", metavar="REF", help="On Fly: image of the apps, as pushed.")
@click.option("--out", type=FilePath(), help="Run folder to write.")
@output_options
@live_option
@click.pass_obj
def run(terminal: Terminal, /, what: tuple[str, ...], **options: Any) -> int:
    """
    Measure, write the report, exit with the verdict.

    A PLAN is a TOML file (default: the latency tables).  A URL is a running deployment: it is
    measured from this machine, several are compared with each other.  With --at CODE it stands as
    if in that region, and --regions are as far away as they are in the emulated network.
    With -f FILE a locustfile runs as it is.  With --coordinator URL workers on machines of your own
    measure.
    """
    from loadtest.plan.client import passphrase_of
    from loadtest.plan.headers import give_headers, read_headers
    from loadtest.plan.idle import idle_flags
    from loadtest.plan.urls import looks_like_url
    from loadtest.run.begun import begun_for
    from loadtest.run.carrying import pass_length, refuse_too_short

    where = options["world"]
    flags, given = flags_of(options), read_headers(options["headers"])
    if where in ("embedded", "fly"):
        flags["world"] = where
    elif where is not None and not where.startswith(("http://", "https://")):
        raise PlanError(f"--world: {where!r} is neither 'embedded', 'fly' nor the URL of a world")
    locustfile = locust_command(options, what)
    of_urls = locustfile is not None or any(looks_like_url(word) for word in what)
    own = own_coordinator(options, flags, of_urls=of_urls)
    if options["source"] is not None:
        if locustfile is not None or flags.get("scenario"):
            raise PlanError("--from makes a scenario; leave out -f and --scenario")
        what, given = _recorded(terminal, options["source"], what, flags, given)
    if locustfile is not None:
        resolved = plan_for(terminal, locustfile, options, flags)
    else:
        resolved = _plan_of(terminal, what, options, flags)
    refuse_too_short(resolved)
    say_length(terminal, pass_length(resolved))
    for note in idle_flags(resolved, typed_flags()):
        terminal.warn(note)
    resolved, headers = give_headers(resolved, given, os.environ)
    world_url = where if where and "://" in where else ""
    with begun_for(resolved, world_url):
        from loadtest.run.conductor import RunConductor

        make = partial(
            RunConductor,
            resolved,
            out=options["out"],
            world_url=world_url,
            image=options["image"] or "",
            command=typed_command(),
            app_secrets=app_secrets_of(options),
            agree=agreement(terminal, yes=options["yes"]),
            headers=headers,
            passphrase=passphrase_of(resolved.client, os.environ),
            own=own,
        )
        return conduct(terminal, options["live"], lambda told, watcher: make(told, watcher=watcher))


def _plan_of(
    terminal: Terminal, what: tuple[str, ...], options: Mapping[str, Any], flags: dict[str, object]
) -> Plan:
    """Return the plan that URLs make, or that of a file."""
    from loadtest.plan.credentials import without_credentials
    from loadtest.plan.resolve import load_judged_plan, url_plan
    from loadtest.plan.urls import load_words, looks_like_url

    if any(looks_like_url(word) for word in what):
        flags["paths"] = list(options["paths"])
        resolved = url_plan(what, options["at"], flags)
        shown = ", ".join(map(without_credentials, what))
        terminal.done(f"load on {shown}: {load_words(resolved)}")
        return resolved
    for flag in ("paths", "at"):
        if options[flag]:
            raise PlanError(f"--{flag.rstrip('s')} goes with a URL; in a plan set {_KEYS[flag]}")
    if len(what) > 1:
        raise click.UsageError(f"unexpected extra argument {what[1]!r}: one plan at a time")
    return load_judged_plan(what[0] if what else None, flags)


def _recorded(
    terminal: Terminal,
    source: Path,
    what: tuple[str, ...],
    flags: dict[str, object],
    given: dict[str, str],
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Write the scenario of ``--from``, point the flags at it; return targets and headers."""
    from loadtest.plan.urls import looks_like_url
    from loadtest.run.recorded import write_scenario

    urls = [word for word in what if looks_like_url(word)]
    if len(urls) < len(what):
        raise PlanError("--from makes a scenario for URLs; a plan names its own (scenario = ...)")
    made = write_scenario(source, Path(), urls[0] if urls else "")
    for note in made.notes:
        terminal.warn(f"--from: {note}")
    terminal.done(f"written for editing: {made.path}")
    flags["scenario"] = str(made.path)
    return what or (made.origin,), {**made.secrets, **given}


@cli.command()
@click.argument("folder", required=False, type=FilePath())
@output_options
@click.pass_obj
def analyze(terminal: Terminal, /, folder: Path | None) -> int:
    """Redo summary, verdict and report of a stored run (default: the latest)."""
    from loadtest.run.judge import judge_folder

    return say(terminal, judge_folder(folder, command=""))


@cli.command()
@click.argument("folder", required=False, type=FilePath())
@click.option("--open/--no-open", "show", default=True, help="Open it in the browser.")
@click.option("--share", type=FilePath(folder=False), metavar="FILE",
              help="Write the report as one HTML file without raw data and links.")  # fmt: skip
@click.option("--png", type=FilePath(folder=False), metavar="FILE",
              help="Write verdict and matrix as a picture.")  # fmt: skip
@click.pass_obj
def report(
    terminal: Terminal, /, folder: Path | None, *, show: bool, share: Path | None, png: Path | None
) -> int:
    """Print where the report of a stored run is (default: the latest), and open it."""
    from loadtest.run.judge import report_path
    from loadtest.run.sharing import share_page, share_picture

    if share is not None:
        share_page(folder, share)
    if png is not None:
        share_picture(folder, png)
    if made := [str(path) for path in (share, png) if path is not None]:
        terminal.lines(made)
        return EXIT_PASS
    path = report_path(folder)
    terminal.lines([str(path)])
    if show and sys.stdout.isatty():
        click.launch(path.as_uri())
    return EXIT_PASS


@cli.command()
@click.argument("folder", type=FilePath())
@click.pass_obj
def seal(terminal: Terminal, /, folder: Path) -> int:
    """Vouch for the files of a stored run after changing them; its report will say so."""
    from loadtest.run.judge import seal_folder

    terminal.lines([f"sealed by hand: {seal_folder(folder)}"])
    return EXIT_PASS


if __name__ == "__main__":
    main()
