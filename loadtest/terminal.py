"""How a run looks on a terminal: steps, a progress line, tables, the verdict block."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, Final, Literal

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loadtest.text import log_line, one_line

VERDICT_STYLE = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "invalid": "bold magenta",
    "none": "bold",
}

PLAIN_WIDTH = 200
"""Columns where the output goes to a file or a log."""

LOG_EVERY_S: Final = 10.0
"""How often a load is told of where nothing can stay in its place."""


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


def _region_table(table: Sequence[Sequence[str]]) -> Table:
    """Return the lines of the regions; errors stand out."""
    shown = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for number, name in enumerate(table[0]):
        justify: Literal["left", "right"] = "right" if number else "left"
        shown.add_column(Text(log_line(name)), justify=justify, no_wrap=True)
    for *cells, errors in table[1:]:
        style = "bold red" if errors != "0" else ""
        shown.add_row(*(Text(log_line(cell)) for cell in cells), Text(errors, style=style))
    return shown


_WORD = re.compile(r"[A-Za-z]{2,}")
_SENTENCE = 3


def _is_words(cells: Sequence[str]) -> bool:
    """Tell whether a column holds words: most cells begin with letters, or are sentences."""
    found = sum(cell[:2].isalpha() or len(_WORD.findall(cell)) >= _SENTENCE for cell in cells)
    return 2 * found > len(cells)


class Terminal:
    """
    Says what goes on: to standard error while it goes on, to standard output what came of it.

    Args:
        quiet: Leave out the steps.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.machine = False
        """Standard output is for one JSON object, see ``only_json``."""
        codecs.register_error("loadtest-plain", _plain)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a letter that cannot be shown costs no run
                stream.reconfigure(errors="loadtest-plain")
        wide = None if sys.stdout.isatty() else PLAIN_WIDTH
        self.out = _Output(highlight=False, emoji=False, soft_wrap=True, width=wide)
        self.err = _SideOutput(stderr=True, highlight=False, emoji=False)
        self.quiet = quiet
        self.hint = ""
        """Stands beside a load that stays in its place: a key that may be pressed."""
        self._began = time.monotonic()
        self._live = self.err.status("") if self.err.is_terminal and not quiet else None
        self._shown = ""
        self._logged_s = 0.0

    @property
    def hears_keys(self) -> bool:
        """Whether a person can press a key and see what it does."""
        return self._live is not None and sys.stdin is not None and sys.stdin.isatty()

    def be_quiet(self) -> None:
        """Leave out the steps from now on; what a person should read is still said."""
        self._stop_live()
        self.quiet, self._live = True, None

    def only_json(self) -> None:
        """Keep standard output for one JSON object; everything else goes to standard error."""
        self.machine = True

    def result(self, value: Mapping[str, object]) -> None:
        """Print the one object, on a line of ASCII."""
        self._stop_live()
        text = json.dumps(value, allow_nan=False).replace("##", "#\\u0023")  # see `log_line`
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def aside(self, lines: Iterable[str]) -> None:
        """Print lines to standard error, as they are but for what a terminal would obey."""
        for line in lines:
            self.err.put(Text(log_line(line)), soft_wrap=True)

    def step(self, text: str) -> None:
        """Show what begins; on a terminal it turns until the next step."""
        if self._live is not None:
            self._live.update(escape(log_line(text)))
            self._live.start()

    def done(self, text: str) -> None:
        """Say what ended well, with the time since the start."""
        if not self.quiet:
            self._stop_live()
            elapsed = time.monotonic() - self._began
            line = f"[dim]{elapsed:6.1f} s[/dim]  {escape(log_line(text))}"
            self.err.put(line, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Say something that stops nothing."""
        self._stop_live()
        self.err.put(f"[yellow]note[/yellow]    {escape(log_line(text))}", soft_wrap=True)

    def error(self, text: str) -> None:
        """Say why the program ends."""
        self._stop_live()
        for line in text.splitlines():
            self.err.put(f"[red]error[/red]   {escape(log_line(line))}", soft_wrap=True)

    def load(self, state: str, headline: str, table: Sequence[Sequence[str]], brief: str) -> None:
        """
        Show how far the load is, with a line for each region; what is shown is provisional.

        On a terminal the lines stay in their place; elsewhere there is one every ``LOG_EVERY_S``.
        """
        if self.quiet:
            return
        if self._live is not None:
            hint = f"  [{self.hint}]" if self.hint else ""
            head = Text(f"{log_line(headline)}  (provisional){hint}")
            self._live.update(Group(head, _region_table(table)) if table else head)
            self._live.start()
            return
        if state != self._shown or time.monotonic() - self._logged_s >= LOG_EVERY_S:
            self._shown, self._logged_s = state, time.monotonic()
            self.done(f"load: {headline}" + (f"; provisional: {brief}" if brief else ""))

    def give_up_output(self) -> None:
        """Send what is still to be printed to nowhere."""
        _to_nowhere(sys.stdout)

    def finish(self) -> None:
        """Stop anything that turns."""
        self._stop_live()

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; the first column and columns of words are left, those of numbers right."""
        rows = [tuple(row) for row in rows]
        table = Table(
            title=Text(log_line(title)), title_justify="left", header_style="bold", box=None
        )
        for number, name in enumerate(header):
            words = number == 0 or _is_words([row[number] for row in rows if number < len(row)])
            table.add_column(
                Text(log_line(name)),
                justify="left" if words else "right",
                no_wrap=True,
            )
        for row in rows:
            table.add_row(*(Text(log_line(cell)) for cell in row))
        self.out.print()
        self.out.print(table)

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines as they are, but for what a terminal would obey."""
        for line in lines:
            self.out.print(Text(log_line(line)))

    def commands(self, lines: Iterable[str]) -> None:
        """Print lines of ours that are meant for who reads a job's log."""
        for line in lines:
            if self.machine:
                self.err.put(Text(one_line(line)), soft_wrap=True)
            else:
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
