"""The log of a machine: a file in the world's folder, and the end of it."""

from __future__ import annotations

import os
from pathlib import Path

from loadtest.text import telling_lines

_TAIL_BYTES = 65_536


def open_log(path: Path) -> int:
    """Open a log for appending, readable by the owner only, and return its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def tail(path: Path, lines: int = 20, hide: tuple[str, ...] = (), start: int = 0) -> str:
    """
    Return the last lines of a log that matter, without reading all of it.

    Args:
        path: The log; a missing one is empty.
        lines: How many lines.
        hide: Secrets, each replaced by ``***``.
        start: Offset in bytes that it begins at: what stands before is an earlier program's.
    """
    return "\n".join(telling_lines(end_of(path, _TAIL_BYTES, hide, start), lines))


def end_of(path: Path, size_bytes: int, hide: tuple[str, ...] = (), start: int = 0) -> str:
    """
    Return the end of a log as it stands; a missing one is empty.

    Args:
        path: The log.
        size_bytes: How much of it at most.
        hide: Secrets, each replaced by ``***``.
        start: Offset in bytes that it begins at.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - size_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    for secret in hide:
        text = text.replace(secret, "***") if secret else text
    return text
