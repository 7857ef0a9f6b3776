"""The commands about machines of one's own: their keys, the coordinator, the workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from loadtest.cli_options import EXIT_CODES
from loadtest.cli_words import FilePath, seconds
from loadtest.errors import EXIT_PASS, PlanError
from loadtest.regions import region_table, suggest_regions
from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.run.own_machines import OwnCoordinator

_KEYS = click.option("--keys", "keys_file", type=FilePath(), metavar="FILE",
                     help="File of `loadtest keys`; default: the environment.")  # fmt: skip
_PORT = click.IntRange(1, 65_535)
_SILENT_S = (1, 3_600)


@click.command(epilog=EXIT_CODES)
@click.option("--out", default="loadtest-keys", metavar="FOLDER", help="Where to put them.",
              type=FilePath())  # fmt: skip
@click.pass_obj
def keys(terminal: Terminal, /, out: Path) -> int:
    """
    Make the token and the keys of a coordinator and its workers.

    Each kind of process has a file of its own, with mode 0600; nothing is ever overwritten.
    """
    from loadtest.run.own_keys import make_keys

    terminal.lines([str(path) for path in make_keys(out)])
    return EXIT_PASS


@click.command(epilog=EXIT_CODES)
@_KEYS
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", envvar="LOADTEST_BIND",
              help="Where the API listens; default: this machine alone.")  # fmt: skip
@click.option("--port", type=_PORT, default=8089, envvar="PORT", help="Of the API.")
@click.option("--bind-workers", metavar="ADDRESS", default="", envvar="LOADTEST_BIND_WORKERS",
              help="Where workers are awaited; default: as --bind.")  # fmt: skip
@click.option("--worker-port", type=_PORT, default=5557, envvar="LOCUST_PORT",
              help="Where workers are awaited.")  # fmt: skip
@click.option("--driver-silent", callback=seconds, metavar="S", default="30s",
              help="A run that nobody follows for so long is ended.")  # fmt: skip
@click.option("--tls-cert", metavar="PEM", default="", help="The API speaks TLS with this.")
@click.option("--tls-key", metavar="PEM", default="", help="Private key of the certificate.")
@click.pass_obj
def coordinator(terminal: Terminal, /, keys_file: Path | None, **options: Any) -> None:
    """
    Run a coordinator on this machine, for workers on others; stays until Ctrl-C.

    Workers are admitted by their key, drivers by the token.  Where a run's driver falls silent its
    load ends, and the coordinator waits for the next run.
    """
    from loadtest.run.own_keys import find_keys

    silent_s = options["driver_silent"]
    if not _SILENT_S[0] <= silent_s <= _SILENT_S[1]:
        raise PlanError(f"--driver-silent: {silent_s:g} s; allowed are 1s to 1h")
    if bool(options["tls_cert"]) != bool(options["tls_key"]):
        raise PlanError("--tls-cert and --tls-key go together: a certificate and its key")
    found = find_keys("coordinator", keys_file, os.environ)
    scheme, bind = "https" if options["tls_cert"] else "http", options["bind"]
    terminal.done(
        f"coordinator: {scheme} at {bind} port {options['port']}, workers at "
        f"{options['bind_workers'] or bind} port {options['worker_port']}"
    )
    _become(
        "coordinator",
        {
            **found,
            "PORT": str(options["port"]),
            "LOCUST_PORT": str(options["worker_port"]),
            "LOADTEST_BIND": options["bind"],
            "LOADTEST_BIND_WORKERS": options["bind_workers"],
            "LOADTEST_DRIVER_SILENT_S": f"{silent_s:g}",
            "LOADTEST_STAYS": "1",
            "LOADTEST_TLS_CERT": options["tls_cert"],
            "LOADTEST_TLS_KEY": options["tls_key"],
        },
    )


@click.command(epilog=EXIT_CODES)
@click.option("--region", required=True, metavar="CODE", help="Where this machine stands.")
@click.option("--coordinator", required=True, metavar="HOST:PORT", help="Where workers join.")
@_KEYS
@click.option("--name", default="", metavar="NAME", help="In records; default: the host's name.")
def worker(region: str, coordinator: str, keys_file: Path | None, name: str) -> None:
    """
    Run a worker on this machine: it measures when a run of its coordinator asks for its region.

    Ends when the coordinator is gone, so let a supervisor start it again.
    """
    from loadtest.run.own_keys import find_keys

    code = region.lower()
    if code not in region_table():
        near = ", ".join(f"{c} ({region_table()[c].city})" for c in suggest_regions(code))
        raise PlanError(f"--region: {region!r} is no known region; the nearest known are {near}")
    _become(
        "worker",
        {
            **find_keys("worker", keys_file, os.environ),
            "COORDINATOR": coordinator,
            "FLY_REGION": code,
            "FLY_MACHINE_ID": name,
        },
    )


def own_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of a run on machines of one's own."""
    coordinator_option = click.option(
        "--coordinator",
        metavar="URL",
        help="Measure from the workers of this coordinator; --regions default to theirs.",
    )
    return coordinator_option(_KEYS(command))


def own_coordinator(
    options: Mapping[str, Any], flags: dict[str, object], *, of_urls: bool
) -> OwnCoordinator | None:
    """
    Return the coordinator that the flags name, and write down what that means for the plan.

    Args:
        options: Values of the flags.
        flags: Keys of the plan; gets its world, and where ``of_urls`` its regions.
        of_urls: No plan says which regions are meant: those that workers are in.

    Raises:
        PlanError: The flags do not go together.
        EngineError: The coordinator does not answer, or is none to work with.
    """
    if options["coordinator"] is None:
        if options["keys_file"] is not None:
            raise PlanError("--keys goes with --coordinator URL")
        return None
    if options["world"] is not None:
        raise PlanError("--coordinator has workers on machines of your own; leave out --world")
    from loadtest.run.own_machines import find_coordinator, regions_there

    own = find_coordinator(options["coordinator"], options["keys_file"], os.environ)
    there = regions_there(own)
    flags["world"] = "own"
    if of_urls and flags.get("regions") is None:
        flags["regions"] = there
    return own


def _become(kind: str, environment: Mapping[str, str]) -> NoReturn:
    """Become a process of the engine, which this one must not import: that patches sockets."""
    command = [sys.executable, "-m", f"loadtest.engine.{kind}.main"]
    root = str(Path(__file__).resolve().parents[1])  # the package, wherever it was found
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    given = {"LOADTEST_LOG": "INFO", **os.environ, **environment, "PYTHONPATH": path}
    os.execve(command[0], command, given)  # noqa: S606 - no shell is meant
