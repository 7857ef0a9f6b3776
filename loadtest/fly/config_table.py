"""
A table of fly.toml that is asked for its values one by one and keeps count of what is wrong.

Every sentence names the key, shows the value as TOML has it, and says what to write instead.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.fly.go_text import go_text, split_command
from loadtest.fly.values import parse_duration_s
from loadtest.text import one_line

_SHOWN_CHARACTERS = 60
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_S = 9.2e9
"""What Go's 64 bits of nanoseconds hold."""
_MOST = 2**31 - 1
_LONGEST_NUMBER = 20
"""Digits that a number in quotes may have."""


def shown(value: object) -> str:
    """Return a TOML value as its file has it: short, on one line."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = one_line(value if isinstance(value, str) else go_text(value))
    if len(text) > _SHOWN_CHARACTERS:
        text = text[:_SHOWN_CHARACTERS] + "..."
    return f'"{text}"' if isinstance(value, str) else text


def nearest(word: str, known: Collection[str]) -> str:
    """Return the end of a sentence that proposes the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@dataclass(frozen=True, slots=True)
class TomlTable:
    """
    A table of the file.

    A value of no use adds a sentence to ``faults``, and its default is returned, so one reading
    tells everything that is wrong.

    Args:
        data: What is in it.
        path: Its dotted name; empty for the whole file.
        faults: One sentence for each value of no use; shared by all tables of a file.
    """

    data: Mapping[str, Any]
    path: str = ""
    faults: list[str] = field(default_factory=list)

    def key(self, key: str) -> str:
        """Return the dotted name of one of its keys."""
        return f"{self.path}.{one_line(key)}" if self.path else one_line(key)

    def refuse(self, key: str, why: str) -> None:
        """Add a sentence about a key, unless there is one: the first says what comes first."""
        name = f"{self.key(key)}: "
        if not any(fault.startswith(name) for fault in self.faults):
            self.faults.append(name + why)

    def text(self, key: str, default: str = "") -> str:
        """Return text on one line."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(key, f"{shown(value)} is not text; write it in quotes")
            return default
        if _CONTROL.search(value):
            self.refuse(key, f"{shown(value)} has a control character in it; leave that out")
            return default
        return value

    def choice(self, key: str, allowed: Collection[str], default: str) -> str:
        """Return one of a few words; empty text means the default."""
        value = self.text(key) or default
        if value in allowed or value == default:
            return value
        self.refuse(
            key, f"{shown(value)} is not one of {', '.join(allowed)}{nearest(value, allowed)}"
        )
        return default

    def loose_text(self, key: str) -> str:
        """Return text, or a number or boolean as text."""
        value = self.data.get(key)
        if isinstance(value, str) or value is None:
            return self.text(key)
        if isinstance(value, list | Mapping):
            self.refuse(key, f"{shown(value)} is neither text nor a number")
            return ""
        return go_text(value)

    def command(self, key: str) -> str:
        """Return a command line that can be split into words."""
        value = self.data.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.refuse(key, f"{shown(value)} is not a command; write it in quotes, on one line")
            return ""
        if "\0" in value:
            self.refuse(key, f"{shown(value)} has a zero byte in it; leave that out")
            return ""
        try:
            split_command(value)
        except ValueError as error:
            self.refuse(key, f"{shown(value)} is not a command line: {error}")
            return ""
        return value

    def words(self, key: str) -> tuple[str, ...]:
        """Return the words of a command: a list of several, or text, which is one word."""
        value = self.data.get(key)
        if value is None or value == "":
            return ()
        words = [value] if isinstance(value, str) else value
        good = isinstance(words, list) and all(
            isinstance(word, str) and "\0" not in word for word in words
        )
        if not good:
            self.refuse(
                key, f'{shown(value)} is neither text nor a list of texts; write ["a", "b"]'
            )
            return ()
        return tuple(words)

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of names."""
        value = self.data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            example = value if isinstance(value, str) and value.isidentifier() else "app"
            self.refuse(key, f'{shown(value)} is not a list of names; write ["{example}"]')
            return ()
        for name in value:
            if not isinstance(name, str):
                self.refuse(key, f"{shown(name)} in the list is not text; write it in quotes")
                return ()
        return tuple(value)

    def whole(self, key: str, default: int, low: int = 0, high: int = _MOST) -> int:
        """Return a whole number, in quotes or without."""
        value = self.whole_or_none(key, low, high)
        return default if value is None else value

    def whole_or_none(self, key: str, low: int = 0, high: int = _MOST) -> int | None:
        """Return a whole number, or None where there is none."""
        value = self.data.get(key)
        if value is None:
            return None
        number = _number(value)
        if number is not None and low <= number <= high:
            return number
        wanted = (
            "a port, 1 to 65535"
            if (low, high) == (1, 65_535)
            else f"a whole number from {low} to {high}"
        )
        self.refuse(key, f"{shown(value)} is not {wanted}")
        return None

    def port(self, key: str, default: int) -> int:
        """Return a TCP port."""
        return self.whole(key, default, 1, 65_535)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean, in quotes or without."""
        value = self.data.get(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return bool(value == "true")
        self.refuse(key, f"{shown(value)} is neither true nor false")
        return default

    def duration_s(self, key: str, default: float, bare_unit_s: float = 1.0) -> float:
        """
        Return a duration in seconds; empty text means the default.

        Args:
            key: Its key.
            default: Where there is none.
            bare_unit_s: Seconds that a bare number counts in.
        """
        value = self.data.get(key)
        if value is None or value == "":
            return default
        try:
            seconds = parse_duration_s(value, bare_unit_s=bare_unit_s)
        except (ValueError, OverflowError):
            seconds = math.nan
        if 0 <= seconds <= _LONGEST_S:
            return seconds
        self.refuse(key, f'{shown(value)} is not a duration; write "15s", "1m30s" or "250ms"')
        return default

    def texts(self, key: str) -> dict[str, str]:
        """Return a table of texts; numbers and booleans become text."""
        found: dict[str, str] = {}
        inner = self.section(key)
        for name in inner.data:
            found[name] = inner.loose_text(name)
        return found

    def section(self, key: str) -> TomlTable:
        """Return a table inside, an empty one where there is none."""
        value = self.data.get(key)
        if value is None or isinstance(value, Mapping):
            return TomlTable(value or {}, self.key(key), self.faults)
        self.refuse(key, f"{shown(value)} where a table is wanted; write [{self.key(key)}], once")
        return TomlTable({}, self.key(key), self.faults)

    def sections(self, *keys: str) -> list[TomlTable]:
        """Return tables inside, whether they were written ``[x]`` or ``[[x]]``."""
        found: list[TomlTable] = []
        for key in keys:
            value = self.data.get(key)
            entries = [value] if isinstance(value, Mapping) else value
            if entries is None:
                continue
            if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
                self.refuse(
                    key, f"{shown(value)} where tables are wanted; write [[{self.key(key)}]]"
                )
                continue
            for number, entry in enumerate(entries):
                place = f"[{number}]" if len(entries) > 1 else ""
                found.append(TomlTable(entry, self.key(key) + place, self.faults))
        return found


def _number(value: object) -> int | None:
    """Return what stands for a whole number: 80, 80.0 or "80"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and value.isascii():
        return int(value) if value.isdigit() else None
    return None
