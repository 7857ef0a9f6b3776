"""How a run looks on a terminal: steps, a progress line, tables, the verdict block."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loadtest.text import one_line

VERDICT_STYLE = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "invalid": "bold magenta",
    "none": "bold",
}

PLAIN_WIDTH = 200
"""Columns where the output goes to a file or a log."""


_PLAIN_SIGNS: Final = {
    "✓": "+",
    "✕": "x",
    "⊘": "!",
    "▲": "^",
    "▼": "v",
    "·": ".",
    "×": "x",
    "–": "-",
    "\N{MINUS SIGN}": "-",
    "…": "...",
    "\u202f": " ",
    "“": '"',
    "”": '"',
}
"""What our own signs become where the output's encoding lacks them: ``?`` is a decision's sign."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded, for ``codecs.register_error``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN_SIGNS.get(character, "?") for character in text), error.end


class _Output(Console):
    """A console that tells its caller when nobody reads on, as with ``| head``."""

    def on_broken_pipe(self) -> None:
        """Let the caller decide: a verdict stands whether or not anybody reads it."""
        raise BrokenPipeError


class _SideOutput(Console):
    """A console for what goes on: silent from the first failure on, as with a full disk."""

    def put(self, *things: Any, **how: Any) -> None:
        """Print where that is possible."""
        try:
            self.print(*things, **how)
        except (OSError, ValueError):
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Send the rest to nowhere: what a program says does not change how it ends."""
        self.quiet = True
        _to_nowhere(self.file)


def _to_nowhere(stream: IO[str]) -> None:
    """Lead a stream, with what it has buffered for its end, to nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Terminal:
    """
    Says what goes on: to standard error while it goes on, to standard output what came of it.

    Args:
        quiet: Leave out the steps.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        codecs.register_error("loadtest-plain", _plain)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a letter that cannot be shown costs no run
                stream.reconfigure(errors="loadtest-plain")
        wide = None if sys.stdout.isatty() else PLAIN_WIDTH
        self.out = _Output(highlight=False, soft_wrap=True, width=wide)
        self.err = _SideOutput(stderr=True, highlight=False)
        self._quiet = quiet
        self._began = time.monotonic()
        self._live = self.err.status("") if self.err.is_terminal and not quiet else None
        self._shown = ""

    def step(self, text: str) -> None:
        """Show what begins; on a terminal it turns until the next step."""
        if self._live is not None:
            self._live.update(escape(one_line(text)))
            self._live.start()

    def done(self, text: str) -> None:
        """Say what ended well, with the time since the start."""
        if not self._quiet:
            self._stop_live()
            elapsed = time.monotonic() - self._began
            self.err.put(f"[dim]{elapsed:6.1f} s[/dim]  {escape(one_line(text))}")

    def warn(self, text: str) -> None:
        """Say something that stops nothing."""
        self._stop_live()
        self.err.put(f"[yellow]note[/yellow]    {escape(one_line(text))}")

    def error(self, text: str) -> None:
        """Say why the program ends."""
        self._stop_live()
        for line in text.splitlines():
            self.err.put(f"[red]error[/red]   {escape(one_line(line))}", soft_wrap=True)

    def load(self, status: dict[str, Any]) -> None:
        """Show how far the load is: state, seconds, rows, and each deployment's median."""
        if self._live is None:
            if status["state"] != self._shown and not self._quiet:
                self._shown = status["state"]
                self.done(f"load: {self._shown}")
            return
        medians = "  ".join(
            f"{c['deployment']}/{c['region']} {c['ttfb_p50_ms']:.0f}"
            for c in status.get("cells", [])
            if c.get("ttfb_p50_ms") is not None
        )
        self.step(
            f"{status['state']}: {status['elapsed_s']:.0f} of {status['total_s']:.0f} s, "
            f"{status['rows_merged']} requests   {medians[:160]}"
        )

    def give_up_output(self) -> None:
        """Send what is still to be printed to nowhere."""
        _to_nowhere(sys.stdout)

    def finish(self) -> None:
        """Stop anything that turns."""
        self._stop_live()

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; the first column is left, the others right."""
        table = Table(
            title=Text(one_line(title)), title_justify="left", header_style="bold", box=None
        )
        for number, name in enumerate(header):
            table.add_column(
                Text(one_line(name)), justify="left" if number == 0 else "right", no_wrap=True
            )
        for row in rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        self.out.print()
        self.out.print(table)

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines as they are, but for what a terminal would obey."""
        for line in lines:
            self.out.print(Text(one_line(line)))

    def verdict(self, decision: str, lines: Iterable[str]) -> None:
        """Print the verdict block, the last thing a run says."""
        self.out.print()
        self.out.print(Text(f"verdict: {decision.upper()}", style=VERDICT_STYLE[decision]))
        self.lines(lines)
        sys.stdout.flush()

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
