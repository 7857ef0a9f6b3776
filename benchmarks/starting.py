"""
How long a world takes to start, and what it holds in memory, by its regions; both layers in turn.

    python -m benchmarks.starting [--regions 4 10 34] [--repeat 3]

Each world has all deployments of the latency tables: apps, a primary and a replica in every region.
In more than 24 regions their pools are smaller, or the primary had no connection for the last ones.
*Healthy* is when every machine passes its checks, *measured* when the round trips of every pair of
regions have been measured besides.  Memory is the proportional share (PSS) of all its processes,
CPU what starting and ending it took in all.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import CACHE
from loadtest.regions import region_table
from loadtest.world.guard.reaper import descendants

FIRST = ("cdg", "ord", "syd", "scl")
LONGEST_S = 300.0
POOL = 10
"""Connections that each machine of the app keeps, as its fly.toml says."""
CONNECTIONS = 240
"""As many as all machines may keep of the 300 that Fly's image of PostgreSQL allows."""


@dataclass(frozen=True)
class Start:
    """One start: seconds until healthy and measured, machines, processes, MB, CPU seconds."""

    healthy_s: float
    measured_s: float
    machines: int
    processes: int
    memory_mb: float
    cpu_s: float


def start_one(regions: Sequence[str], layer: str, folder: Path) -> Start:
    """Bring a world up, look at it, end it."""
    plan = folder / f"{layer}.toml"
    text = (Path(__file__).parents[1] / "scenarios" / "latency-tables.toml").read_text()
    if len(regions) * POOL > CONNECTIONS:
        env = f'env = {{ DB_POOL = "{CONNECTIONS // len(regions)}" }}'
        text = re.sub(r"(?m)^(fly_toml = .*)$", rf"\1\n{env}", text)
    plan.write_text(re.sub(r"(?m)^\[network\]$", f'[network]\nlayer = "{layer}"', text))
    words = ["world", "up", str(plan), "--regions", ",".join(regions), "--rtt", "neutral"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, healthy, machines = time.monotonic(), 0.0, 0
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "LOADTEST_CACHE": str(CACHE)},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if ": healthy in " in line:
                healthy = time.monotonic() - began
                machines += len(line.split(": healthy in ")[1].split(","))
            if " measured, the worst median" in line:
                break
        else:
            raise SystemExit("".join(lines[-20:]))
        measured = time.monotonic() - began
        found = descendants(process.pid)
        memory_kb = sum(map(_share_kb, found))
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait(LONGEST_S)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Start(healthy, measured, machines, len(found), memory_kb / 1_024, cpu_s)


def _share_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def chosen(count: int) -> list[str]:
    """Return so many regions, those of the latency tables first."""
    others = [code for code in region_table() if code not in FIRST]
    return [*FIRST, *others][:count]


def main() -> None:
    """Start worlds of each size on each layer, and print medians with the lowest and highest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--regions", type=int, nargs="+", default=[4, 10])
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print("regions layer  machines processes  healthy s            measured s           CPU s   MB")
    with tempfile.TemporaryDirectory(prefix="loadtest-starting-") as name:
        for count in given.regions:
            starts: dict[str, list[Start]] = {"hosts": [], "relay": []}
            for _ in range(given.repeat):
                for layer, some in starts.items():
                    some.append(start_one(chosen(count), layer, Path(name)))
            for layer, some in starts.items():
                print(
                    f"{count:7} {layer:6} {some[0].machines:8} {some[0].processes:9}  "
                    f"{spread([s.healthy_s for s in some])} {spread([s.measured_s for s in some])} "
                    f"{statistics.median(s.cpu_s for s in some):6.1f} "
                    f"{statistics.median(s.memory_mb for s in some):5.0f}",
                    flush=True,
                )


def spread(values: Sequence[float]) -> str:
    """Return the median, the lowest and the highest."""
    return f"{statistics.median(values):5.1f} ({min(values):.1f} to {max(values):.1f})".ljust(20)


if __name__ == "__main__":
    main()
