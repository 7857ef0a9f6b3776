"""
Files that appear whole or not at all, and are read only where they come to an end.

A folder may be shared: the name of the file to be is never opened, and the one beside it is made by
this process or not at all, so nobody's link is followed.  What stands in a file's place may be a
pipe or a device: reading it would wait, or go on, for ever.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

MOST_JSON: Final = 1 << 28
"""Bytes of a JSON file at most: an account of a thousand workers has a tenth of it."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """
    Give a file to write that becomes ``path`` when the block ends well, and vanishes if not.

    Raises:
        OSError: It cannot be made or put in place.
    """
    refuse_special(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, _NEW, 0o666)  # less the umask, as any new file
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refuse_special(path: Path) -> None:
    """
    Refuse to put a file in the place of a device, a pipe or a socket: it would be gone for all.

    Raises:
        OSError: There is one, or a link that leads to one.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # nothing is there, or the writing tells why nobody can look
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "is a device, a pipe or a socket, in whose place no file goes")


def temporary_names(name: str) -> str:
    """Return the pattern of the names that a file has while it is being written."""
    return f".{name}.*.tmp"


def read_json(path: Path) -> Any:
    """
    Read a JSON file, and nothing that only stands in its place.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is no file, too long, no JSON, or tells a key twice.
        RecursionError: It is too deep.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is no file")
        if found.st_size > MOST_JSON:
            raise ValueError(f"has {found.st_size} bytes, more than any such file")
        text = file.read(found.st_size).decode("utf-8")  # what is asked for is reserved at once
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    """Return an object; of a key that is told twice nobody knows which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.60} is there twice")
    return found
