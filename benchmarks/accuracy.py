"""
How true is the time to first byte that each tool reports?

    python benchmarks/accuracy.py [--quick] [--rates 10,100] [--shares 80,95] [--json FILE]

The target answers after a known delay and sends the truth along with every answer: from the
kernel's receive stamp of the request to the moment of its write, on its own clock.  Error: what the
tool reports minus that, request by request; tables show the size of it at p50, p99 and p99.9.  hey
prints times to 0.1 ms and nothing of the answer, so its row is the difference of percentiles.

Each tool is measured at common rates and at shares of its own maximum in the closed model,
generator and target on a core of their own, the tools in turn within each round and the order
turned from round to round.  The last column tells how much of the wanted rate was sent: an open
model needs a free user for every arrival, and a tool near its end has none.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import lab

TOOLS = ("loadtest", "loadtest-user", "k6", "k6-duration", "FastHttpUser", "HttpUser", "hey")
RANKS = ("p50", "p99", "p99.9")
COMMON_DELAY_US, COMMON_USERS = 20_000, 50
LOADED_DELAY_US, LOADED_USERS = 5_000, 500
EXPLANATIONS = {
    "loadtest": "our client, first byte stamped by the kernel",
    "loadtest-user": "the same requests, first byte stamped in user space",
    "k6": "http_req_waiting",
    "k6-duration": "http_req_duration of the same requests",
    "FastHttpUser": "Locust's response_time",
    "HttpUser": "Locust's response_time",
    "hey": "response-delay, difference of percentiles",
}


def hey(target: lab.Target, rate: float, seconds: float, users: int) -> dict[str, Any]:
    users = max(1, min(users, int(rate)))
    target.ask("/reset")
    command = [lab.debian("hey"), "-z", f"{seconds + 1:g}s", "-c", str(users), "-o", "csv"]
    command += ["-q", str(max(1, round(rate / users)))] if rate else []
    out, _ = lab.run_pinned([*command, f"{target.url}/d/{COMMON_DELAY_US}"], seconds + 60)
    truth = json.loads(target.ask("/truth"))
    waits = sorted(float(row["Response-delay"]) * 1e6 for row in csv.DictReader(io.StringIO(out)))
    if not waits:
        raise RuntimeError("hey measured nothing")
    errors = {
        rank: abs(waits[int(len(waits) * float(rank[1:]) / 100)] - truth[f"{rank}_ns"] / 1e3)
        for rank in RANKS
    }
    return {"n": len(waits), "seconds": seconds + 1, "failed": 0, "errors_us": errors}


def measure(
    target: lab.Target, tool: str, rate: float, seconds: float, loaded: bool
) -> dict[str, Any]:
    if tool == "hey":
        return hey(target, rate, seconds, COMMON_USERS)
    delay, users = (LOADED_DELAY_US, LOADED_USERS) if loaded else (COMMON_DELAY_US, COMMON_USERS)
    told: dict[str, Any] = lab.run_peer(
        tool, f"{target.url}/d/{delay}", rate=rate, seconds=seconds, users=users
    )
    return told


class Results:
    """Errors by tool and rate, one entry a round."""

    def __init__(self) -> None:
        self.errors: dict[str, dict[str, list[dict[str, float]]]] = {}
        self.runs: list[dict[str, Any]] = []
        self.missing: dict[str, str] = {}

    def add(self, tool: str, label: str, wanted: float, result: dict[str, Any]) -> None:
        self.runs.append({"tool": tool, "rate": label, "wanted": wanted, **result})
        sent = result["n"] / result["seconds"] / wanted
        kinds = {
            "loadtest": {"loadtest": "errors_us", "loadtest-user": "user_errors_us"},
            "k6": {"k6": "errors_us", "k6-duration": "duration_errors_us"},
        }.get(tool, {tool: "errors_us"})
        for name, key in kinds.items():
            if result.get(key):
                self.errors.setdefault(label, {}).setdefault(name, []).append(
                    {**result[key], "sent": sent}
                )


def attempt(
    results: Results, tool: str, job: Callable[[], dict[str, Any]], label: str, wanted: float
) -> None:
    if tool in results.missing:
        return
    try:
        results.add(tool, label, wanted, job())
    except lab.Missing as missing:
        results.missing[tool] = str(missing)
        print(f"  left out: {missing}", flush=True)
    except RuntimeError as error:
        print(f"  {tool} at {label}: {error}", flush=True)


def run(options: argparse.Namespace, target: lab.Target) -> tuple[Results, dict[str, float]]:
    tools = [tool for tool in TOOLS if "-" not in tool]
    rates, shares = numbers(options.rates), numbers(options.shares)
    seconds = 2.0 if options.quick else 10.0
    rounds = 1 if options.quick else 3
    results, maxima = Results(), {}
    for tool in [t for t in tools if t != "hey"]:
        try:
            result = measure(target, tool, 0, seconds, loaded=True)
        except lab.Missing as missing:
            results.missing[tool] = str(missing)
            continue
        maxima[tool] = result["n"] / result["seconds"]
        print(f"maximum of {tool}: {maxima[tool]:,.0f}/s", flush=True)
    for round_number in range(rounds):
        turned = tools[round_number % len(tools) :] + tools[: round_number % len(tools)]
        jobs = [(f"{rate}/s", float(rate), False) for rate in rates]
        jobs += [(f"{share} %", share / 100, True) for share in shares]
        for label, rate, loaded in jobs:
            print(f"round {round_number + 1} of {rounds}: {label}", flush=True)
            for tool in turned:
                if loaded and tool not in maxima:
                    continue
                wanted = rate * maxima[tool] if loaded else rate
                length = max(seconds, 10 / rate) if not loaded else seconds

                def job(
                    tool: str = tool,
                    wanted: float = wanted,
                    length: float = length,
                    loaded: bool = loaded,
                ) -> dict[str, Any]:
                    return measure(target, tool, wanted, length, loaded)

                attempt(results, tool, job, label, wanted)
    return results, maxima


def numbers(text: str) -> tuple[int, ...]:
    """Return the whole numbers of a list that commas separate."""
    return tuple(int(word) for word in text.split(",") if word)


def report(results: Results, maxima: dict[str, float]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for label, by_tool in results.errors.items():
        ours = statistics.median(entry["p99"] for entry in by_tool.get("loadtest", [{"p99": 0.0}]))
        rows = []
        for tool in TOOLS:
            if tool not in by_tool:
                continue
            columns = {rank: [entry[rank] for entry in by_tool[tool]] for rank in RANKS}
            p99 = statistics.median(columns["p99"])
            ratio = p99 / ours if ours else 0.0
            bias = [entry["bias"] for entry in by_tool[tool] if "bias" in entry]
            cells = [lab.spread(columns[rank]) for rank in RANKS]
            sent = statistics.median(entry["sent"] for entry in by_tool[tool])
            row = [*cells, lab.spread(bias) if bias else "", f"{ratio:,.1f}", f"{sent:.0%}"]
            rows.append([tool, *row])
            medians = {rank: statistics.median(columns[rank]) for rank in RANKS}
            summary.setdefault(label, {})[tool] = {**medians, "p99_ratio": ratio}
        print(f"\nError of the reported time to first byte at {label}, microseconds")
        lab.print_table(["tool", "p50", "p99", "p99.9", "bias", "p99 / ours", "sent"], rows)
    print("\nMaxima: " + ", ".join(f"{tool} {rate:,.0f}/s" for tool, rate in maxima.items()))
    for tool, explanation in EXPLANATIONS.items():
        print(f"{tool}: {explanation}")
    for text in results.missing.values():
        print(f"left out: {text}")
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, for a look")
    parser.add_argument("--rates", default="", help="common rates, by default 10,100,1000")
    parser.add_argument("--shares", default="", help="per cent of the maximum, by default 50,80,95")
    parser.add_argument("--json", type=Path, help="write every run and the summary here")
    options = parser.parse_args()
    if not options.rates and not options.shares:
        options.rates = "100,1000" if options.quick else "10,100,1000"
        options.shares = "80" if options.quick else "50,80,95"
    lab.raise_file_limit()
    with lab.target() as target:
        about = lab.machine(target.kind)
        print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
        results, maxima = run(options, target)
    summary = report(results, maxima)
    if options.json:
        found = {"machine": about, "maxima": maxima, "summary": summary, "runs": results.runs}
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
