"""
What an edge of the emulated world adds, by protocol, as curl and our own client see it.

    python -m benchmarks.edge [--rounds 21] [--each 20]

One world of one region, one app, a page that needs no database.  curl and our client ask the same
page in turn, one request after the other: plain HTTP, TLS with HTTP/1.1, TLS with HTTP/2; on a kept
connection, and each time on a new one.  Prints the median of the rounds' medians, and of their
differences.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.lab import HERE, print_table
from loadtest.plan.order import Target
from loadtest.plan.resolve import resolve_plan
from loadtest.run.deployment import deploy_all
from loadtest.run.progress import Silent
from loadtest.run.run_deployment import Secrets, orders_of
from loadtest.run.run_world import open_place

PATH = "/healthz"
WARM = 2
TIMEOUT_S = 30
PLAN = {
    "regions": ["cdg"],
    "primary_region": "cdg",
    "base": "0",
    "deployments": [
        {"name": "plain", "fly_toml": "fly/recipes-single/fly.toml"},
        {"name": "tls", "of": "plain", "scheme": "https", "http": "1.1"},
        {"name": "h2", "of": "plain", "http": "2"},
    ],
}


class OurClient:
    """The client's process, asked line by line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "peers" / "edge_client.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, target: Target, *, new: bool) -> float:
        """Ask once; return the time to first byte in milliseconds, cold or warm."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        words = [target.url, PATH, target.host, target.ca_file, target.http, new]
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()
        told, reused, protocol = json.loads(process.stdout.readline())
        if target.http != "auto" and protocol != target.http:
            raise RuntimeError(f"{target.url}: HTTP/{protocol} was spoken")
        return float(told) if reused is not new else float("nan")

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=TIMEOUT_S)


@contextmanager
def our_client() -> Iterator[OurClient]:
    client = OurClient()
    try:
        yield client
    finally:
        client.close()


def curl(target: Target, count: int, *, new: bool) -> list[float]:
    """
    Ask so often from one process; return times to first byte in milliseconds.

    New connections are those of HTTP/1.1 that are told to close: curl opens none otherwise.
    """
    url, words = f"{target.url}{PATH}", ["--http2" if target.http == "2" else "--http1.1"]
    if target.host:
        port = target.url.rsplit(":", 1)[1]
        url = f"https://{target.host}:{port}{PATH}"
        words += ["--cacert", target.ca_file, "--resolve", f"{target.host}:{port}:127.0.0.1"]
    if new:
        words += ["--header", "Connection: close"]
    told = "%{time_starttransfer} %{time_pretransfer} %{num_connects} %{http_version}\n"
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--noproxy", "*", *words, "--write-out", told, "--config", "-"],
        input=f'url = "{url}"\noutput = "/dev/null"\n' * (count + WARM),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    rows: list[Any] = [row.split() for row in done.stdout.splitlines()][WARM:]
    if {row[2] for row in rows} != {"1" if new else "0"} or {row[3] for row in rows} - {"1.1", "2"}:
        raise RuntimeError(f"{url}: curl has measured another thing: {rows[0]}")
    return [(float(row[0]) - (0.0 if new else float(row[1]))) * 1e3 for row in rows]


def ours(client: OurClient, target: Target, count: int, *, new: bool) -> list[float]:
    """The same by our client."""
    return [client(target, new=new) for _ in range(count + WARM)][WARM:]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="turns of curl and of ours")
    parser.add_argument("--each", type=int, default=20, help="requests in a turn")
    options = parser.parse_args()
    plan = resolve_plan(PLAN)
    orders = orders_of(plan, "edge", Secrets())
    rows = []
    with open_place(plan, orders, "") as place, our_client() as client:
        deploy_all(place, orders, Silent(), generator=False)
        targets = place.targets(plan, orders, place.describe(plan))["cdg"]
        for new in (False, True):
            for name, target in targets.items():
                if new and target.http == "2":
                    continue
                theirs, own = [], []
                for _ in range(options.rounds):
                    theirs.append(statistics.median(curl(target, options.each, new=new)))
                    own.append(statistics.median(ours(client, target, options.each, new=new)))
                gaps = sorted(a - b for a, b in zip(own, theirs, strict=True))
                told = [f"{statistics.median(side):.2f} ms" for side in (theirs, own)]
                spread = f"{gaps[0]:+.2f} to {gaps[-1]:+.2f} ms"
                rows.append(
                    ["cold" if new else "warm", name, *told,
                     f"{statistics.median(gaps):+.2f} ms", spread]
                )  # fmt: skip
    print_table(["connection", "spoken", "curl p50", "ours p50", "ours - curl", "rounds"], rows)


if __name__ == "__main__":
    main()
