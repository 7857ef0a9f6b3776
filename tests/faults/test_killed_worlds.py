"""A world of which each process is killed in turn, and the command line last: nothing is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from whole_program import Program, loadtest, words_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

WITHIN_S = 6.0
"""A second on a quiet machine."""
PARTS = (
    "loadtest",  # the command line itself
    "loadtest.world.guard.guardian",
    "loadtest.world",
    "loadtest.world.links.process",
    "loadtest.world.machines.template",
    "loadtest.refapp",
    "postgres",
)


def is_part(pid: int, part: str) -> bool:
    words = words_of(pid)
    return part in words or bool(words and Path(words[0]).name == part)


def places(folders: set[Path]) -> list[str]:
    """Return mounts of this mount namespace that are in a world's folder."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in mounts if any(str(folder) in line for folder in folders)]


def namespaces(pids: Iterable[int] | None = None) -> set[str]:
    """Return every network namespace that one of some processes is in, or any process."""
    found = set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pids is None else pids:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:  # it has ended
            continue
    return found


def remains(program: Program, before: set[str]) -> list[str]:
    there = namespaces(program.offspring)
    return [*program.remains(), *places(program.folders), *sorted(there - before)]


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_left_whichever_is_killed(tmp_path: Path, part: str) -> None:
    before = namespaces()
    with loadtest("world", "up", "--regions", "cdg,ord", cwd=tmp_path) as program:
        program.wait_for(lambda: bool(program.pids_of("loadtest.refapp")), "an app")
        program.wait_for(lambda: len(namespaces() - before) > 2, "machines of their own")
        program.wait_for(lambda: any(is_part(pid, "postgres") for pid in program.offspring), "data")
        program.look()
        mine = [program.process.pid, *program.offspring]
        victim = next(pid for pid in mine if is_part(pid, part))
        os.kill(victim, signal.SIGKILL)
        program.look()
        if victim != program.process.pid:
            program.process.kill()
        program.process.wait()
        end = time.monotonic() + WITHIN_S
        while remains(program, before) and time.monotonic() < end:
            time.sleep(0.02)
        assert remains(program, before) == []
