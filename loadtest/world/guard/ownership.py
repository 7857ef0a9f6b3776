"""
Whose a folder is, before anything in it is believed or removed.  Standard library only.

The folder for temporary files is everybody's: another user can put a link there under a name that
looks like one of ours, and wait for root to follow it.  So names are looked at without following
them, and what is not this user's own is left alone.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MOST_BYTES = 1 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_own_folder(path: Path) -> bool:
    """Tell whether a path is a folder, not a link to one, that this user alone can write to."""
    try:
        found = path.lstat()
    except OSError:
        return False
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return own and not found.st_mode & _OTHERS_WRITE


def read_own(path: Path) -> str:
    """
    Return the text of a file of this user's own.

    Raises:
        OSError: It cannot be read, is somebody else's, a link, or no regular file.
    """
    # without O_NONBLOCK the opening of a pipe waits for its other end, maybe for ever
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{path} is no file of this user's own")
        return file.read(_MOST_BYTES).decode("ascii", errors="replace")
