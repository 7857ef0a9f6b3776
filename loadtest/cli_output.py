"""What a command says at its end, and the flags that decide how: tables, a verdict, one object."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.run.carrying import PassLength
    from loadtest.run.judge import Judged


_OUTPUTS = "loadtest.outputs"


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that ends with a verdict the flags for how it says so."""
    options = [
        click.option("--quiet", is_flag=True, expose_value=False, callback=_quiet,
                     help="Print the verdict and nothing else."),
        click.option("--json", is_flag=True, expose_value=False, callback=_json, is_eager=True,
                     help="Print one JSON object; everything else goes to standard error."),
        click.option("--output", multiple=True, metavar="FORM=PLACE", expose_value=False,
                     callback=_output,
                     help="Write a file too: csv or ndjson (requests), json (the verdict); or send "
                     "the numbers to a URL: prometheus-rw, otlp."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _quiet(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        context.obj.be_quiet()


def _json(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        context.obj.only_json()


def _output(context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> None:
    if texts:
        from loadtest.run.outputs import read_outputs

        context.meta[_OUTPUTS] = read_outputs(texts)


def say(terminal: Terminal, judged: Judged) -> int:
    """
    Print what came of a judged run; return its exit code.

    The verdict stands by then: an output that is closed, full or of another encoding, and a job
    summary that cannot be written, do not change it.
    """
    from loadtest.run.judge import tell_github

    terminal.finish()  # nothing turns below a verdict
    for why in judged.unwritten:
        terminal.warn(why)
    if outputs := click.get_current_context().meta.get(_OUTPUTS):
        from loadtest.run.outputs import write_outputs

        write_outputs(judged, outputs, warn=terminal.warn)
    annotations = tell_github(judged, os.environ, warn=terminal.warn)
    try:
        if terminal.machine:
            _say_object(terminal, judged, annotations)
        else:
            _say_words(terminal, judged, annotations)
        sys.stdout.flush()
    except (OSError, ValueError):  # closed, full, or of an encoding that has no such letter
        terminal.give_up_output()
    return judged.exit_code


def say_failure(terminal: Terminal, sentence: str, exit_code: int) -> None:
    """Say why a command came to no verdict, in words and, where one is wanted, in an object."""
    terminal.error(sentence)
    say_failure_object(terminal, sentence, exit_code)


def say_failure_object(terminal: Terminal, sentence: str, exit_code: int) -> None:
    """Print the object of a command that came to no verdict, where one is wanted."""
    if not terminal.machine:
        return
    from loadtest.run.result import result_of_failure

    try:
        terminal.result(result_of_failure(exit_code, sentence))
    except (OSError, ValueError):
        terminal.give_up_output()


def _say_words(terminal: Terminal, judged: Judged, annotations: list[str]) -> None:
    if not terminal.quiet:
        for table in judged.tables:
            terminal.table(table.title, table.headers, table.rows)
    terminal.verdict(judged.decision, judged.verdict_lines)
    if not terminal.quiet and judged.report.is_file():
        terminal.lines(["", f"report: {judged.report}"])
    terminal.commands(annotations)


def _say_object(terminal: Terminal, judged: Judged, annotations: list[str]) -> None:
    from loadtest.run.result import result_of

    if not terminal.quiet:
        terminal.aside([f"verdict: {judged.decision.upper()}", *judged.verdict_lines])
    terminal.commands(annotations)
    terminal.result(result_of(judged))


def say_length(terminal: Terminal, found: PassLength) -> None:
    """Say before the load how long it takes to pass the rules, where that is more than a look."""
    if found.never:
        terminal.warn(found.told)
    elif found.told:
        terminal.done(found.told)
