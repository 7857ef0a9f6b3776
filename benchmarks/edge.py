"""
What an edge of the emulated world adds, by protocol, as curl and our own client see it.

    python -m benchmarks.edge [--rounds 21] [--each 20] [--inside]

One world of one region, one app, a page that needs no database.  curl and our client ask the same
page in turn, one request after the other: plain HTTP, TLS with HTTP/1.1, TLS with HTTP/2; on a kept
connection, and each time on a new one.  With --inside both stand in the region's own place and call
the app by its name, so that name server, TCP and TLS are real; a look-up is left out, as curl makes
one for all its requests.  Prints the median of the rounds' medians, and of their
differences.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.lab import HERE, print_table
from loadtest.plan.order import Target
from loadtest.plan.resolve import resolve_plan
from loadtest.run.deployment import deploy_all
from loadtest.run.progress import Silent
from loadtest.run.run_deployment import Secrets, orders_of
from loadtest.run.run_world import open_place
from loadtest.run.standing_world import command_inside

PATH = "/healthz"
WARM = 2
TIMEOUT_S = 30
OWN_PATH = {**os.environ, "PYTHONPATH": str(HERE.parent)}
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


Inside = Callable[[list[str]], list[str]]
"""Returns the command line that runs a command in the region's place; or as it is, for outside."""


class OurClient:
    """
    The client's process, asked line by line.

    Args:
        inside: Where it runs.
    """

    def __init__(self, inside: Inside) -> None:
        self.dns_ms: list[float] = []
        self._process = subprocess.Popen(
            inside([sys.executable, str(HERE / "peers" / "edge_client.py")]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=OWN_PATH,
        )

    def __call__(self, target: Target, *, new: bool) -> float:
        """Ask once; return the time to first byte in ms: cold, less the look-up, or warm."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        words = [target.url, PATH, target.host, target.ca_file, target.http, new]
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()
        told, dns_ms, reused, protocol = json.loads(process.stdout.readline())
        if target.http not in ("auto", protocol):
            raise RuntimeError(f"{target.url}: HTTP/{protocol} was spoken")
        if new:
            self.dns_ms.append(dns_ms)
        return float(told) - dns_ms if reused is not new else float("nan")

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=TIMEOUT_S)


def curl(inside: Inside, target: Target, count: int, *, new: bool) -> list[float]:
    """
    Ask so often from one process; return times to first byte in milliseconds.

    New connections are those of HTTP/1.1 that are told to close: curl opens none otherwise, and
    looks a name up once.
    """
    url, words = f"{target.url}{PATH}", ["--http2" if target.http == "2" else "--http1.1"]
    if target.ca_file:  # curl reads the system's two hundred certificates for every connection
        words += ["--cacert", target.ca_file]
    if target.host:
        port = target.url.rsplit(":", 1)[1]
        url = f"https://{target.host}:{port}{PATH}"
        words += ["--resolve", f"{target.host}:{port}:127.0.0.1"]
    if new:
        words += ["--header", "Connection: close", "--no-sessionid"]  # a first visit has no ticket
    told = "%{time_starttransfer} %{time_pretransfer} %{num_connects} %{http_version}\n"
    asked = ["-sS", "--fail", "--noproxy", "*", *words, "--write-out", told, "--config", "-"]
    done = subprocess.run(
        inside(["curl", *asked]),
        input=f'url = "{url}"\noutput = "/dev/null"\n' * (count + WARM),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
        env=OWN_PATH,
    )
    rows: list[Any] = [row.split() for row in done.stdout.splitlines()][WARM:]
    if {row[2] for row in rows} != {"1" if new else "0"} or {row[3] for row in rows} - {"1.1", "2"}:
        raise RuntimeError(f"{url}: curl has measured another thing: {rows[0]}")
    return [(float(row[0]) - (0.0 if new else float(row[1]))) * 1e3 for row in rows]


def ours(client: OurClient, target: Target, count: int, *, new: bool) -> list[float]:
    """The same by our client."""
    return [client(target, new=new) for _ in range(count + WARM)][WARM:]


def compare(
    inside: Inside, client: OurClient, target: Target, options: argparse.Namespace, *, new: bool
) -> list[str]:
    """Let both ask in turn; return the cells of a row."""
    theirs, own = [], []
    for _ in range(options.rounds):
        theirs.append(statistics.median(curl(inside, target, options.each, new=new)))
        own.append(statistics.median(ours(client, target, options.each, new=new)))
    gaps = sorted(a - b for a, b in zip(own, theirs, strict=True))
    told = [f"{statistics.median(side):.2f} ms" for side in (theirs, own)]
    return [*told, f"{statistics.median(gaps):+.2f} ms", f"{gaps[0]:+.2f} to {gaps[-1]:+.2f} ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="turns of curl and of ours")
    parser.add_argument("--each", type=int, default=20, help="requests in a turn")
    parser.add_argument("--inside", action="store_true", help="from a region's place (layer hosts)")
    options = parser.parse_args()
    plan = resolve_plan({**PLAN, "network": {"layer": "hosts"}} if options.inside else PLAN)
    orders = orders_of(plan, "edge", Secrets())
    rows = []
    with open_place(plan, orders, "") as place:
        deploy_all(place, orders, Silent(), generator=False)
        world = place.describe(plan)
        targets = place.targets(plan, orders, world)["cdg"]

        def inside(words: list[str]) -> list[str]:
            return command_inside("cdg", words, url=place.api_url) if options.inside else words

        if options.inside:
            targets = {
                name: target.model_copy(
                    update={
                        "url": f"{target.url.partition(':')[0]}://{orders.apps[name].name}.fly.dev",
                        "host": "",
                    }
                )
                for name, target in targets.items()
            }
        client = OurClient(inside)
        for new in (False, True):
            for name, target in targets.items():
                if not (new and target.http == "2"):
                    told = compare(inside, client, target, options, new=new)
                    rows.append(["cold" if new else "warm", name, *told])
        client.close()
    print_table(["connection", "spoken", "curl p50", "ours p50", "ours - curl", "rounds"], rows)
    print(f"a look-up took {statistics.median(client.dns_ms):.2f} ms, and is in no number")


if __name__ == "__main__":
    main()
