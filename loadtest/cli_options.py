"""What the commands share: the flags that win over a plan, the gentle stop, the last words."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
from click.core import ParameterSource

from loadtest.cli_words import FileName, codes, complete_codes, list_of, resolved, seconds
from loadtest.errors import PlanError
from loadtest.terminal import Terminal

EXIT_CODES = """\b
Exit codes:
   0  pass, or no thresholds          10  fail
  11  inconclusive                    12  invalid: the numbers cannot be trusted
  13  the plan is wrong               14  the world could not be brought up
  15  the load could not be made     130  interrupted (what was measured is kept)
 141  the output was closed, as by head
   1  a bug in loadtest                2  bad usage
"""


_SECRET_FLAGS = ("--env", "--header")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENDING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def plan_options(base_time: str = "--base") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Return a decorator that gives a command the flags that win over a plan's keys.

    Args:
        base_time: Name of the flag for the app's base time; ``loadtest gate`` means something else
            by ``--base``.
    """
    options = [
        click.option("--regions", callback=codes, metavar="A,B", shell_complete=complete_codes,
                     help="Client regions."),
        click.option("--primary", metavar="CODE", shell_complete=complete_codes,
                     help="Region of the primary database."),
        click.option("--deployments", callback=list_of, metavar="A,B", help="Keep only these."),
        click.option("--scenarios", callback=list_of, metavar="A,B",
                     help="Play only these scenarios of the file."),
        click.option("--scenario", type=FileName(), metavar="FILE",
                     help="Python file with TTFBUser classes."),
        click.option("--rate", type=float, help="Arrivals per second in each cell."),
        click.option("--duration", callback=seconds, metavar="S", help="Seconds of measuring."),
        click.option("--warmup", callback=seconds, metavar="S", help="Seconds before measuring."),
        click.option("--seed", type=int, help="Seed of the schedule and the bootstrap."),
        click.option("--rtt", metavar="SET",
                     help="published-era, neutral, a CSV file, or the folder of a run on Fly."),
        click.option("--layer", metavar="LAYER",
                     help="What machines are: hosts, relay, or auto for what works here."),
        click.option(base_time, "base_ms", metavar="MS",
                     help="The app's own time: published, ms, or a CSV file."),
        click.option("--threshold", "thresholds", multiple=True, metavar="RULE",
                     help="Rule such as 'ttfb.p95 < 100ms'; repeatable; replaces the plan's."),
        click.option("--database-url", metavar="FORM",
                     help="Form of DATABASE_URL: postgresql+psycopg://{user}:{password}@{host}..."),
        click.option("--redis", is_flag=True, default=None,
                     help="Put a Redis-compatible server beside the apps; REDIS_URL tells it."),
        click.option("--looks", type=int, help="Segments an undecided run may take."),
    ]  # fmt: skip

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def fly_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of a run on Fly: whose account, which names."""
    options = [
        click.option("--org", metavar="SLUG", help="On Fly: organization; default: FLY_ORG."),
        click.option("--prefix", metavar="NAME",
                     help="On Fly: begins the apps' names; default: one that is remembered."),
        click.option("--use-app", "use_apps", multiple=True, metavar="APP",
                     help="On Fly: deploy to this app although no run made it; repeatable."),
        click.option("--budget", type=float, metavar="USD",
                     help="On Fly: refuse a run that would cost more, end one that does."),
        click.option("--yes", is_flag=True, help="On Fly: do not ask whether it may cost money."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def app_environment(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that hand environment to the apps; their values are never shown."""
    options = [
        click.option("--env", "app_env", multiple=True, metavar="K=V",
                     help="Environment of the apps; repeatable."),
        click.option("--env-file", "app_env_files", multiple=True, type=FileName(),
                     metavar="FILE",
                     help="Lines K=V of the same kind; repeatable."),
        click.option("--secret", "app_secret_names", multiple=True, metavar="NAME",
                     help="The same, with the value of our own environment; repeatable."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def header_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flag for headers of every request; their values are never shown."""
    return click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Sent with every request; ${VARIABLE} is looked up; repeatable.",
    )(command)


def client_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of the client: names, and what TLS trusts and shows."""
    options = [
        click.option("--resolve", multiple=True, metavar="HOST=ADDRESS", callback=resolved,
                     help="Address of a name, in place of a look-up; repeatable."),
        click.option("--lookups", type=click.Choice(["connection", "ttl", "once"]),
                     help="When names are looked up; default: for every new connection."),
        click.option("--insecure", is_flag=True, default=None,
                     help="Verify no certificate; every report says so."),
        click.option("--ca-file", type=FileName(), metavar="PEM", help="Authorities to trust."),
        click.option("--cert", type=FileName(), metavar="PEM",
                     help="Certificate that the client shows."),
        click.option("--cert-key", type=FileName(), metavar="PEM", help="Its private key."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def app_secrets_of(options: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the environment of the apps that the flags give; later ones win.

    Raises:
        PlanError: A line is no K=V, a file cannot be read, a variable is not set.
    """
    found: dict[str, str] = {}
    for name in options["app_env_files"]:
        try:
            lines = Path(name).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise PlanError(f"--env-file: {name}: {reason}; write lines of K=V") from error
        for number, line in enumerate(lines, 1):
            text = line.strip().removeprefix("export ").strip()
            if text and not text.startswith("#"):
                key, value = _pair(text, f"--env-file: {name}:{number}")
                found[key] = _unquoted(value)
    for text in options["app_env"]:
        key, value = _pair(text, "--env")
        found[key] = value
    for name in options["app_secret_names"]:
        if name not in os.environ:
            raise PlanError(f"--secret: {name!r} is not set in the environment of loadtest")
        found[name] = os.environ[name]
    return found


def _pair(text: str, where: str) -> tuple[str, str]:
    """Return name and value; a message shows the name at most, the value may be secret."""
    key, equals, value = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(key.strip()):
        shown = repr(key.strip()[:80]) if equals else "what was given"
        raise PlanError(f"{where}: {shown} is not K=V with K a name such as SECRET_KEY")
    return key.strip(), value.strip() if where.startswith("--env-file") else value


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def flags_of(options: Mapping[str, Any]) -> dict[str, object]:
    """Turn option values into dotted keys of a plan."""
    keys = {
        "regions": "regions",
        "primary": "primary_region",
        "deployments": "deployments",
        "scenarios": "scenarios",
        "redis": "redis",
        "scenario": "scenario",
        "rate": "load.rate",
        "duration": "load.duration_s",
        "warmup": "load.warmup_s",
        "seed": "seed",
        "database_url": "database.url",
        "rtt": "network.rtt",
        "layer": "network.layer",
        "base_ms": "base",
        "looks": "gate.max_looks",
        "resolve": "client.resolve",
        "lookups": "client.lookups",
        "insecure": "client.insecure",
        "ca_file": "client.ca_file",
        "cert": "client.certificate",
        "cert_key": "client.key",
        "org": "org",
        "prefix": "prefix",
        "budget": "budget_usd",
    }
    flags = {key: options.get(name) for name, key in keys.items()}
    flags["load.fit_rate"] = False if options.get("rate") is not None else None
    flags["thresholds"] = options.get("thresholds") or None
    flags["use_apps"] = options.get("use_apps") or None
    return flags


def agreement(terminal: Terminal, *, yes: bool) -> Callable[[str], None]:
    """
    Return what asks a person before a run costs money.

    Args:
        terminal: Keeps quiet while the question stands.
        yes: The person has agreed beforehand.
    """

    def ask(cost: str) -> None:
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise PlanError(
                f"--yes: the run would order {cost}; there is no terminal to ask on, so agree "
                "beforehand with --yes, and set a limit with --budget"
            )
        terminal.finish()
        click.confirm("Order them?", abort=True, err=True)

    return ask


def typed_command() -> str:
    """Return the command as it was typed, for the report, without what may be secret."""
    return shlex.join(["loadtest", *without_secrets(sys.argv[1:])])


def without_secrets(words: Sequence[str]) -> list[str]:
    """Return words of a command line with the values of secret-bearing flags left out."""
    from loadtest.plan.credentials import without_credentials

    shown: list[str] = []
    hide = False
    for word in words:
        flag, equals, value = word.partition("=")
        if hide:
            shown.append(_hidden(word))
            hide = False
        elif flag in _SECRET_FLAGS and equals:
            shown.append(f"{flag}={_hidden(value)}")
        else:
            shown.append(without_credentials(word))
            hide = word in _SECRET_FLAGS
    return shown


def _hidden(value: str) -> str:
    """Return the name before ``=`` or ``:`` and dots for the rest."""
    name = re.match(r"[\w-]+\s*[=:]", value)
    return f"{name[0]}..." if name else "..."


def typed_flags() -> frozenset[str]:
    """Return the flags that were typed for the command that runs, each by its long name."""
    context = click.get_current_context()
    return frozenset(
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if isinstance(parameter, click.Option) and parameter.name
        if context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    )


def typed_after(word: str) -> str:
    """Return what was typed after a word of the command line; nothing where it was not typed."""
    words = sys.argv[1:]
    rest = without_secrets(words[words.index(word) + 1 :]) if word in words else []
    return shlex.join(rest)


_IMPORTING: Final = "<frozen importlib"
_AGAIN_S: Final = 0.005


class gentle_stop:  # noqa: N801 - used as a function, in a with statement
    """
    First Ctrl-C, SIGTERM or SIGHUP asks the run to stop and keep what it has, the second ends it.

    Args:
        stop: Called once, from the signal handler; must only set a flag.
        end: Called by every signal after it, likewise.
    """

    def __init__(self, stop: Callable[[], None], end: Callable[[], None]) -> None:
        self._stop = stop
        self._end = end
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (*_ENDING_SIGNALS, signal.SIGALRM):
            self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename.startswith(_IMPORTING):
            # an exception there may leave the lock of imports taken, for which threads then wait
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            return
        if self._asked:
            with contextlib.suppress(OSError):  # the terminal may be gone
                os.write(2, b"\n")
            self._end()
            return
        self._asked = True
        self._stop()
