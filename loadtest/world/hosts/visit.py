"""
Runs a command in the place of a machine: ``python -m loadtest.world.hosts.visit PID COMMAND...``.

The command sees the machine's network, names, files and environment, in the folder that the machine
works in.  A program of its own, since only a process with one thread may enter a user namespace.

Source: setns(2), user_namespaces(7).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from loadtest.kernel import namespaces

KEPT = ("TERM", "COLORTERM", "LINES", "COLUMNS")
"""What a command keeps of the environment that it was typed in: how to draw on the terminal."""

_NAMESPACES = (
    ("user", namespaces.NEW_USER),  # first: it gives the right to enter the others
    ("mnt", namespaces.NEW_MOUNTS),
    ("net", namespaces.NEW_NETWORK),
    ("uts", namespaces.NEW_HOSTNAME),
    ("ipc", namespaces.NEW_IPC),
)
_NOT_FOUND, _NOT_ALLOWED = 127, 126


def enter(pid: int) -> dict[str, str]:
    """
    Move this process, which has one thread, to where another one is.

    Args:
        pid: The other one.

    Returns:
        The environment that the other one was started with.

    Raises:
        OSError: It is gone, or somebody else's.
    """
    place = Path("/proc", str(pid))
    pairs = (
        entry.partition(b"=") for entry in (place / "environ").read_bytes().split(b"\0") if entry
    )
    environment = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    root, folder = (os.open(place / name, os.O_PATH) for name in ("root", "cwd"))
    others = []
    for name, flag in _NAMESPACES:
        there, here = place / "ns" / name, Path("/proc/self/ns", name)
        if not there.samefile(here):
            others.append((os.open(there, os.O_RDONLY), flag))
    for descriptor, flag in others:
        namespaces.enter(descriptor, flag)
        os.close(descriptor)
    if others:
        os.fchdir(root)
        os.chroot(".")
    os.fchdir(folder)
    os.close(root)
    os.close(folder)
    return environment


def main() -> int:
    """Enter and become the command; return only if that cannot be."""
    pid, command = int(sys.argv[1]), sys.argv[2:]
    try:
        environment = enter(pid)
    except OSError as error:
        sys.stderr.write(f"the machine cannot be entered: {error.strerror}\n")
        return _NOT_ALLOWED
    environment |= {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - a person's own words
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_ALLOWED


if __name__ == "__main__":
    sys.exit(main())
