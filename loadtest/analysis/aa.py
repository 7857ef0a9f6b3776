"""
A/A within the run: does the procedure cry wolf on this run's own noise?

The TTFB samples of one arm are split in two at random, within every block, and the halves judged as
if they were two arms; by construction they do not differ.  A procedure that is sound on this data
claims a difference in 5 % of such splits (at 95 %) and one beyond the gate's margin hardly ever.
Far more than that, and the intervals of this run are too narrow: blocks that are no repetitions of
each other, values of a few steps, too few blocks.  The run is then invalid.

Calibration: splits are independent given the data, so fires are a binomial count.  The check fails
when so many fires had a probability below 1 in 1 000 under twice the nominal rate (10 %, because an
interval of few blocks is not exact) or under 1 % for false alarms of the gate.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

import numpy as np

from loadtest.analysis.blocks import MIN_GROUPS, Blocked, block_sample, blocked, group_blocks
from loadtest.analysis.bootstrap import Weights, draw_weights, resample, weigh
from loadtest.analysis.cells import CellRows
from loadtest.analysis.checks import SplitTest
from loadtest.analysis.load import Run
from loadtest.analysis.page_names import OTHER_PAGES, page_names
from loadtest.analysis.pages import cell_pages
from loadtest.analysis.special import binomial_at_least

SPLITS: Final = 8
"""Random splits of each cell."""
RESAMPLES: Final = 400
MIN_SAMPLES: Final = 60
MAX_SAMPLES: Final = 20_000
"""A larger cell is thinned, evenly in time: A/A asks for soundness, not for power."""
RAW_SIDE: Final = 0.025
"""Error on either side of the 95 % interval of a raw decision."""
GATE_SIDE: Final = 0.05
"""Error of a gate that looks once, with the usual alpha: no look of the gate is laxer."""
TOLERATED_RAW: Final = 0.10
TOLERATED_GATE: Final = 0.01
IMPROBABLE: Final = 0.001


def split_test(run: Run, cells: tuple[CellRows, ...]) -> SplitTest:
    """
    Split every cell of a run that has enough samples, and count what fires.

    Where no rule judges cells as they are, it is their pages that are read, and their pages that
    are split: the median of several pages together may lie between two of them.  Names that share
    a page are such a mixture, and nobody's median.
    """
    trials = raw = gate = 0
    names = page_names(run)
    parts = [p for c in cells for p in cell_pages(run, c, names) if p.name != OTHER_PAGES]
    for cell in cells if run.plan.thresholds else parts:
        sample = _sample(run, cell)
        if sample is None:
            continue
        weights = draw_weights(
            sample.groups, RESAMPLES, run.plan.seed, f"a/a {cell.region} {cell.deployment}"
        )
        # crc32, not hash(): Python salts the latter, and a verdict must not.
        label = crc32("/".join(cell.key).encode())
        generator = np.random.Generator(np.random.PCG64([run.plan.seed, label]))
        for _ in range(SPLITS):
            fired_raw, fired_gate = _judge_split(run, sample, weights, generator)
            raw += fired_raw
            gate += fired_gate
        trials += SPLITS
    return SplitTest(trials, raw, gate, _is_sound(trials, raw, gate))


def _sample(run: Run, cell: CellRows) -> Blocked | None:
    block = run.frame["block"].to_numpy()
    step = max(1, cell.rows.size // MAX_SAMPLES)
    rows = np.sort(cell.rows)[::step]
    if not rows.size:
        return None
    thinned = CellRows(*cell.key, rows=rows)
    grouping = group_blocks(block[rows])
    sample = block_sample(run.frame, [thinned], "ttfb", {cell.region: grouping}, failures=False)
    return sample if sample.n >= MIN_SAMPLES and sample.groups >= MIN_GROUPS else None


def _judge_split(
    run: Run, sample: Blocked, weights: Weights, generator: np.random.Generator
) -> tuple[bool, bool]:
    """Return whether a split fires raw, and whether at the gate."""
    settings = run.plan.gate
    # Halves of equal size within every block: shuffle, order by block, deal in turn.
    shuffled = generator.permutation(sample.n)
    by_group = shuffled[np.argsort(sample.group[shuffled], kind="stable")]
    first, second = (
        blocked(sample.values[half], sample.group[half], sample.groups)
        for half in (np.sort(by_group[0::2]), np.sort(by_group[1::2]))
    )
    base = resample(second, weights, 50.0)
    moved = resample(first, weights, 50.0) - base
    point = first.point(50.0) - second.point(50.0)
    evidence = weigh(moved, point, sample.groups, 1 - 2 * RAW_SIDE)
    margin = np.maximum(settings.margin_share * base, settings.margin_ms)
    slack = max(settings.margin_share * second.point(50.0), settings.margin_ms)
    beyond = weigh(moved - margin, point - slack, sample.groups, 1 - 2 * RAW_SIDE)
    gate = beyond.p_above_is_chance < GATE_SIDE
    return (
        min(evidence.p_above_is_chance, evidence.p_below_is_chance) < RAW_SIDE,
        gate,
    )


def _is_sound(trials: int, raw: int, gate: int) -> bool:
    return raw <= most_fires(trials, TOLERATED_RAW) and gate <= most_fires(trials, TOLERATED_GATE)


def most_fires(trials: int, tolerated: float) -> int:
    """Return the largest number of fires that is not improbable at a tolerated rate."""
    fires = 0
    while fires < trials and binomial_at_least(fires + 1, trials, tolerated) >= IMPROBABLE:
        fires += 1
    return fires
