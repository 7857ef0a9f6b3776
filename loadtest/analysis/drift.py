"""
Whether an arm moved by itself while it was measured, which is no weather that both arms had.

Three tests of each block's mean rank within its own arm: neighbours are alike within regions, or
in the mean of all regions, or there is more movement at low frequencies than at high ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.percentiles import LEAST_BLOCKS
from loadtest.analysis.scores import Series, cosine_terms, low_frequency
from loadtest.analysis.special import normal_tail, regularised_beta

DRIFT_P: Final = 0.04
"""An arm is said to drift by itself when one of three tests is as improbable as this."""
DRIFT_PENALTY: Final = 20.0
"""All error rates are divided by it where an arm drifts."""


def rank_series(arm: Blocked, other: Blocked) -> Series:
    """
    Return each block's mean rank of its requests within their own arm, arm minus other.

    Were both arms steady, or moved by the same weather, it would be noise around zero.
    """
    return mean_ranks(arm) - mean_ranks(other)


def mean_ranks(sample: Blocked) -> Series:
    """Return each block's mean rank of its requests among all of the sample, 0 to 1."""
    _, inverse, counts = np.unique(sample.values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = ((ends - counts + 1 + ends) / 2 / max(sample.n, 1))[inverse]
    sums = np.bincount(sample.group, weights=ranks, minlength=sample.groups)
    some = sample.counts > 0
    return np.where(some, sums / np.maximum(sample.counts, 1), 0.5)


def drift_p(series: Sequence[Series]) -> tuple[float, float, float]:
    """
    Return three probabilities of such rank series were neither arm to drift by itself.

    Neighbouring blocks alike within regions, in the mean of all regions, and more movement at low
    frequencies than at high ones.

    Args:
        series: One for each region, of the same number of blocks.
    """
    if not series or series[0].size < LEAST_BLOCKS:
        return 1.0, 1.0, 1.0
    mean = np.asarray(np.mean(series, axis=0))
    within = sum(_lag_one_z(one) for one in series) / math.sqrt(len(series))
    return normal_tail(within), normal_tail(_lag_one_z(mean)), _low_frequency_p(mean)


def drifts(series: Sequence[Series]) -> bool:
    """Tell whether an arm moved by itself while it was measured."""
    return min(drift_p(series)) < DRIFT_P


def arm_drifts(ranks: Series) -> bool:
    """Tell from an arm's mean ranks whether it moved by itself while it was measured."""
    if ranks.size < LEAST_BLOCKS:
        return False
    return min(normal_tail(_lag_one_z(ranks)), _low_frequency_p(ranks - ranks.mean())) < DRIFT_P


def _lag_one_z(series: Series) -> float:
    centred = series - series.mean()
    power = max(float((centred**2).sum()), 1e-300)
    lag = float((centred[1:] * centred[:-1]).sum()) / power
    return (lag * series.size + 1) / math.sqrt(series.size)


def _low_frequency_p(series: Series) -> float:
    blocks, terms = series.size, cosine_terms(series.size)
    low = low_frequency(series, terms)
    total = float(((series - series.mean()) ** 2).sum())
    freedom = blocks - 1 - terms
    rest = max((total - terms * low) / freedom, 1e-300)
    return f_tail(low / rest, terms, freedom)


def f_tail(value: float, upper: float, lower: float) -> float:
    """Return P(F > value) of the F distribution with that many degrees of freedom."""
    return regularised_beta(lower / (lower + upper * value), lower / 2, upper / 2)
