"""
What a world writes down about its processes, so that a crash of all its keepers can be cleaned up.

The folder of a world holds ``owners`` (guardian and world) and ``processes`` (leaders of process
groups), one ``pid start-time`` a line; the start time keeps a re-used process id from being
mistaken.  A folder that is
not this user's own is never looked into.  Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

from loadtest.world.guard.alive import start_time
from loadtest.world.guard.ownership import is_own_folder, read_own
from loadtest.world.guard.reaper import remove_dir

FOLDER_PREFIX = "loadtest-world-"
_OWNERS = "owners"
_PROCESSES = "processes"
_SETTLE_S = 2.0
_POLL_S = 0.01


def write_owner(base: Path, pid: int) -> None:
    """Note a process that cleans the folder up while it lives."""
    _append(base / _OWNERS, pid)


def write_process(base: Path, pid: int) -> None:
    """Note the leader of a process group that has to go when the owners are gone."""
    _append(base / _PROCESSES, pid)


def orphaned(base: Path) -> bool:
    """Tell whether every owner of a folder of ours is dead; False when none is noted."""
    if not is_own_folder(base):
        return False
    owners = _read(base / _OWNERS)
    return bool(owners) and not any(_same(pid, started) for pid, started in owners)


def sweep_orphans(folder: Path | None = None) -> int:
    """
    Remove the worlds whose owners were all killed: their processes, then their folders.

    Args:
        folder: Where to look; None means the system's folder for temporary files.

    Returns:
        How many worlds were removed.
    """
    removed = 0
    for base in (folder or Path(tempfile.gettempdir())).glob(f"{FOLDER_PREFIX}*"):
        if orphaned(base):
            removed += sweep(base)
    return removed


def sweep(base: Path) -> bool:
    """End what is noted in the folder of a dead world and remove it; True when it is gone."""
    until = time.monotonic() + _SETTLE_S
    while True:
        leaders = [pid for pid, started in _read(base / _PROCESSES) if _same(pid, started)]
        marked = _marked(base)
        for kill, pids in ((os.killpg, leaders), (os.kill, marked)):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)
        if not leaders and not marked:
            return remove_dir(base)
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_S)


def _marked(base: Path) -> list[int]:
    """
    Return the processes whose environment names the folder (Linux; elsewhere none).

    Every machine's TMPDIR does, and what a machine starts inherits it, even in a session of its
    own. The folder's name is random, so nobody else's environment holds it.
    """
    found, mark = [], os.fsencode(base)
    for entry in os.listdir("/proc") if Path("/proc/self/environ").exists() else ():
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in Path("/proc", entry, "environ").read_bytes() and start_time(int(entry)):
                found.append(int(entry))
    return found


def _append(path: Path, pid: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "a", encoding="ascii") as file:
        file.write(f"{pid} {start_time(pid)}\n")


def _read(path: Path) -> list[tuple[int, int]]:
    try:
        lines = read_own(path).splitlines()
    except OSError:
        return []
    pairs = (line.split() for line in lines)
    return [
        (int(p[0]), int(p[1])) for p in pairs if len(p) == 2 and p[0].isdigit() & p[1].isdigit()
    ]


def _same(pid: int, started: int) -> bool:
    return started != 0 and start_time(pid) == started
