"""Cuts a threshold into tokens, and points a caret at what is wrong with one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from loadtest.errors import PlanError

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<quoted>"[^"]*"|'[^']*')
      | (?P<number>\d+(?:\.\d+)?(?=(?:us|ms|s|%)?(?![\w./-])))
      | (?P<word>[A-Za-z0-9_][\w./-]*)
      | (?P<mark><=|>=|!=|[<>=%*(),])
    """,
    re.VERBOSE,
)
"""A number ends where its unit or a mark begins: ``2-regions`` is a name, ``100ms`` is not."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number or mark with its place in the text; ``end`` closes every list of tokens."""

    kind: str
    text: str
    at: int


def tokens_of(text: str) -> list[Token]:
    """Cut a rule into tokens; PlanError where a character belongs to none."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            fault_at(text, at, f"{text[at]!r} has no meaning here")
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match.group(), at))
        at = match.end()
    return [*found, Token("end", "", len(text))]


def fault_at(text: str, at: int, what: str) -> NoReturn:
    """Raise a PlanError with the rule and a caret under its character ``at``."""
    # Tabs and line breaks would move the caret away from what it points at.
    line = re.sub(r"\s", " ", text)
    raise PlanError(f"thresholds: {what}\n  {line}\n  {' ' * at}^")
