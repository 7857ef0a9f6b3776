"""Runs the program as a person would, and watches what it starts and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SMALL = (
    *("--regions", "cdg,syd", "--deployments", "single,multi,replica"),
    *("--warmup", "1", "--rate", "15", "--looks", "1"),
)
"""Two regions and three deployments: everything is there, and it takes seconds."""

PATIENCE_S = 60.0


@dataclass
class Program:
    """One running command and all that it has started so far, by pid and start time."""

    process: subprocess.Popen[str]
    offspring: dict[int, str] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)

    def look(self) -> None:
        """Take note of every descendant that is alive now, and of the world's folder."""
        known = {self.process.pid, *self.offspring}
        for pid, (parent, started) in processes().items():
            if parent in known and pid not in self.offspring:
                self.offspring[pid] = started
                self.folders |= {Path(w) for w in words_of(pid) if "loadtest-world-" in w}

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Look until a condition holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            assert self.process.poll() is None, self.process.communicate()
            self.look()
            time.sleep(0.05)

    def alive(self) -> list[str]:
        """Return the commands of descendants that still run."""
        now = processes()
        return [
            " ".join(words_of(pid))
            for pid, started in self.offspring.items()
            if pid in now and now[pid][1] == started
        ]

    def remains(self) -> list[str]:
        """Return what is left: processes, and folders."""
        return [*self.alive(), *(str(f) for f in self.folders if f.exists())]

    def pids_of(self, word: str) -> list[int]:
        """Return descendants whose command line has a word."""
        return [pid for pid in self.offspring if word in words_of(pid)]


def processes() -> dict[int, tuple[int, str]]:
    """Return pid -> (parent, start time) of every process that is no zombie."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            fields = text.rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(entry)] = (int(fields[1]), fields[19])
    return found


def words_of(pid: int) -> list[str]:
    """Return the words of a process's command line; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


@contextmanager
def loadtest(*arguments: str, cwd: Path) -> Iterator[Program]:
    """Start the command line; end it the hard way if the test did not."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    program = Program(process)
    try:
        yield program
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def finished(
    *arguments: str, cwd: Path, timeout_s: float = 110.0
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


def gone_within(program: Program, seconds: float) -> list[str]:
    """Wait until nothing of a program is left; return what is left after the time."""
    end = time.monotonic() + seconds
    while program.remains() and time.monotonic() < end:
        time.sleep(0.05)
    return program.remains()


def has_measured(folder: Path) -> bool:
    """Tell whether steady rows are in the run folder already; warm-up rows come first."""
    return any(
        "steady" in pq.read_table(part, columns=["stage"]).column("stage").to_pylist()
        for part in (folder / "parts").glob("*.parquet")
        if not part.name.startswith(".")
    )


def read(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content
