"""
How many workers one coordinator carries: time to start, rows lost, CPU and memory.

    python benchmarks/scale.py [--workers 1,2,4,8,16,32] [--rate 20] [--seconds 5]

Each step starts a coordinator and N worker processes (one per region) on loopback against a small
target, plays a run, reads the report, and ends everything.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "engine")]

from engine_rig import SCENARIO, Rig, order, until  # noqa: E402 - the tests' own rig

from loadtest.regions import region_table  # noqa: E402

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
COLUMNS = (
    "workers",
    "rows/s",
    "joined s",
    "ready s",
    "rows",
    "lost",
    "coordinator CPU",
    "coordinator MB",
    "worker MB",
    "lateness p99 ms",
)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def step(count: int, rate: float, seconds: float) -> list[str]:
    """Play one run with ``count`` workers and return a row of the table."""
    regions = tuple(region_table())[:count]
    with tempfile.TemporaryDirectory(prefix="loadtest-scale-") as folder:
        Path(folder, "scenario.py").write_text(SCENARIO)
        rig = Rig(Path(folder))
        try:
            coordinator = rig.coordinator().pid
            began = time.monotonic()
            workers = [rig.worker(region).pid for region in regions]
            until(lambda: len(rig.get("/v1/status")["workers"]) == count, "workers join", 120)
            joined_s = time.monotonic() - began
            load = {"rate": rate, "duration_s": seconds, "warmup_s": 1, "block_s": 1}
            body = order(regions, rig.target(), "scale", load=load)
            began = time.monotonic()
            status, content = rig.call("POST", "/v1/runs", body)
            assert status == 201, content
            until(lambda: state(rig) not in ("waiting", "self-check"), "load starts", 120)
            ready_s = time.monotonic() - began
            cpu, began = cpu_s(coordinator), time.monotonic()
            final = rig.wait_final("scale", seconds + 120)
            used = (cpu_s(coordinator) - cpu) / (time.monotonic() - began)
            report: Any = rig.get("/v1/runs/scale/engine")
            memory = rss_mb(coordinator), max(rss_mb(pid) for pid in workers)
        finally:
            rig.close()
    assert final["state"] == "done", final["error"]
    scheduled = sum(worker["rows"]["scheduled"] for worker in report["workers"])
    merged = sum(worker["rows"]["merged"] for worker in report["workers"])
    late_us = max(worker["health"]["lateness_p99_us"] for worker in report["workers"])
    return [
        str(count),
        f"{2 * rate * count:,.0f}",
        f"{joined_s:.1f}",
        f"{ready_s:.1f}",
        f"{merged:,}",
        f"{scheduled - merged}",
        f"{used:.1%}",
        f"{memory[0]:.0f}",
        f"{memory[1]:.0f}",
        f"{late_us / 1_000:.2f}",
    ]


def state(rig: Rig) -> str:
    return str(rig.run_status("scale")["state"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--workers", default="1,2,4,8,16,32", help="steps, separated by commas")
    parser.add_argument("--rate", type=float, default=20.0, help="arrivals per second of each cell")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    widths = [max(9, len(column)) for column in COLUMNS]
    print("  ".join(f"{column:>{width}}" for column, width in zip(COLUMNS, widths, strict=True)))
    for text in arguments.workers.split(","):
        cells = step(int(text), arguments.rate, arguments.seconds)
        print(
            "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)),
            flush=True,
        )


if __name__ == "__main__":
    main()
