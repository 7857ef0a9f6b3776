"""Conducts a run for the command line, with a live page beside it where one is asked for."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from loadtest.cli_options import gentle_stop
from loadtest.cli_output import say
from loadtest.errors import LoadtestError
from loadtest.terminal import Terminal

if TYPE_CHECKING:
    from loadtest.live.board import LiveBoard
    from loadtest.live.server import LiveServer
    from loadtest.run.conductor import RunConductor
    from loadtest.run.judge import Judged
    from loadtest.run.progress import Progress
    from loadtest.run.viewing import Watcher

TOKEN_VARIABLE: Final = "LOADTEST_LIVE_TOKEN"  # noqa: S105 - the name of a variable
KEY: Final = "l"
"""On a terminal this key serves the live page of a run that goes on."""
LINGER_S: Final = 30.0
"""How long the report is served to a page that is still open."""


class LiveCommand(click.Command):
    """A command with ``--live``, which takes no other word for its port than a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words, a ``--live`` without a number behind it as any free port."""
        words: list[str] = []
        for word in args:
            if words[-1:] == ["--live=0"] and word.isascii() and word.isdigit():
                words[-1] = f"--live={word}"
            else:
                words.append("--live=0" if word == "--live" else word)
        return super().parse_args(ctx, words)


def live_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command of class `LiveCommand` the flag for a live page."""
    return click.option(
        "--live",
        type=click.IntRange(0, 65_535),
        metavar="[=PORT]",
        help="Serve a page on this machine that shows the run as it goes.",
    )(command)


class _Page:
    """The live page of one run: there from the start, or once somebody asks for it."""

    def __init__(self, terminal: Terminal, board: LiveBoard, stack: contextlib.ExitStack) -> None:
        self.server: LiveServer | None = None
        self._terminal = terminal
        self._board = board
        self._stack = stack

    def open(self, port: int = 0) -> None:
        """
        Serve it, if it is not served yet, and say where.

        Raises:
            PlanError: The port cannot be had, or the token is too easily guessed.
        """
        from loadtest.live.server import serve_live

        if self.server is None:
            token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
            self.server = self._stack.enter_context(serve_live(self._board, token, port))
            self._board.watches_world = True
            self._terminal.hint = ""
        self._terminal.aside([f"live page: {self.server.url}"])

    def open_by_key(self) -> None:
        """Serve it; what stands against that stops no run."""
        try:
            self.open()
        except LoadtestError as error:
            self._terminal.warn(str(error))


def conduct(
    terminal: Terminal, port: int | None, make: Callable[[Progress, Watcher | None], RunConductor]
) -> int:
    """
    Conduct a run and say what came of it; return its exit code.

    Args:
        terminal: Told what goes on.
        port: Of the live page; 0 takes a free one, None serves none before ``KEY`` is pressed.
        make: Makes the run from who is told in words, and who in figures.
    """
    if port is None and not terminal.hears_keys:
        return say(terminal, _run(make(terminal, None)))
    from loadtest.live.board import BoardProgress, LiveBoard

    with contextlib.ExitStack() as stack:
        board = LiveBoard()
        page = _Page(terminal, board, stack)
        if port is not None:
            page.open(port)
        try:
            with _hearing(terminal, board, page):
                judged = _run(make(BoardProgress(board, terminal), board))
        except (LoadtestError, KeyboardInterrupt) as error:
            board.end("failed", str(error) or "interrupted", None)
            raise
        board.end(judged.decision, judged.verdict.sentence, judged.report)
        code = say(terminal, judged)
        if page.server is not None:
            _linger(terminal, page.server)
    return code


@contextlib.contextmanager
def _hearing(terminal: Terminal, board: LiveBoard, page: _Page) -> Iterator[None]:
    """Let a key serve the page, from the begin of the load: before, a question may stand."""
    if not terminal.hears_keys:
        yield
        return
    from loadtest.keyboard import Keyboard

    keyboard = Keyboard(sys.stdin.fileno(), {KEY: page.open_by_key})
    board.when_begun = keyboard.listen
    terminal.hint = "" if page.server else f"{KEY}: live page"
    try:
        yield
    finally:
        keyboard.close()


def _run(conductor: RunConductor) -> Judged:
    with gentle_stop(conductor.request_stop, conductor.request_end):
        return conductor.run()


def _linger(terminal: Terminal, server: LiveServer) -> None:
    """Stay while a page is open, so that its link leads to the report."""
    if not server.watched:
        return
    terminal.aside([f"the live page has the report for {LINGER_S:g} s more; Ctrl-C ends now"])
    with contextlib.suppress(KeyboardInterrupt):
        server.wait_until_unwatched(LINGER_S)
