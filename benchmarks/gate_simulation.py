"""
How often the gate cries wolf, and how often it finds a change: simulated over twenty noises.

    python benchmarks/gate_simulation.py [--trials N] [--seed N] [--rate 15] [--looks 30,60,...]
                                         [--noises NAME,NAME,...]
    python benchmarks/gate_simulation.py --shares [--trials N]
    python benchmarks/gate_simulation.py --limits [--trials N]

Rules, regions, margins and error rates are those of scenarios/gate.toml, and what decides is the
gate's own `decide_family`; only the samples are made up.  Percentages of trials; the standard error
of the least certain is below the table.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from gate_trials import NOISES, REGIONS, Design, run_trials, share_trials
from limit_trials import LimitDesign, limit_trials

CASES = (
    ("equal", 0.0, 0.0, REGIONS),
    ("+10 % everywhere", 0.10, 0.0, REGIONS),
    ("+10 % in one region", 0.10, 0.0, 1),
    ("+20 ms everywhere", 0.0, 20.0, REGIONS),
    ("on the margin of p50", 0.05, 0.0, REGIONS),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--rate", type=int, default=15, help="requests of an arm, region and second"
    )
    parser.add_argument(
        "--looks", default="30,60,90,120,150,180,210,240", help="seconds at each look"
    )
    parser.add_argument("--noises", default=",".join(NOISES), help="which of them, by name")
    parser.add_argument("--shares", action="store_true", help="of `errors < 1%%` instead")
    parser.add_argument("--limits", action="store_true", help="of percentiles against a limit")
    options = parser.parse_args()
    if options.shares or options.limits:
        (_shares if options.shares else _limits)(options.trials)
        return
    looks = tuple(int(part) for part in options.looks.split(","))
    began = time.monotonic()
    print(f"{'noise':<24}" + "".join(f"{name:>24}" for name, *_ in CASES))
    print(f"{'':<24}" + f"{'fail / pass / open, %':>24}" * len(CASES))
    with ProcessPoolExecutor() as pool:
        rows = {
            noise: [
                pool.submit(
                    run_trials,
                    Design(noise, effect, added_ms, regions, looks, options.rate),
                    options.trials,
                    options.seed,
                )
                for _, effect, added_ms, regions in CASES
            ]
            for noise in options.noises.split(",")
        }
        for noise, cases in rows.items():
            cells = (case.result() for case in cases)
            print(
                f"{noise:<24}"
                + "".join(
                    f"{100 * c['fail']:>11.1f} /{100 * c['pass']:>5.1f}"
                    f" /{100 * c['inconclusive']:>5.1f}"
                    for c in cells
                ),
                flush=True,
            )
    error = 100 * math.sqrt(0.25 / options.trials)
    print(
        f"\n{options.trials} trials a cell, standard error at most {error:.1f} points, "
        f"{time.monotonic() - began:.0f} s"
    )


def _shares(trials: int) -> None:
    """Print how often a share of errors passes and fails, which come alone or together."""
    sizes = (1, 3, 5, 10, 20)
    print("true share, run   " + "".join(f"{f'in clusters of {size}':>24}" for size in sizes))
    print(" " * 18 + f"{'pass before / now / fail':>24}" * len(sizes))
    for share in (0.01, 0.002, 0.03):
        for seconds in (30, 120, 240):
            row = []
            for size in sizes:
                before = share_trials(share, size, seconds, trials=trials, believing=True)[0]
                passed, failed = share_trials(share, size, seconds, trials=trials)
                row.append(f"{100 * before:>12.1f} /{100 * passed:>4.1f} /{100 * failed:>5.1f}")
            print(f"{share:>7.1%}, {seconds:>4} s   " + "".join(row), flush=True)


def _limits(trials: int) -> None:
    """Print how often a percentile against a fixed limit passes and fails."""
    kinds = (
        ("6 % slow, .08", LimitDesign(slow=0.06)),
        ("6 % slow, .35", LimitDesign(slow=0.06, sigma=0.35, room=1.25)),
        ("5 % slow, .35", LimitDesign(slow=0.05, sigma=0.35, room=1.25)),
        ("none slow, .08", LimitDesign()),
        ("none slow, .35", LimitDesign(sigma=0.35, room=1.25)),
        ("on the limit, 10 %", LimitDesign(weather=0.1, room=1.0)),
        ("same, AR .9", LimitDesign(weather=0.1, rho=0.9, room=1.0)),
    )
    plans = (
        ("p95, 30 blocks of 5", (30,), 5),
        ("p95, 60 blocks of 5", (60,), 5),
        ("p95, looks 20, 40, 60", (20, 40, 60), 5),
        ("p95, looks 30, 60, 90", (30, 60, 90), 15),
        ("p95, 240 blocks of 15", (240,), 15),
    )
    print(f"{'pass before / now / fail':<26}" + "".join(f"{name:>22}" for name, _ in kinds))
    with ProcessPoolExecutor() as pool:
        for name, looks, per in plans:
            designs = [replace(kind, looks=looks, per_block=per) for _, kind in kinds]
            before = [pool.submit(limit_trials, d, trials, 1, believing=True) for d in designs]
            now = [pool.submit(limit_trials, d, trials, 1) for d in designs]
            cells = [
                f"{100 * was.result()[0]:>9.1f} /{100 * found[0]:>5.1f} /{100 * found[1]:>4.1f}"
                for was, found in zip(before, (one.result() for one in now), strict=True)
            ]
            print(f"{name:<26}" + "".join(cells), flush=True)
    for slow in (0.01, 0.015, 0.03, 0.0):
        row = []
        for blocks in (60, 150, 300):
            design = LimitDesign(99.0, slow, looks=(blocks,), per_block=50)
            was = limit_trials(design, trials, 1, believing=True)[0]
            passed, failed = limit_trials(design, trials, 1)
            row.append(f"{blocks} blocks {100 * was:.1f} / {100 * passed:.1f} / {100 * failed:.1f}")
        print(f"p99, {slow:.1%} slow, 50 a block: " + "; ".join(row), flush=True)


if __name__ == "__main__":
    main()
