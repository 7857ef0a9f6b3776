"""
Files that an edge serves itself, as fly.toml's ``[[statics]]`` names them.

What is not there, and what lies outside of the folder, is the app's to answer.

Source: Fly's documentation, reference/configuration (the statics sections).
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from loadtest.world.edge.http import AnswerHead, RequestHead
from loadtest.world.edge.types import StaticFolder

MOST_BYTES: Final = 1 << 24
"""Larger files are left to the app: an edge of this world holds a whole one in memory."""

_METHODS: Final = (b"GET", b"HEAD")
_TYPES: Final = mimetypes.MimeTypes()
_UNKNOWN: Final = "application/octet-stream"


def static_answer(
    statics: Iterable[StaticFolder], head: RequestHead, region: str
) -> tuple[AnswerHead, bytes] | None:
    """
    Return the answer to a request for a file, head and body; None where the app has to answer.

    Args:
        statics: Where files are.
        head: The request.
        region: The edge's.
    """
    if head.method not in _METHODS or head.upgrade:
        return None
    path = unquote(head.target.partition(b"?")[0].decode("latin-1"), errors="surrogateescape")
    for static in statics:
        found = find_file(static, path)
        if found is not None:
            return _answer(found, region)
    return None


def find_file(static: StaticFolder, path: str) -> Path | None:
    """
    Return the file that a path means; None for none, and for one outside of the folder.

    Args:
        static: Where files are.
        path: Path of a request, decoded.
    """
    if path != static.prefix and not path.startswith(f"{static.prefix}/"):
        return None
    words = path.removeprefix(static.prefix)[1:].removesuffix("/")
    if "\0" in words or any(word in ("", ".", "..") for word in words.split("/") if words):
        return None
    try:
        found = _inside(static.folder, words)
        if found is not None and found.is_dir() and static.index:
            found = _inside(static.folder, f"{words}/{static.index}".lstrip("/"))
        elif path.endswith("/"):
            return None
        return found if found is not None and found.is_file() else None
    except OSError:  # such as a name that is too long
        return None


def _inside(folder: Path, name: str) -> Path | None:
    """Return what a name stands for, links followed; None for what is outside of the folder."""
    real = (folder / name).resolve()
    return real if real.is_relative_to(folder) else None


def _answer(file: Path, region: str) -> tuple[AnswerHead, bytes] | None:
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        body = file.read_bytes()
    except OSError:
        return None
    kind, coding = _TYPES.guess_type(file.name)
    headers = [
        (b"content-type", (_UNKNOWN if coding or kind is None else kind).encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    return AnswerHead(200, b"OK", headers, region.encode()), body
