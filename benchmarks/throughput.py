"""
Requests a second, and CPU a request, of each tool on one core.

    python benchmarks/throughput.py [--quick] [--json FILE]

Keep-alive GETs of 1 KB, 50 connections, each sent when the one before is answered; the target
answers at once from another core.  Ours records every phase of every request as a run does; wrk and
hey, in C and Go, record nothing but a histogram and are there for scale.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import lab

TOOLS = ("loadtest", "k6", "FastHttpUser", "HttpUser", "hey", "wrk")
USERS = 50
WARM_UP_S = 1.0


def bare(name: str, url: str, seconds: float) -> dict[str, Any]:
    """Run wrk or hey, which print requests a second over their whole time."""
    length = f"{seconds + WARM_UP_S:g}s"
    commands = {
        "wrk": ["-t1", f"-c{USERS}", f"-d{length}", url],
        "hey": ["-z", length, "-c", str(USERS), url],
    }
    out, cpu_s = lab.run_pinned([lab.debian(name), *commands[name]], seconds + 60)
    match = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if match is None:
        raise RuntimeError(f"{name} printed no rate")
    rate = float(match[1])
    return {"rate": rate, "cpu_us": cpu_s * 1e6 / (rate * (seconds + WARM_UP_S)), "failed": 0}


def one(name: str, url: str, seconds: float) -> dict[str, Any]:
    if name in ("wrk", "hey"):
        return bare(name, url, seconds)
    result = lab.run_peer(name, url, rate=0, seconds=seconds, users=USERS)
    rate = result["n"] / result["seconds"]
    # what a tool spends on starting and warming up is in its CPU time but not in its count
    cpu_s = result.get("window_cpu_s", result["cpu_s"] * seconds / (seconds + WARM_UP_S))
    return {"rate": rate, "cpu_us": cpu_s * 1e6 / max(result["n"], 1), "failed": result["failed"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, for a look")
    parser.add_argument("--json", type=Path, help="write every run here")
    options = parser.parse_args()
    seconds, rounds = (2.0, 1) if options.quick else (8.0, 5)
    lab.raise_file_limit()
    runs: dict[str, list[dict[str, Any]]] = {}
    missing: list[str] = []
    with lab.target() as target:
        about = lab.machine(target.kind)
        print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
        for number in range(rounds):
            turn = number % len(TOOLS)
            for tool in TOOLS[turn:] + TOOLS[:turn]:
                try:
                    runs.setdefault(tool, []).append(one(tool, f"{target.url}/d/0", seconds))
                except lab.Missing as error:
                    if str(error) not in missing:
                        missing.append(str(error))
            print(f"round {number + 1} of {rounds} done", flush=True)
    ours = statistics.median(run["rate"] for run in runs["loadtest"])
    rows = []
    for tool in (t for t in TOOLS if runs.get(t)):
        rates = [run["rate"] for run in runs[tool]]
        costs = [run["cpu_us"] for run in runs[tool]]
        failed = sum(run["failed"] for run in runs[tool])
        ratio = ours / statistics.median(rates)
        rows.append([tool, lab.spread(rates), lab.spread(costs), str(failed), f"{ratio:.2f}"])
    lab.print_table(["tool", "requests/s", "CPU us/request", "failed", "ours / it"], rows)
    for text in missing:
        print(f"left out: {text}")
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
