"""Text from outside made safe to show: one line without control characters, and markdown."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_BREAKS: Final = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029")
# Marks that turn the order of what follows: a terminal or a page would show other text than it has.
_TURNING: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>#|~!$@])")


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
