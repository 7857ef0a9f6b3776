"""
Trials of the gate's decision on what the tables' noises leave out: pauses, ramps, few requests.

A world makes the times of both arms of one region, by block and request: NaN was not sent, infinity
failed.  Any rules, any number of regions, looks and blocks; what decides is the gate's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.blocks import Blocked, blocked, group_blocks
from loadtest.analysis.bootstrap import Weights, draw_weights, join_weights
from loadtest.analysis.cells import CellRows
from loadtest.gate.decide import levels_of
from loadtest.gate.errors import Failures
from loadtest.gate.judgement import decide_family
from loadtest.gate.questions import Question
from loadtest.gate.results import Decision
from loadtest.plan.model import Gate
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM, Measure

Values = NDArray[np.float64]
Arms = tuple[Values, Values]
"""Milliseconds of candidate and base, each of shape (blocks, requests)."""
World = Callable[[np.random.Generator, int, int, int], Arms]
"""(generator, blocks, requests, number of the region) -> the arms of a region."""

P50 = "ttfb.p50 within 5% or 5ms of baseline for each region"
P95 = "ttfb.p95 within 10% or 10ms of baseline for each region"
EIGHT = (30, 60, 90, 120, 150, 180, 210, 240)


def lognormals(sigma: float, median: float = 100.0) -> World:
    return lambda g, blocks, per, _: _both(median * np.exp(g.normal(0, sigma, (2, blocks, per))))


def _both(values: Values) -> Arms:
    return values[0], values[1]


@dataclass(frozen=True)
class OddDesign:
    """
    What is judged.

    Args:
        world: Makes the arms of a region.
        rules: As in a plan; a rule of each cell unless it says ``pooled``.
        regions: How many there are.
        looks: Blocks at each.
        per_block: Requests of an arm and block.
        block_s: Seconds of a block.
        alpha: Error rate of the run.
        counts: Makes numbers of a request, such as database round trips; None: one each.
    """

    world: World
    rules: tuple[str, ...] = (P50, P95)
    regions: int = 3
    looks: tuple[int, ...] = EIGHT
    per_block: int = 15
    block_s: float = 1.0
    alpha: float = 0.05
    counts: World | None = field(default=None)


def odd_trials(design: OddDesign, trials: int, seed: int) -> dict[Decision, float]:
    """Return the shares of each decision among seeded trials."""
    decisions = [_trial(design, np.random.default_rng([seed, trial])) for trial in range(trials)]
    return {d: decisions.count(d) / trials for d in ("pass", "fail", "inconclusive")}


def _trial(design: OddDesign, rng: np.random.Generator) -> Decision:
    names = [f"r{number:02}" for number in range(design.regions)]
    times: dict[tuple[str, str], Values] = {}
    counts: dict[tuple[str, str], Values] = {}
    for number, region in enumerate(names):
        shape = design.looks[-1], design.per_block, number
        for made, world in ((times, design.world), (counts, design.counts)):
            if world is not None:
                made[region, CANDIDATE_ARM], made[region, BASE_ARM] = world(rng, *shape)
    gate = Gate(alpha=design.alpha)
    asked = [_questions(text, names) for text in design.rules]
    for look, blocks in enumerate(design.looks, 1):
        seen = SentSamples(
            {key: values[:blocks] for key, values in times.items()},
            {key: values[:blocks] for key, values in counts.items()},
            design.block_s,
        )
        found = decide_family(asked, seen, gate, levels_of(gate.alpha, look, len(design.looks)))
        decisions = {one.decision for judged in found.rules for one in judged}
        if found.together or "fail" in decisions:
            return "fail"
        if decisions == {"pass"}:
            return "pass"
    return "inconclusive"


def _questions(text: str, regions: list[str]) -> list[Question]:
    rule = parse_threshold(text)
    compares = rule.kind != "absolute"
    groups = [regions] if rule.pooled else [[region] for region in regions]
    return [
        Question(
            rule,
            some[0] if len(some) == 1 else "",
            CANDIDATE_ARM,
            "pages",
            tuple(_cell(region, CANDIDATE_ARM) for region in some),
            tuple(_cell(region, BASE_ARM) for region in some if compares),
        )
        for some in groups
    ]


def _cell(region: str, arm: str) -> CellRows:
    return CellRows(region, arm, "pages", np.arange(1, dtype=np.int32))


@dataclass(frozen=True)
class SentSamples:
    """Samples of cells by region and arm, as those of a run are made from its records."""

    times: Mapping[tuple[str, str], Values]
    counts: Mapping[tuple[str, str], Values]
    block_s: float

    def sample(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        parts, groups, offset, joined = [], [], 0, 0.0
        for cell in cells:
            key = cell.region, cell.deployment
            times = self.times[key]
            sent = np.argwhere(~np.isnan(times))
            values = times[~np.isnan(times)]
            grouping = group_blocks(self._blocks(cell.region))
            group = grouping.group[sent[:, 0] - grouping.first] + offset
            if measure.unit != "ms":
                values = self.counts[key][~np.isnan(times)] if self.counts else np.ones(values.size)
            elif measure.percentile is None:
                group, values = group[np.isfinite(values)], values[np.isfinite(values)]
            parts.append(values)
            groups.append(group)
            offset += grouping.groups
            joined += grouping.groups * grouping.joined
        return blocked(
            np.concatenate(parts), np.concatenate(groups).astype(np.int32), offset, joined / offset
        )

    def at_once(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        sample = self.sample(cells, measure)
        groups = sample.groups // len(cells)
        return Blocked(sample.values, sample.group % groups, groups, sample.joined)

    def failures(self, cells: tuple[CellRows, ...], metric: str) -> Failures:
        failed, seconds = [], []
        for cell in cells:
            times = self.times[cell.region, cell.deployment]
            blocks, per = times.shape
            due = np.arange(blocks)[:, None] + (np.arange(per) + 0.5)[None, :] / per
            kept = ~np.isnan(times)
            failed.append(np.isinf(times[kept]).astype(np.float64))
            seconds.append((due[kept] * self.block_s).astype(np.int64))
        return Failures.by_second(np.concatenate(failed), np.concatenate(seconds))

    def weights(self, cells: tuple[CellRows, ...]) -> Weights:
        parts = [_weights(group_blocks(self._blocks(c.region)).groups, c.region) for c in cells]
        return parts[0] if len(parts) == 1 else join_weights(parts)

    def pages_on_links(self, cells: tuple[CellRows, ...]) -> Mapping[str, float]:
        return {}

    def _blocks(self, region: str) -> NDArray[np.int64]:
        """Return the blocks in which something was sent, in either arm."""
        sent = [~np.isnan(v).all(axis=1) for (place, _), v in self.times.items() if place == region]
        return np.flatnonzero(np.any(sent, axis=0))


@cache
def _weights(groups: int, region: str) -> Weights:
    return draw_weights(groups, 500, 1, region)
