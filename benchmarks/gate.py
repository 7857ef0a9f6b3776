"""
Runs the real gate many times in the embedded world and counts what it says.

    python -m benchmarks.gate                  the three series, about 40 minutes
    python -m benchmarks.gate --series aa -n 5 some of one series

Three series on the app in tests/foreign/notes, each run with an own pair of revisions, while a busy
loop keeps one core of the machine occupied:

    aa      the candidate is the base: no run may fail
    query   the candidate asks the database once more per page: every run must fail, by the count
    slow    the candidate's page takes 10 ms longer in one region: found or inconclusive, not passed
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.lab import busy_core

FOREIGN = Path(__file__).resolve().parent.parent / "tests" / "foreign" / "notes"
QUERY = '        rows = await (await connection.execute("SELECT id'
SERIES = {
    "aa": (30, None),
    "query": (
        20,
        (QUERY, f'        await connection.execute("SELECT count(*) FROM notes")\n{QUERY}'),
    ),
    "slow": (
        20,
        (
            '    body = b"ok"',
            '    if os.environ["FLY_REGION"] == "ord" and scope["path"] == "/":\n'
            "        await __import__('asyncio').sleep(0.010)\n"
            '    body = b"ok"',
        ),
    ),
}
"""Name -> number of runs, and what the candidate changes in notes.py."""


def repository(folder: Path, change: tuple[str, str] | None) -> Path:
    """Make a repository whose HEAD is the base and whose working tree is the candidate."""
    shutil.copytree(FOREIGN, folder, ignore=shutil.ignore_patterns("__pycache__"))
    own = ["-c", "user.name=b", "-c", "user.email=b@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "base"]):
        subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True)
    if change is not None:
        page = folder / "notes.py"
        text = page.read_text()
        assert change[0] in text
        page.write_text(text.replace(*change, 1))
    return folder


def one_gate(folder: Path, seed: int) -> tuple[str, float, dict[str, object]]:
    """Run the gate once; return its verdict, the seconds it took, and verdict.json."""
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "gate", "--base", "HEAD", "--app", "fly.toml",
         "--regions", "cdg,ord", "--seed", str(seed), "--out", str(out)],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    took = time.monotonic() - began
    if not (out / "verdict.json").is_file():
        return f"broken ({done.returncode})", took, {"stderr": done.stderr[-500:]}
    verdict = json.loads((out / "verdict.json").read_text())
    return verdict["decision"], took, verdict


def reason(verdict: dict[str, Any]) -> str:
    """Return the rules that failed, or the sentence."""
    rules = verdict.get("rules") or []
    failed = sorted({r["metric"] + "@" + r["region"] for r in rules if r["decision"] == "fail"})
    return ", ".join(failed) or str(verdict.get("sentence") or verdict.get("stderr"))[:160]


def series(name: str, runs: int) -> dict[str, object]:
    """Run one series and return its counts."""
    decisions: Counter[str] = Counter()
    seconds = []
    by_count = 0
    with tempfile.TemporaryDirectory(prefix="loadtest-gate-") as scratch:
        folder = repository(Path(scratch) / name, SERIES[name][1])
        for number in range(runs):
            decision, took, verdict = one_gate(folder, seed=1_000 + number)
            decisions[decision] += 1
            seconds.append(took)
            why = reason(verdict)
            by_count += "db_round_trips" in why
            print(f"  {name} {number + 1:2}/{runs}  {decision:12} {took:5.1f} s  {why}", flush=True)
    return {
        "series": name,
        "runs": runs,
        "decisions": dict(decisions),
        "named_the_query_count": by_count,
        "median_s": round(statistics.median(seconds), 1),
        "longest_s": round(max(seconds), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--series", choices=[*SERIES, "all"], default="all")
    parser.add_argument("-n", "--runs", type=int, help="runs of each series")
    parser.add_argument("--quiet-machine", action="store_true", help="without the busy loop")
    parser.add_argument("--json", type=Path, help="file for the counts")
    arguments = parser.parse_args()
    names = list(SERIES) if arguments.series == "all" else [arguments.series]
    found = []
    with contextlib.nullcontext() if arguments.quiet_machine else busy_core():
        for name in names:
            found.append(series(name, arguments.runs or SERIES[name][0]))
    for counts in found:
        print(counts)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
