"""
A real worker at full speed: open model, every phase recorded, rows home to the coordinator.

    python benchmarks/worker.py [--rates 10000,20000,30000] [--seconds 8] [--peers]

One Locust worker has a core to itself; the target and the coordinator share the other.  Lateness is
actual minus intended start; the error is the reported wait minus the target's nominal delay, so it
holds the target's own lateness too.  With --peers, FastHttpUser and k6 run closed at the end on the
worker's core against the same target, for the ratio.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests" / "engine")]

import lab  # noqa: E402 - after the path
from engine_rig import Rig, order, until  # noqa: E402 - the tests' own rig

DELAY_US = 5_000
USERS = 400
SCENARIO = f"""
from locust import task
from loadtest.engine.user import TTFBUser

class Visit(TTFBUser):
    scenario = "visit"

    @task
    def page(self):
        self.client.get("/d/{DELAY_US}", name="GET /d")
"""
HEAD = ("arrivals/s", "sent/s", "dropped", "worker CPU", "lateness us p50 / p99 / p99.9",
        "error us p50 / p99 / p99.9", "rows lost")  # fmt: skip


def play(rate: float, seconds: float, url: str) -> list[str]:
    """Play one rate and return a row of the table."""
    with tempfile.TemporaryDirectory(prefix="loadtest-worker-") as folder:
        Path(folder, "scenario.py").write_text(SCENARIO)
        rig = Rig(Path(folder))
        try:
            os.sched_setaffinity(rig.coordinator().pid, {lab.SERVER_CORE})
            os.sched_setaffinity(rig.worker("cdg").pid, {lab.GENERATOR_CORE})
            until(lambda: len(rig.get("/v1/status")["workers"]) == 1, "the worker joins", 60)
            load = {"rate": rate / 2, "duration_s": seconds, "warmup_s": 2, "block_s": 1}
            body = order(("cdg",), url, "full", load={**load, "users": USERS})
            status, content = rig.call("POST", "/v1/runs", body)
            assert status == 201, content
            final = rig.wait_final("full", seconds + 60)
            assert final["state"] == "done", final["error"]
            report: Any = rig.get("/v1/runs/full/engine")["workers"][0]
            tables = [pq.read_table(io.BytesIO(part)) for part in rig.parts("full")]
        finally:
            rig.close()
    columns: dict[str, list[Any]] = {"error": [], "queue_us": [], "wait_us": [], "stage": []}
    for table in tables:
        for name, values in columns.items():
            values.append(table.column(name).to_numpy())
    error, late, wait, stage = (np.concatenate(values) for values in columns.values())
    steady = stage == "steady"
    good = steady & (error == "")
    dropped = int((steady & (error == "dropped")).sum())
    rows = report["rows"]
    return [
        f"{rate:,.0f}",
        f"{good.sum() / seconds:,.0f}",
        f"{dropped:,}",
        f"{report['health']['cpu_share_mean']:.0%}",
        percentiles(late[good]),
        percentiles(wait[good] - DELAY_US),
        str(rows["scheduled"] - rows["merged"]),
    ]


def percentiles(values: Any) -> str:
    """Return p50, p99 and p99.9 of whole microseconds."""
    if not values.size:
        return "-"
    return " / ".join(f"{np.percentile(values, p):,.0f}" for p in (50, 99, 99.9))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rates", default="10000,20000,30000", help="separated by commas")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--peers", action="store_true", help="FastHttpUser and k6 for the ratio")
    options = parser.parse_args()
    lab.raise_file_limit()
    with lab.target() as target:
        print(", ".join(f"{key} {value}" for key, value in lab.machine(target.kind).items()))
        rates = [float(text) for text in options.rates.split(",")]
        lab.print_table(HEAD, [play(rate, options.seconds, target.url) for rate in rates])
        for name in ("FastHttpUser", "k6") if options.peers else ():
            seconds = options.seconds
            found = lab.run_peer(name, f"{target.url}/d/0", rate=0, seconds=seconds, users=50)
            print(
                f"{name}: {found['n'] / found['seconds']:,.0f} requests/s, closed, 50 connections"
            )


if __name__ == "__main__":
    main()
