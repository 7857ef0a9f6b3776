"""What belongs to no single cell: whether an arm drifted, and all regions of a rule at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loadtest.analysis.drift import DRIFT_PENALTY, drifts, rank_series
from loadtest.analysis.scores import Series, of_series
from loadtest.gate.evidence import Measurement
from loadtest.gate.questions import Question, SampleSource
from loadtest.plan.thresholds import Measure

_WATCHED = Measure("ttfb", 50.0)


def arm_pair(question: Question) -> tuple[str, str] | None:
    """Return the two arms of a question that compares two, else None."""
    if not question.others or not question.cells:
        return None
    return question.cells[0].deployment, question.others[0].deployment


def drifting_pairs(questions: Sequence[Question], samples: SampleSource) -> set[tuple[str, str]]:
    """
    Return the pairs of arms of which one moved by itself while it was measured.

    Both see the same weather, so what is left of the ranks' difference is an arm's own.
    """
    found: dict[tuple[str, str], dict[str, Series]] = {}
    for question in questions:
        pair = arm_pair(question)
        if pair is None or not question.region:
            continue
        regions = found.setdefault(pair, {})
        place = f"{question.region}/{question.scenario}/{question.name}"
        if place in regions:
            continue
        arm = samples.sample(question.cells, _WATCHED)
        other = samples.sample(question.others, _WATCHED)
        if arm.n and other.n and arm.groups == other.groups:
            regions[place] = rank_series(arm, other)
    return {pair for pair, regions in found.items() if drifts(_alike(list(regions.values())))}


def all_regions_p(found: Sequence[Measurement], *, wide: bool, drifting: bool) -> float:
    """
    Return how likely chance is that all regions of a rule together are as slow as they were.

    Args:
        found: The rule's evidence in each region.
        wide: Allow for drift within an arm.
        drifting: An arm did drift.

    Returns:
        1 where there is nothing to put together.
    """
    series = [one.series for one in found if one.series is not None and not one.lacking]
    alike = _alike(series)
    if len(alike) < 2:
        return 1.0
    mean = np.asarray(np.mean(alike, axis=0))
    floor = math.fsum(one.floor for one in found if one.series is not None) / len(series) ** 2
    p = of_series(mean, floor, wide=wide).p_fail
    return min(1.0, p * DRIFT_PENALTY) if drifting else p


def _alike(series: list[Series]) -> list[Series]:
    """Return the series of the most common length: a region that came late cannot be averaged."""
    lengths = [one.size for one in series]
    if not lengths:
        return []
    common = max(set(lengths), key=lambda length: (lengths.count(length), length))
    return [one for one in series if one.size == common]
