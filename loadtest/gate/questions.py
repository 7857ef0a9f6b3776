"""Rules x cells: which samples each rule is asked of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from loadtest.analysis.blocks import Blocked, Grouping, block_sample, group_blocks
from loadtest.analysis.bootstrap import Weights, draw_weights, join_weights
from loadtest.analysis.cells import CellRows
from loadtest.analysis.load import Run
from loadtest.analysis.metrics import sample_of
from loadtest.analysis.page_names import forms_of, page_names
from loadtest.analysis.pages import cell_pages, rows_by_name
from loadtest.gate.errors import Failures
from loadtest.plan.threshold_checks import arms_of
from loadtest.plan.thresholds import Measure, Threshold
from loadtest.units import US_PER_S

FAILURES_COUNT = ("ttfb", "ttfb_cold", "response_from_schedule")
"""Metrics of which a failed request is an infinitely slow sample."""


@dataclass(frozen=True, slots=True)
class Question:
    """
    One rule asked of one cell or of several pooled.

    ``cells`` are those that are judged, ``others`` those they are compared with.  ``region``,
    ``deployment``, ``scenario`` and ``name`` are empty where cells differ in them.
    """

    rule: Threshold
    region: str
    deployment: str
    scenario: str
    cells: tuple[CellRows, ...]
    others: tuple[CellRows, ...]
    name: str = ""

    @property
    def cell(self) -> str:
        """A name for people: ``scl / replica / browse``."""
        parts = (
            self.region or "all regions",
            self.deployment or "all deployments",
            self.scenario,
            self.name,
        )
        return " / ".join(part for part in parts if part)


def questions_of(run: Run, cells: tuple[CellRows, ...], rule: Threshold) -> list[Question]:
    """Return a rule's questions in the order of the plan's cells; empty when it selects none."""
    if rule.kind == "absolute":
        arm = other = None
    elif rule.kind == "relative":
        arm, other = rule.arm, rule.other
    else:
        arm, other = arms_of(rule, run.plan)
    if rule.by_name:
        cells = _pages(run, cells, rule)
    groups: dict[tuple[str, str, str, str], list[CellRows]] = {}
    for cell in cells:
        if arm in (None, cell.deployment) and rule.selects(*cell.key):
            groups.setdefault(rule.group(*cell.key, cell.name), []).append(cell)
    return [_question(rule, tuple(judged), cells, other) for judged in groups.values()]


def _pages(run: Run, cells: tuple[CellRows, ...], rule: Threshold) -> tuple[CellRows, ...]:
    """
    Return the pages of the cells that the rule selects; a page that it names is never hidden.

    A rule may name what requests share, ``GET /recipes/{id}``: those are one page for it.

    A page that other cells of the scenario have is there, empty, where a cell lacks it: it is
    undecided then, not left out.
    """
    own = {name for name in page_names(run) if not {*forms_of(name)[1:]} & {*rule.names}}
    names = tuple(sorted({*own, *rule.names}))
    cut = [(cell, cell_pages(run, cell, names)) for cell in cells]
    known: dict[str, dict[str, None]] = {}
    for cell, pages in cut:
        known.setdefault(cell.scenario, {}).update(dict.fromkeys(page.name for page in pages))
    found = []
    for cell, pages in cut:
        have = {page.name: page for page in pages}
        for name in filter(rule.selects_page, known[cell.scenario]):
            found.append(have.get(name) or replace(cell, rows=cell.rows[:0], name=name))
    return tuple(found)


def _question(
    rule: Threshold, judged: tuple[CellRows, ...], cells: tuple[CellRows, ...], other: str | None
) -> Question:
    places = {(cell.region, cell.scenario, cell.name) for cell in judged}
    others = tuple(
        cell
        for cell in cells
        if cell.deployment == other and (cell.region, cell.scenario, cell.name) in places
    )
    region, deployment, scenario = (
        names[0] if len(names := sorted({cell.key[i] for cell in judged})) == 1 else ""
        for i in range(3)
    )
    pages = {cell.name for cell in judged}
    name = pages.pop() if len(pages) == 1 else ""
    return Question(rule, region, deployment, scenario, judged, others, name)


class SampleSource(Protocol):
    """Where evidence gets its samples from."""

    def sample(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        """Return a measure's sample of some cells, cut into groups of blocks."""
        ...

    def at_once(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        """Return a measure's sample with a block of all regions as one block."""
        ...

    def failures(self, cells: tuple[CellRows, ...], metric: str) -> Failures:
        """Return how many of a share's requests counted, second by second."""
        ...

    def weights(self, cells: tuple[CellRows, ...]) -> Weights:
        """Return the resampling weights of the blocks of some cells."""
        ...

    def pages_on_links(self, cells: tuple[CellRows, ...]) -> Mapping[str, float]:
        """Return each page's share where links counted round trips; nothing where none did."""
        ...


class Samples:
    """
    Samples and resampling weights of a run, made once and shared by all questions.

    The blocks of a region are grouped once for all its arms and its weights drawn once: that is
    what pairs the arms.

    Args:
        run: The run.
        cells: Its cells.
        resamples: How many resamples to draw.
    """

    def __init__(self, run: Run, cells: tuple[CellRows, ...], resamples: int) -> None:
        self.run = run
        self.resamples = resamples
        block = run.frame["block"].to_numpy()
        self.groupings: dict[str, Grouping] = {}
        for region in dict.fromkeys(cell.region for cell in cells):
            rows = np.concatenate([cell.rows for cell in cells if cell.region == region])
            self.groupings[region] = group_blocks(block[rows])
        self.cells = cells
        self._page_rows: dict[tuple[str, str], dict[str, int]] = {}
        self._weights: dict[str, Weights] = {}
        self._samples: dict[object, Blocked] = {}

    def sample(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        """Return a measure's sample of some cells, cut into groups of blocks."""
        # A mean over infinity says nothing; failures have their percentiles and their budget.
        failures = measure.metric in FAILURES_COUNT and measure.percentile is not None
        key = (tuple((cell.key, cell.name) for cell in cells), measure.metric, failures)
        if key not in self._samples:
            groupings = {region: self.groupings[region] for region in _regions(cells)}
            self._samples[key] = block_sample(
                self.run.frame, cells, measure.metric, groupings, failures=failures
            )
        return self._samples[key]

    def at_once(self, cells: tuple[CellRows, ...], measure: Measure) -> Blocked:
        """
        Return a measure's sample with a block of all regions as one block.

        Regions are measured at the same time, so what a block of one shares with the next it shares
        with the other regions; and a difference between regions is no noise.
        """
        sample = self.sample(cells, measure)
        sizes = {self.groupings[region].groups for region in _regions(cells)}
        if len(sizes) != 1:
            return sample
        (groups,) = sizes
        return Blocked(sample.values, sample.group % groups, groups, sample.joined)

    def failures(self, cells: tuple[CellRows, ...], metric: str) -> Failures:
        """Return how many of a share's requests counted, second by second of their schedule."""
        parts = [sample_of(self.run.frame, cell.rows, metric) for cell in cells]
        if not parts:
            return Failures.by_second(np.empty(0), np.empty(0, np.int64))
        due_us = self.run.frame["intended_us"].to_numpy()
        return Failures.by_second(
            np.concatenate([part.values for part in parts]).astype(np.float64),
            np.concatenate([due_us[part.rows] for part in parts]) // US_PER_S,
        )

    def weights(self, cells: tuple[CellRows, ...]) -> Weights:
        """Return the weights of the regions of some cells, side by side."""
        parts = []
        for region in _regions(cells):
            if region not in self._weights:
                self._weights[region] = draw_weights(
                    self.groupings[region].groups, self.resamples, self.run.plan.seed, region
                )
            parts.append(self._weights[region])
        return parts[0] if len(parts) == 1 else join_weights(parts)

    def pages_on_links(self, cells: tuple[CellRows, ...]) -> Mapping[str, float]:
        """
        Return each page's share where links counted round trips; nothing where none did.

        Links count all that a deployment's machines do for a region, whatever page it is for.
        """
        counted = sorted({(cell.deployment, cell.region) for cell in cells} & self.run.on_links)
        sizes: Counter[str] = Counter()
        for key in counted:
            sizes.update(self._rows_of_pages(*key))
        return {page: size / sizes.total() for page, size in sizes.items()}

    def _rows_of_pages(self, deployment: str, region: str) -> dict[str, int]:
        if (deployment, region) not in self._page_rows:
            mine = [c.rows for c in self.cells if (c.deployment, c.region) == (deployment, region)]
            pages = rows_by_name(self.run, np.concatenate(mine), page_names(self.run))
            self._page_rows[deployment, region] = {n: rows.size for n, rows in pages.items()}
        return self._page_rows[deployment, region]


def _regions(cells: tuple[CellRows, ...]) -> list[str]:
    return list(dict.fromkeys(cell.region for cell in cells))
