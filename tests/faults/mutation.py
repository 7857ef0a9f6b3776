"""Bytes and JSON that are nearly right: what editors, disks and other programs make of a file."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

ODD_BYTES = [
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xc3(", b"\xed\xa0\x80", b"\r", b"\x1b[2J"),
    *(b"inf", b"-inf", b"nan", b"NaN", b"Infinity", b"1e999", b"-1", b"0", b"1e-400"),
    *(b"\xe2\x80\xae", b"null", b"true", b'""', b"''", b'"""', b"[]", b"{}", b"[[", b"=", b","),
    *(b"9" * 400, b"9" * 5_000, b"[" * 3_000, b'{"a":' * 3_000, b"a." * 3_000 + b"a = 1\n"),
    *(b"1979-05-27", b"0x1F", b"\\u0000", b"\\ud800", b"-cdg", b"cdg", b"x" * 70_000),
]  # fmt: skip

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**31, 2**63, 2**200, 1.5, -0.0, 1e308, 5e-324),
    *(math.nan, math.inf, -math.inf, "", "x", "\ud800", "\x00", "1", "../..", "cdg"),
    *([], {}, [None], [[]], {"": None}, {"x": 1}, ["cdg"], [{}]),
]

Path = tuple[str | int, ...]


@st.composite
def nearly(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes that differ from ``whole`` in up to four places, or in all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    text = whole
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 40)))
        piece = draw(st.one_of(st.sampled_from(ODD_BYTES), st.binary(max_size=4), st.just(b"")))
        text = text[:start] + piece + text[stop:]
    return text


def paths_of(value: Any, before: Path = ()) -> Iterator[Path]:
    """Yield the place of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*before, key)
        if isinstance(inner, dict | list):
            yield from paths_of(inner, (*before, key))


def placed(content: Any, path: Path, value: Any) -> Any:
    """Return a copy with another value at a place."""
    again = copy.deepcopy(content)
    holder_of(again, path)[path[-1]] = value
    return again


def removed(content: Any, path: Path) -> Any:
    """Return a copy without what is at a place."""
    again = copy.deepcopy(content)
    del holder_of(again, path)[path[-1]]
    return again


def holder_of(content: Any, path: Path) -> Any:
    """Return the object or list that the last step of a path leads into."""
    for part in path[:-1]:
        content = content[part]
    return content


@st.composite
def nearly_json(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value that differs from ``whole`` in up to three places."""
    content = whole
    for _ in range(draw(st.integers(1, 3))):
        paths = list(paths_of(content))
        if not paths:
            return content
        path = draw(st.sampled_from(paths))
        if draw(st.booleans()):
            content = removed(content, path)
        else:
            content = placed(content, path, draw(st.sampled_from(ODD_VALUES)))
    return content
