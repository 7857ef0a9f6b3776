"""
Removes what a PostgreSQL server that was killed with SIGKILL leaves in the kernel.

A server holds one small System V shared memory segment as an interlock.  It removes the segment
in every orderly end, but nobody does after a kill -9.  Standard library only, so that a guardian
process can use it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from loadtest.world.guard.alive import start_time

_IPC_RMID = 0
_SHARED_MEMORY_LINE = 6


def clear_shared_memory(directory: Path) -> int:
    """
    Remove the shared memory of every dead server whose data directory lies under ``directory``.

    A server that still lives is left alone.  The layout of postmaster.pid is that of
    ``src/include/utils/pidfile.h`` in PostgreSQL: the first line is the process, the seventh the
    key and the id of the segment.

    Args:
        directory: Data directories lie at any depth below it.

    Returns:
        How many segments were removed.
    """
    removed = 0
    for pid_file in directory.rglob("postmaster.pid"):
        try:
            if pid_file.is_symlink() or not pid_file.is_file():
                continue  # the server's account is another's where root runs it
            lines = pid_file.read_text().splitlines()
            server, segment = int(lines[0]), int(lines[_SHARED_MEMORY_LINE].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # gone meanwhile, or still being written
        if not start_time(server) and _remove_segment(segment):
            removed += 1
    return removed


def _remove_segment(segment: int) -> bool:
    """Mark a System V segment for removal; True if it was ours to remove."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.shmctl(segment, _IPC_RMID, None) == 0)
