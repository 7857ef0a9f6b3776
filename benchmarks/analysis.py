"""
Ten million rows: how long summary, validity and verdict take, and how much memory.

    python benchmarks/analysis.py [--rows 10000000] [--keep FOLDER]

The run is made up first, in a process of its own; then a fresh process analyses it, so that its
peak memory is that of the analysis alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
sys.path.insert(0, str(HERE.parent))

RULES = (
    "ttfb.p95 < 110ms where deployment = replica",
    "ttfb.p50(replica) <= 0.25 * ttfb.p50(multi) for each region in ord, syd, scl",
)
LIMIT_S = 60
LIMIT_GB = 3.0


def make(folder: Path, rows: int) -> None:
    """Write a run of about ``rows`` rows: half an hour, twelve cells."""
    import synth

    from loadtest.plan.model import Load

    seconds = 1_800
    rate = rows / seconds / 12
    plan = synth.make_plan(
        load=Load(rate=rate, duration_s=seconds, warmup_s=4, new_connections=0.01),
        thresholds=RULES,
    )
    effects = synth.Effects(error_share={"multi": 1e-4}, drift_sd=0.02)
    synth.write_run(folder, plan, seconds=seconds, seed=1, effects=effects)


def analyse(folder: Path) -> None:
    """Analyse a run and print time and peak memory of each step."""
    started = time.monotonic()
    steps: list[tuple[str, float, float]] = []

    def done(name: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        steps.append((name, time.monotonic() - started, peak))

    from loadtest.analysis.load import load_run
    from loadtest.analysis.summary import summarise
    from loadtest.gate.verdict import judge
    from loadtest.records.folder import RunFolder
    from loadtest.report.pages.write import write_report

    done("imports")
    run = load_run(folder)
    done("load")
    summary = summarise(run)
    done("summary and validity")
    verdict = judge(run, summary)
    found = RunFolder(folder)
    found.save_json("verdict.json", verdict.to_json())
    found.save_json("summary.json", summary.judged(verdict.decision).to_json())
    done("verdict")
    write_report(folder, run, summary, verdict, "benchmarks/analysis.py")
    done("report")
    size = (folder / "records.parquet").stat().st_size
    print(f"{len(run.frame):,} rows, {size / len(run.frame):.1f} bytes a row on disk")
    print(f"verdict: {verdict.sentence}")
    print(f"{'after':<22} {'seconds':>8} {'peak GB':>8}")
    for name, seconds, gigabytes in steps:
        print(f"{name:<22} {seconds:8.2f} {gigabytes:8.2f}")
    kept = steps[-1][1] < LIMIT_S and steps[-1][2] < LIMIT_GB
    print(f"target: < {LIMIT_S} s and < {LIMIT_GB:g} GB: {'kept' if kept else 'MISSED'}")


def main() -> None:
    """Make the run and analyse it, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="write the run here and leave it")
    parser.add_argument("--step", choices=("make", "analyse"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step == "make":
        make(arguments.keep, arguments.rows)
        return
    if arguments.step == "analyse":
        analyse(arguments.keep)
        return
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="loadtest-benchmark-")) / "run"
    try:
        for step in ("make", "analyse"):
            command = [sys.executable, __file__, "--step", step, "--keep", str(folder)]
            environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
            subprocess.run([*command, "--rows", str(arguments.rows)], check=True, env=environment)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
