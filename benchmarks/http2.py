"""
HTTP/2: how true the time to first byte is, and requests a second on one core.

    python benchmarks/http2.py [--quick] [--rates 100,1000,2000]

Plain TCP by prior knowledge, generator and target on a core of their own.  Truth is what the target
stamps itself, from the kernel's receive stamp of the request to the write of the answer.  The most
that a tool can do is measured in the closed model, 50 connections with one stream at a time each,
against a server of Node.js; h2load, in C, records nothing but a histogram and is there for scale.
The same client over HTTP/1.1 is what `throughput.py` shows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import lab

DELAY_US, USERS = 20_000, 100
RANKS = ("p50", "p99", "p99.9")


@contextlib.contextmanager
def target(command: list[str]) -> Iterator[str]:
    """Run a target on the server's core; its URL."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {lab.SERVER_CORE}),  # noqa: PLW1509 - one thread
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().split()[1]}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ours(url: str, rate: float, seconds: float, users: int) -> dict[str, Any]:
    script = str(lab.HERE / "peers" / "loadtest_client.py")
    options = [url, str(rate), str(seconds), str(users), "2"]
    out, _ = lab.run_pinned([sys.executable, script, *options], seconds * 4 + 120)
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return result


def h2load(url: str, seconds: float) -> float:
    command = [lab.debian("h2load"), "-t1", f"-c{50}", "-m1", f"-D{seconds:g}", url]
    out, _ = lab.run_pinned(command, seconds + 60)
    match = re.search(r"([\d.]+) req/s", out)
    if match is None:
        raise RuntimeError("h2load printed no rate")
    return float(match[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short, for a look")
    parser.add_argument("--rates", default="100,1000,2000")
    options = parser.parse_args()
    seconds, rounds = (3.0, 1) if options.quick else (8.0, 3)
    lab.raise_file_limit()
    folder = lab.HERE / "target"
    rows = []
    for rate in map(float, options.rates.split(",")):
        for _ in range(rounds):
            with target([sys.executable, str(folder / "http2_target.py"), "0"]) as url:
                found = ours(f"{url}/d/{DELAY_US}", rate, seconds, USERS)
            errors = [f"{found['errors_us'][rank]:,.1f}" for rank in RANKS]
            sent = found["n"] / found["seconds"] / rate
            rows.append([f"{rate:g}", *errors, f"{sent:.0%}", str(found["failed"])])
    lab.print_table(["requests/s", *(f"error us {rank}" for rank in RANKS), "sent", "failed"], rows)
    if (node := shutil.which("node")) is None:
        print("left out: the most that a tool can do, which needs Node.js")
        return
    rows = []
    for _ in range(rounds):
        with target([node, str(folder / "http2_target.js")]) as url:
            found = ours(f"{url}/d/0", 0, seconds, 50)
            rate, cpu_us = found["n"] / seconds, found["window_cpu_s"] * 1e6 / found["n"]
            rows.append(["loadtest", f"{rate:,.0f}", f"{cpu_us:.0f}", f"{1e6 / cpu_us:,.0f}"])
            try:
                rows.append(["h2load", f"{h2load(f'{url}/d/0', seconds):,.0f}", "", ""])
            except lab.Missing as missing:
                print(f"left out: {missing}")
    lab.print_table(["tool", "requests/s", "CPU us/request", "a whole core would"], rows)


if __name__ == "__main__":
    main()
