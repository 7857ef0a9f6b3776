"""
Text from outside made safe to show: one line without control characters, and markdown.

Of what a program printed before it ended, the lines that matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_BREAKS: Final = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029")
# Marks that turn the order of what follows: a terminal or a page would show other text than it has.
_TURNING: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>#|~!$@])")

_COMMAND: Final = re.compile(r"##(?=\[|vso\[|teamcity\[)", re.IGNORECASE)
_COMMAND_AT_START: Final = re.compile(r"^(\s*)::")

# One line of a stack, by language: what names a place in code and says nothing else.
_PYTHON_FRAME: Final = re.compile(r"\s+File \"[^\"]*\", line \d+")
_FRAME: Final = re.compile(
    r"\s*from .+:\d+:in .+"  # Ruby
    r"|\s*\S+:\d+:in [`'][^']*'"
    r"|\s+at \S.*"  # Java, Kotlin, JavaScript, .NET, Rust
    r"|\s*\.\.\. \d+ (?:more|common frames omitted|lines matching).*"
    r"|\s+\d+: +\S.*"  # Rust
    r"|\t\S+\.(?:go|s):\d+.*"  # Go
    r"|#\d+ \S.*"  # PHP, C
    r"|\s+\([\w.]+ [^)]+\) \S+:\d+: .*"  # Elixir, Erlang
)
_GO_PLACE: Final = re.compile(r"\t\S+\.(?:go|s):\d+")
_FRAMES_SHOWN: Final = 2


def one_line(text: str) -> str:
    """
    Return a text on one line, without anything that a terminal or a parser would obey.

    Tabs and line breaks of every script become a space; other control characters, lone surrogates,
    non-characters and marks that turn the reading order become the replacement character.  What is
    left can be encoded as UTF-8 and stands in XML 1.0.  Nothing else changes, spaces included.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_safe(character) for character in text)


def log_line(text: str) -> str:
    """
    Return a text on one line, as ``one_line``, that no reader of a job's log takes for a command.

    Such readers obey ``::name::`` where a line begins, and ``##[name]``, ``##vso[`` and
    ``##teamcity[`` anywhere in it.

    Source: "Workflow commands", docs.github.com, and ActionCommand.cs of its runner; "Logging
    commands", learn.microsoft.com; "Service messages", jetbrains.com.
    """
    line = _COMMAND.sub("# #", one_line(text))
    return _COMMAND_AT_START.sub(r"\1: :", line)


def lines_of(text: str) -> str:
    """Return a text of several lines, each of them made safe by ``one_line``."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def markdown_text(text: str) -> str:
    """
    Return text that markdown shows as it stands, on one line.

    No markup, HTML, table cell, mention of a person or reference to an issue comes of it.
    """
    flat = " ".join(one_line(text).split())
    return _MARKDOWN.sub(r"\\\1", flat).replace("@", "@\N{ZERO WIDTH NON-JOINER}")


def telling_lines(text: str, count: int) -> list[str]:
    """
    Return the last lines of what a program printed, with long stacks cut to their telling end.

    Most languages say what went wrong before its stack, which is longer than anybody wants to
    read; the last lines alone would be the least telling ones.  Empty lines are left out.

    Args:
        text: What it printed.
        count: How many lines at most.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    told: list[str] = []
    at = 0
    for frame, run in groupby(_frames(lines)):
        length = sum(1 for _ in run)
        piece = lines[at : at + length]
        told += _cut(piece) if frame else piece
        at += length
    return told[-count:]


def quoted_end(text: str, count: int = 12) -> str:
    """Return the last lines of what a program printed, as they stand, each safe and marked."""
    return "\n".join(f"  | {one_line(line)}" for line in text.strip().splitlines()[-count:])


def _frames(lines: Sequence[str]) -> Iterator[bool]:
    """Tell of each line whether it is one of a stack."""
    python = False
    for index, line in enumerate(lines):
        python = bool(_PYTHON_FRAME.match(line)) or (python and line.startswith("    "))
        called = index + 1 < len(lines) and _GO_PLACE.match(lines[index + 1])
        yield bool(python or _FRAME.fullmatch(line) or called)


def _cut(stack: list[str]) -> list[str]:
    """Return the two lines of a stack that are nearest to what went wrong."""
    more = len(stack) - _FRAMES_SHOWN
    if more <= 1:
        return stack
    left_out = f"    ... {more} more lines of the stack"
    if _PYTHON_FRAME.match(stack[0]):
        latest = max(i for i, line in enumerate(stack) if _PYTHON_FRAME.match(line))
        return (
            [f"    ... {latest} more lines of the stack", *stack[latest:]] if latest > 1 else stack
        )
    return [*stack[:_FRAMES_SHOWN], left_out]


def _safe(character: str) -> str:
    if character in _BREAKS:
        return " "
    point = ord(character)
    if (
        unicodedata.category(character) in ("Cc", "Cs")
        or character in _TURNING
        or point & 0xFFFE == 0xFFFE
        or 0xFDD0 <= point <= 0xFDEF
    ):
        return REPLACEMENT
    return character
