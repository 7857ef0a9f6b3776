"""
Files that appear whole or not at all.

A folder may be shared: the name of the file to be is never opened, and the one beside it is made by
this process or not at all, so nobody's link is followed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """
    Give a file to write that becomes ``path`` when the block ends well, and vanishes if not.

    Raises:
        OSError: It cannot be made or put in place.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, _NEW, 0o666)  # less the umask, as any new file
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_names(name: str) -> str:
    """Return the pattern of the names that a file has while it is being written."""
    return f".{name}.*.tmp"
