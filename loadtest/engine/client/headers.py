"""The headers of an answer as a scenario reads them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_CHARSETS: Final = (
    "utf-",
    "ascii",
    "iso8859-",
    "cp",
    "windows-",
    "koi8-",
    "mac",
    "latin",
    "gb",
    "big5",
    "euc",
    "shift_jis",
    "iso2022",
    "johab",
    "tis-620",
    "hz",
    "hp-roman8",
    "ptcp154",
    "kz1048",
)


class Headers(Mapping[str, str]):
    """
    Response headers by name, whatever its case; repeated ones joined by a comma.

    Args:
        pairs: Names and values in their order.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = list(pairs)
        """Every header as it came: the way to several Set-Cookie values."""
        self._values: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for name, value in self.pairs:
            key = name.lower()
            self._names.setdefault(key, name)
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Any:
        return iter(self._names.values())

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values


def charset_of(headers: Mapping[str, str]) -> str:
    """
    Return the charset that the headers of a text name, else UTF-8.

    Python has codecs that are no charsets, and take a time that does not grow with the length
    alone: ``punycode`` takes seconds for 200 kB.
    """
    match = _CHARSET.search(headers.get("content-type", ""))
    try:
        charset = codecs.lookup(match[1]).name if match else "utf-8"
    except (LookupError, ValueError):
        charset = "utf-8"
    return charset if charset.startswith(_CHARSETS) else "utf-8"
