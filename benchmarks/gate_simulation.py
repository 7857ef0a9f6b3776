"""
How often the gate cries wolf, and how often it finds +10 %: simulated, with drift and noise.

    python benchmarks/gate_simulation.py [--trials 10000] [--seed 1] [--resamples 2000]

Each trial is one gate run: 10 minutes a look, 3 000 requests an arm and look, log-normal noise of
sigma 0.35, drift of 5 % or 10 % with 120 s memory that both arms share.  The code that decides is
that of the gate.  "1st look" is with 3 000 requests an arm; "end" is after the looks that the plan
allows (at most 9 000).  Percentages of trials; the standard error is below each table.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from gate_trials import PER_ARM, Design, Tally, run_trials

from loadtest.plan.model import Gate

P50 = "ttfb.p50 within margin of baseline"
P95 = "ttfb.p95 within margin of baseline"
BATCH = 100


def designs(resamples: int) -> Iterator[tuple[str, Design]]:
    """Yield a name and a design for each row."""
    for margin in (0.03, 0.05):
        gate = Gate(margin_share=margin, margin_ms=0, resamples=resamples)
        for rules, name, effect in (
            ((P50, P95), "p50 and p95", 0.0),
            ((P50, P95), "p50 and p95", 0.10),
            ((P95,), "p95 alone", 0.10),
        ):
            for drift in (0.05, 0.10):
                label = f"{name:<11}  {margin:>4.0%}  {effect:>+5.0%}  {drift:>4.0%}"
                yield label, Design(rules=rules, gate=gate, drift=drift, effect=effect)


def simulate(design: Design, trials: int, seed: int, pool: ProcessPoolExecutor) -> Tally:
    """Run the trials of one design in batches, each with a seed of its own."""
    total = Tally()
    batches = math.ceil(trials / BATCH)
    sizes = [min(BATCH, trials - BATCH * i) for i in range(batches)]
    seeds = [seed * 1_000_000 + BATCH * i for i in range(batches)]
    for tally in pool.map(run_trials, [design] * batches, sizes, seeds):
        total.rules += tally.rules
    return total


def main() -> None:
    """Print one row for each design."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=Gate().resamples)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    gate = Gate()
    print(
        f"{arguments.trials} trials a row, seed {arguments.seed}, {arguments.resamples} resamples,"
    )
    print(f"{PER_ARM} requests an arm and look, alpha {gate.alpha} a side, {gate.max_looks} looks")
    print(
        "rules        margin effect drift | 1st look: fail  inconcl.  pass"
        " | of which p50   p95 | end: fail  inconcl.  pass"
    )
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.processes) as pool:
        for label, design in designs(arguments.resamples):
            tally = simulate(design, arguments.trials, arguments.seed, pool)
            shares = [tally.share(d) for d in ("fail", "inconclusive", "pass")]
            ends = [tally.share(d, look=99) for d in ("fail", "inconclusive", "pass")]
            both = [tally.share("fail", rule=i) for i in range(len(design.rules))]
            named = dict(zip(design.rules, both, strict=True))
            parts = [f"{named[r]:7.2%}" if r in named else "      -" for r in (P50, P95)]
            print(
                f"{label}  |  {shares[0]:12.2%} {shares[1]:8.2%} {shares[2]:7.2%} |"
                f"     {parts[0]} {parts[1]} | {ends[0]:8.2%} {ends[1]:8.2%} {ends[2]:7.2%}",
                flush=True,
            )
    worst = math.sqrt(0.25 / arguments.trials)
    print(f"standard error at most {worst:.2%}; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
