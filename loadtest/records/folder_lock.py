"""The mark by which a run has its folder to itself: a file that the kernel keeps locked for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from loadtest.errors import RecordsError


def locked(path: Path) -> BinaryIO:
    """
    Return a run's mark, opened and locked until it is closed or this process ends.

    A run that leaves nothing behind takes its mark with it, maybe between our opening and our
    locking it: then what we locked is no longer what others will open, and we begin anew.
    """
    import fcntl  # there is none on every system that can read a run

    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise RecordsError(f"{path}: cannot be locked: {error.strerror}") from error
        # kept open: the kernel lets go of the lock with the process, whatever ends it
        file = os.fdopen(descriptor, "ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.lstat()):
                return file
        except FileNotFoundError:
            pass  # taken away between the two looks
        except BlockingIOError:
            file.close()
            raise RecordsError(f"{path.parent}: another run is under way in it") from None
        except OSError as error:
            file.close()
            raise RecordsError(f"{path}: cannot be locked: {error.strerror}") from error
        file.close()
