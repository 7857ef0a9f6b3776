"""What is done inside a machine: a command of a caller's, and a look at its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.world.guard.reaper import descendants, die_with_parent

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS, _RESIDENT_PAGES = 11, 12, 21  # after the name, see proc_pid_stat(5)


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended: its exit code, the signal that ended it or 0, and what it wrote."""

    exit_code: int
    exit_signal: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class MachineProcess:
    """A process of a machine: its command line and folder, CPU seconds so far, resident bytes."""

    pid: int
    command: str
    directory: str
    cpu_s: int
    resident_bytes: int


async def run_inside(
    pid: int, words: Sequence[str], *, text: str = "", timeout_s: float
) -> CommandEnd:
    """
    Run a command where a machine's program runs: its network, names, files and environment.

    Args:
        pid: The program.
        words: The command.
        text: Its standard input.
        timeout_s: Seconds until it is killed.

    Raises:
        TimeoutError: It took longer.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.world.hosts.visit", str(pid), *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate(text.encode())
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    code = process.returncode or 0
    number = max(0, -code)
    texts = (out.decode(errors="replace"), err.decode(errors="replace"))
    return CommandEnd(128 + number if number else code, number, *texts)


def processes_of(pid: int) -> list[MachineProcess]:
    """Return a machine's program and all that it has started, but for what ends meanwhile."""
    found = []
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(OSError, IndexError):
            found.append(_look(each))
    return found


def _look(pid: int) -> MachineProcess:
    place = Path("/proc", str(pid))
    fields = (place / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    words = (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    return MachineProcess(
        pid=pid,
        command=b" ".join(words).decode(errors="replace"),
        directory=str((place / "cwd").readlink()),
        cpu_s=(int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) // _TICKS_PER_S,
        resident_bytes=int(fields[_RESIDENT_PAGES]) * _PAGE_BYTES,
    )
