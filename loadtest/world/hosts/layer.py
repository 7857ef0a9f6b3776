"""
Whether machines can be hosts of their own here, and the step that makes it so.

``hosts``: every machine of an app has a network of its own, with real names, addresses and ports.
``relay``: all share this machine's loopback; names and ports are rewritten in their environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from loadtest.errors import WorldError
from loadtest.kernel import namespaces
from loadtest.world.hosts.host import MachineHost

Layer = Literal["hosts", "relay"]


def choose(wanted: str) -> tuple[Layer, str]:
    """
    Return the layer to use, and why it is not ``hosts`` where it is not.

    Args:
        wanted: ``auto``, ``hosts`` or ``relay``.

    Raises:
        WorldError: ``hosts`` is wanted and cannot be had.
    """
    if wanted == "relay":
        return "relay", "asked for"
    reason = obstacle()
    if reason and wanted == "hosts":
        raise WorldError(
            f"network.layer = 'hosts' cannot be had on this machine: {reason}; "
            "choose 'relay', or 'auto' for whichever works"
        )
    return ("relay", reason) if reason else ("hosts", "")


def obstacle() -> str:
    """
    Try the whole chain in a child and return what stood in the way; empty when nothing did.

    A kernel may allow the first step and refuse the third, so each is really made.  Call it from a
    process with one thread.
    """
    if not namespaces.supported():
        return f"{sys.platform} has no namespaces"
    if not Path("/etc/resolv.conf").exists():
        return "there is no /etc/resolv.conf, in whose place a machine's own could be shown"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        told = "the trial ended without a word"
        try:
            told = _try_all()
        finally:
            os.write(writer, told.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        told = answers.read().decode()
    os.waitpid(child, 0)
    return "" if told == "ok" else told


def ask_obstacle() -> str:
    """Return the same from a process of its own, for a caller that may have threads."""
    ask = f"from {__name__} import obstacle; print(obstacle(), end='')"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    return done.stdout or (done.stderr.strip().splitlines() or [""])[-1]


def become_world() -> None:
    """
    Let this process, which has one thread, make hosts from now on.

    Raises:
        OSError: The kernel refused.
    """
    try:
        namespaces.unshare(namespaces.NEW_MOUNTS)  # root, or who already may
    except PermissionError:
        namespaces.become_admin_of_own_namespace()
        namespaces.unshare(namespaces.NEW_MOUNTS)
    namespaces.keep_mounts_private()


def _try_all() -> str:
    try:
        become_world()
        with tempfile.TemporaryDirectory(prefix="loadtest-trial-") as folder:
            host = MachineHost.make(Path(folder), "trial", "fdaa:0:1:a7b:1::2", "172.19.0.2")
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    host.enter()
                    os.write(writer, b"ok")
                except OSError as error:
                    os.write(writer, str(error).encode())
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            told = os.read(reader, 1_000).decode() or "the trial host ended without a word"
            host.close()
    except OSError as error:
        return f"the kernel refused a part of it: {error}"
    return told
