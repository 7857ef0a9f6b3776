"""
A real worker at full speed: every phase recorded, rows home to the coordinator.

    python benchmarks/worker.py [--rates 10000,20000,30000] [--rounds 3] [--peers] [--busy]

One Locust worker has a core to itself; target, coordinator and this script share the other.  There
are 600 users, and the target answers after 5 ms.  The rates are those of an open model, arrivals
evenly spaced or, with --arrivals poisson, at random.  Lateness is actual minus intended start.  The
error is the reported wait minus what the target stamped itself, from the arrival of the request to
the write of the answer.  The last row is the closed model: the users ask again as soon as they are
answered.  That is the most a tool can do, and what peers are compared in: with --peers,
FastHttpUser and k6 do the same on the same core, each by itself and without a coordinator.  With
--busy, a loop that never rests is pinned beside the worker, as on a machine whose CPU is stolen.
Shown are medians over the rounds, in brackets the least and the greatest.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
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

DELAY_US, USERS = 5_000, 600
SCENARIO = f"""
from locust import constant, task
from loadtest.engine.user import TTFBUser

class Visit(TTFBUser):
    scenario = "visit"
    wait_time = constant(0)

    @task
    def page(self):
        self.client.get("/d/{DELAY_US}", name="GET /d")
"""
HEAD = ("arrivals/s", "sent/s", "dropped", "worker CPU %", "lateness us p50", "p99", "p99.9",
        "error us p50", "p99", "p99.9", "in user space p99", "rows lost")  # fmt: skip
RANKS = (50, 99, 99.9)


def play(rate: float, seconds: float, url: str, arrivals: str = "constant") -> list[float]:
    """Play one rate, or the closed model for rate 0; return a row of the table as numbers."""
    # the order has two arms, and each gets half of everything
    load: dict[str, Any] = {"duration_s": seconds, "warmup_s": 2, "block_s": 1, "users": USERS // 2}
    load |= {"rate": rate / 2, "arrivals": arrivals} if rate else {"model": "closed"}
    with tempfile.TemporaryDirectory(prefix="loadtest-worker-") as folder:
        Path(folder, "scenario.py").write_text(SCENARIO)
        rig = Rig(Path(folder))
        try:
            rig.coordinator()
            os.sched_setaffinity(rig.worker("cdg").pid, {lab.GENERATOR_CORE})
            until(lambda: len(rig.get("/v1/status")["workers"]) == 1, "the worker joins", 60)
            status, content = rig.call("POST", "/v1/runs", order(("cdg",), url, "full", load=load))
            assert status == 201, content
            final = rig.wait_final("full", seconds + 60)
            assert final["state"] == "done", final["error"]
            report: Any = rig.get("/v1/runs/full/engine")["workers"][0]
            tables = [pq.read_table(io.BytesIO(part)) for part in rig.parts("full")]
        finally:
            rig.close()
    names = ("error", "queue_us", "wait_us", "wait_user_us", "app_us", "stage")
    columns = {
        name: np.concatenate([table.column(name).to_numpy() for table in tables]) for name in names
    }
    steady = columns["stage"] == "steady"
    good = steady & (columns["error"] == "")
    missed = columns["wait_us"] - columns["app_us"]
    return [
        rate,
        good.sum() / seconds,
        (steady & (columns["error"] == "dropped")).sum(),
        100 * report["health"]["cpu_share_mean"],
        *np.percentile(columns["queue_us"][good], RANKS),
        *np.percentile(np.abs(missed[good]), RANKS),
        np.percentile((columns["wait_user_us"] - columns["app_us"])[good], 99),
        report["rows"]["missing"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rates", default="10000,20000,30000", help="separated by commas")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arrivals", choices=("constant", "poisson"), default="constant")
    parser.add_argument("--peers", action="store_true", help="FastHttpUser and k6 for the ratio")
    parser.add_argument("--busy", action="store_true", help="another program on the worker's core")
    options = parser.parse_args()
    lab.raise_file_limit()
    os.sched_setaffinity(0, {lab.SERVER_CORE})  # and whatever it starts, unless told otherwise
    rates = [*(float(text) for text in options.rates.split(",")), 0.0]
    runs: dict[float, list[list[float]]] = {rate: [] for rate in rates}
    peers: dict[str, list[float]] = {}
    with lab.target() as target, lab.busy_core() if options.busy else contextlib.nullcontext():
        print(", ".join(f"{key} {value}" for key, value in lab.machine(target.kind).items()))
        for number in range(options.rounds):
            for rate in rates:
                runs[rate].append(play(rate, options.seconds, target.url, options.arrivals))
            for name in ("FastHttpUser", "k6") if options.peers else ():
                url = f"{target.url}/d/{DELAY_US}"
                found = lab.run_peer(name, url, rate=0, seconds=options.seconds, users=USERS)
                peers.setdefault(name, []).append(found["n"] / found["seconds"])
            print(f"round {number + 1} of {options.rounds} done", flush=True)
    lab.print_table(HEAD, [row(rate, runs[rate]) for rate in rates])
    ours = statistics.median(run[1] for run in runs[0.0])
    for name, asked in peers.items():
        ratio = ours / statistics.median(asked)
        print(f"{name}: {lab.spread(asked)} requests/s, closed; ours is {ratio:.2f} times that")


def row(rate: float, found: list[list[float]]) -> list[str]:
    """Return a row of the table: what was asked for, and the spread of what was found."""
    cells = [lab.spread(values) for values in zip(*found, strict=True)]
    return [f"{rate:,.0f}" if rate else "closed", *cells[1:]]


if __name__ == "__main__":
    main()
