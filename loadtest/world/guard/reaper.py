"""
Finds and ends processes and what they leave behind.  Standard library only.

On Linux a process can make itself the *subreaper* of everything below it: orphans, daemons and
PostgreSQL's backends become its children instead of init's, so "no child is left" means that
nothing is left (prctl(2), PR_SET_CHILD_SUBREAPER).  Elsewhere the process groups that were told of
stand in for it, and a program that leaves its group escapes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from loadtest.world.guard.alive import start_time, stat_fields
from loadtest.world.guard.ownership import is_own_folder
from loadtest.world.guard.shared_memory import clear_shared_memory

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.01
_LINUX = sys.platform.startswith("linux")


def become_subreaper() -> bool:
    """Adopt every orphan among our descendants; False where the system cannot."""
    if not _LINUX:
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def die_with_parent() -> Callable[[], None] | None:
    """
    Return what a child must call before exec so that the kernel kills it when its parent dies.

    It is the last line of defence, for the case that world and guardian are killed together; None
    where the system has no such thing (Linux: prctl(2), PR_SET_PDEATHSIG).
    """
    if not _LINUX:
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded here: a child between fork and exec must not

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return ask


def descendants(root: int) -> list[int]:
    """Return every living process below ``root`` (Linux; elsewhere nothing), zombies left out."""
    if not _LINUX:
        return []
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat_fields(int(entry))):
            # A zombie is dead, but a thread group leader's children still hang below it.
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        below = parents.get(queue.pop(), [])
        queue += below
        found += below
    return [pid for pid in found if start_time(pid)]


def reap() -> set[int]:
    """Collect every child that has ended and return their ids."""
    ended: set[int] = set()
    try:
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) > 0:
            ended.add(pid)
    except ChildProcessError:
        pass
    return ended


def end_all(groups: Mapping[int, int], *, polite_s: float, hard_s: float) -> bool:
    """
    End everything below this process and every process group in ``groups``.

    Args:
        groups: Signal that asks a group's leader to end, by process group id.
        polite_s: Seconds given to end by that signal.
        hard_s: Seconds given to vanish after SIGKILL.

    Returns:
        Whether nothing is left.
    """
    for group, number in groups.items():
        _signal_group(group, number)
    until = time.monotonic() + polite_s
    while _left(groups) and time.monotonic() < until:
        reap()
        time.sleep(_POLL_S)
    until = time.monotonic() + hard_s
    while left := _left(groups):
        for pid in left:
            _signal(pid, signal.SIGKILL)
        for group in groups:
            _signal_group(group, signal.SIGKILL)
        reap()
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_S)
    reap()
    return True


def remove_dir(base: Path, *, patience_s: float = 1.0) -> bool:
    """
    Remove a world's folder, and PostgreSQL's shared memory named in it; True when gone.

    A link, or a folder that others can write to, is none of ours and stays.
    """
    if not is_own_folder(base):
        return not os.path.lexists(base)
    clear_shared_memory(base)
    until = time.monotonic() + patience_s
    while base.exists():
        shutil.rmtree(base, ignore_errors=True)  # a dying process may still be writing into it
        if not base.exists():
            break
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_S)
    return True


def _left(groups: Mapping[int, int]) -> list[int]:
    if _LINUX:
        alive = set(descendants(os.getpid()))
        return sorted(alive | {group for group in groups if start_time(group)})
    return [group for group in groups if _group_lives(group)]


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return
