"""
Values and command lines as flyctl, a Go program, turns them into text and words.

Source: superfly/flyctl, internal/appconfig (fmt's verb %v for values, google/shlex for commands).
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from decimal import Decimal

_PART = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<plain>[^ \t\r\n\\"']+)|'(?P<single>[^']*)'"""
    r"""|(?P<escaped>\\.)|"(?P<double>(?:[^"\\]|\\.)*)\"""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_EXPONENT_FROM, _EXPONENT_BELOW = 21, -4


def go_text(value: object) -> str:
    """
    Return a TOML value as Go prints it: ``true``, ``123``, ``1e+21``, ``[a b]``, ``map[a:1]``.

    Args:
        value: Text, boolean, number, date, time, list or table.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, datetime.datetime):
        return _moment_text(value)
    if isinstance(value, list):
        return f"[{' '.join(go_text(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    return str(value)


def split_command(line: str) -> tuple[str, ...]:
    """
    Split a command line into words, as a shell would that knows quotes, backslashes and comments.

    Nothing is expanded. Unlike a shell, a backslash between double quotes takes every character
    after it as it is; ``#`` begins a comment where a word would begin, and there alone.

    Raises:
        ValueError: A quote is not closed, or a backslash ends the line.
    """
    words: list[str] = []
    word: str | None = None
    at = 0
    while at < len(line):
        if word is None and line[at] == "#":
            end = line.find("\n", at)
            at = len(line) if end < 0 else end
            continue
        part = _PART.match(line, at)
        if part is None:
            what = (
                "a backslash ends it" if line[at] == "\\" else f"a quote {line[at]} is not closed"
            )
            raise ValueError(what)
        at = part.end()
        if part["space"] is None:
            escaped = _ESCAPED.sub(r"\1", part["escaped"] or part["double"] or "")
            word = (word or "") + (part["plain"] or part["single"] or escaped)
        elif word is not None:
            words.append(word)
            word = None
    return tuple(words if word is None else [*words, word])


def _float_text(value: float) -> str:
    """Return the shortest digits that give the number back; exponents as %v sets them."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    sign, digits, _ = Decimal(repr(value)).normalize().as_tuple()
    exponent = Decimal(repr(value)).adjusted()
    if _EXPONENT_BELOW <= exponent < _EXPONENT_FROM:
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    head, *tail = (str(digit) for digit in digits)
    mantissa = head + ("." + "".join(tail) if tail else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _moment_text(value: datetime.datetime) -> str:
    """Return a date with time: a local one as it was written, others as Go's time prints itself."""
    offset = value.utcoffset()
    if offset is None:
        return value.isoformat()
    clock = value.strftime("%H:%M:%S")
    if value.microsecond:
        clock += f".{value.microsecond:06d}".rstrip("0")
    if value.tzinfo is datetime.UTC:
        zone = "+0000 UTC"
    else:
        minutes = round(offset.total_seconds() / 60)
        written = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
        zone = f"{written} {written}"
    return f"{value.date().isoformat()} {clock} {zone}"
