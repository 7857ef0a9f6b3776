"""
Rare trouble: a pass supposes what a run may have missed.

Trouble that takes whole blocks breaks a percentile as soon as it takes what the usual requests
leave of the share that may lie beyond it: p95 where it takes one of twenty blocks, and one of 33
where 2 % of the usual requests lie beyond already.  Blocks that met none of it, or one, tell
nothing of it, however many requests they hold, so blocks are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from loadtest.analysis.blocks import Blocked
from loadtest.analysis.scores import Series
from loadtest.analysis.special import binomial_at_most
from loadtest.gate.decide import Levels
from loadtest.gate.evidence import Measurement

_RAREST: Final = 0.01
"""Trouble in a smaller share of blocks is not looked for, whatever the percentile."""
_SUPPOSED_FULL: Final = 3
"""So many blocks in trouble are supposed to be slow throughout, beside those that were met."""
_BY_CHANCE: Final = 2
"""One or two requests beyond tell of no rate: a standard error is taken off, up to so many."""
_TOLD: Final = 0.001
_TIMES_SLOWER: Final = 4.0
"""A mean is broken by the less trouble the worse it is: this bad it is supposed to be."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    What the blocks of a sample tell of trouble.

    Args:
        blocks: How many there are.
        troubled: How many of them are in trouble.
        usual: Share of the requests of the others that lie beyond what is allowed, by an estimate
            that is rather too low.
        fill: The same of those in trouble; all of them until some were met.
    """

    blocks: int
    troubled: int = 0
    usual: float = 0.0
    fill: float = 1.0


def trouble_met(beyond: Series, expected: Series, counts: Series, joined: float) -> Trouble:
    """
    Return which blocks are in trouble: those of which most that is not slow usually is slow.

    Args:
        beyond: Of each group of blocks the share of requests beyond what is allowed.
        expected: The share of each that other requests of the same moments explain.
        counts: How many requests each group has; one without any tells nothing.
        joined: How many blocks a group joins.
    """
    some = counts > 0
    beyond, counts = beyond[some], counts[some]
    slow = beyond - expected[some]
    usually = min(max(float(np.median(slow)), 0.0), 0.99)
    excess = np.clip((slow - usually) / (1 - usually), 0.0, 1.0)
    in_trouble = np.ceil(excess * joined - 0.5)
    calm, troubled = in_trouble == 0, int(in_trouble.sum())
    usual = float(beyond[calm].mean()) if calm.any() else usually
    full = float(beyond[~calm].sum()) * joined - ((~calm).sum() * joined - troubled) * usual
    fill = (min(max(full, 0.0), troubled) + _SUPPOSED_FULL) / (troubled + _SUPPOSED_FULL)
    requests = max(float(counts[calm].sum()), 1.0)
    usual -= min(math.sqrt(usual * requests), _BY_CHANCE) / requests
    return Trouble(round(beyond.size * joined), troubled, usual, fill)


def share_that_breaks(percentile: float, met: Trouble | None = None) -> float:
    """
    Return in what share of blocks trouble breaks a percentile.

    Args:
        percentile: 0 to 100.
        met: What is known of the sample; None stands for no usual request beyond what is allowed.
    """
    left = 1 - percentile / 100
    if met is not None:
        left = (left - met.usual) / max(met.fill - met.usual, 1e-9)
    return min(max(left, _RAREST), 1.0)


def share_that_breaks_mean(room: float, worse: float = _TIMES_SLOWER - 1) -> float:
    """
    Return in what share of blocks trouble breaks a mean.

    Args:
        room: By how much the mean may grow, as a share of it.
        worse: By how much it grows where there is trouble.
    """
    return min(max(room / worse, _RAREST), 1.0)


def blocks_to_pass(share: float, alpha: float, troubled: int = 0) -> int:
    """
    Return how many blocks a pass takes.

    Args:
        share: In what share of blocks trouble breaks the percentile.
        alpha: Error rate.
        troubled: How many of the blocks were in trouble.
    """
    want = troubled + 1
    while binomial_at_most(troubled, want, share) > alpha:
        want += 1
    return want


def with_rare_trouble(
    found: Measurement, met: Trouble, share: float, levels: Levels
) -> Measurement:
    """
    Return evidence that passes nothing which blocks in trouble, were they rare, would have broken.

    As few blocks in trouble as were met have to be improbable if so many were that the rule is
    broken.  Where none was, later looks contain the earlier ones, and the error rate is that of all
    of them; where some were, each look spends its own, since a later one may pass what an earlier
    one did not.

    Args:
        found: Evidence that does not know of trouble that was not met.
        met: What blocks tell of it.
        share: In what share of blocks trouble breaks the rule.
        levels: Error rates.
    """
    alpha = levels.side if met.troubled else levels.whole
    chance = binomial_at_most(met.troubled, met.blocks, share)
    if chance <= alpha or found.p_pass > levels.side:
        return found
    want = blocks_to_pass(share, alpha, met.troubled)
    already = f" ({met.usual:.2g} of the usual requests are beyond already)"
    return replace(
        found,
        p_pass=max(found.p_pass, min(1.0, chance * levels.side / alpha)),
        unseen=f"{met.blocks} blocks, {met.troubled} of them much slower, can hide trouble in one "
        f"of {1 / share:.3g}{already if met.usual >= _TOLD else ''}: it takes "
        f"{want} with no more of it to pass.",
        lacking_factor=want / met.blocks,
    )


def beyond_limit(sample: Blocked, limit: float) -> Trouble:
    """Return what a sample's blocks tell of trouble beyond a limit."""
    beyond = sample.shares_beyond(limit)
    return trouble_met(beyond, np.zeros_like(beyond), sample.counts, sample.joined)


def beyond_allowed(arm: Blocked, allowed: Blocked, percentile: float, joined: float) -> Trouble:
    """
    Return what an arm's blocks tell of trouble beyond a percentile of what is allowed.

    What is as slow in both arms at the same moment is no trouble of the one.
    """
    limit = allowed.point(percentile)
    own, explained = arm.shares_beyond(limit), allowed.shares_beyond(limit)
    return trouble_met(own, explained, arm.counts, joined)


def mean_with_rare_trouble(
    found: Measurement, arm: Blocked, base: Blocked | None, levels: Levels
) -> Measurement:
    """
    Return evidence on a mean that passes nothing which rare blocks, much slower, would have broken.

    Args:
        found: Evidence, with its excess in the unit of the arm.
        arm: The judged arm.
        base: The other, whose blocks explain those that are slow in both; None where there is none.
        levels: Error rates.
    """
    own = _times_slower(arm)
    explained = np.zeros_like(own)
    if base is not None and base.groups == arm.groups:
        explained = _times_slower(base)
    worse = np.clip((own - explained) / (_TIMES_SLOWER - 1), 0.0, 1.0)
    met = replace(trouble_met(worse, np.zeros_like(worse), arm.counts, arm.joined), usual=0.0)
    level = float(np.median(_group_means(arm)[arm.counts > 0]))
    # What trouble was met is in the excess: what may be missed is counted from where it was not.
    slow = np.where(worse * arm.joined > 0.5, own, 0.0)
    room = float(slow.sum()) / max(int((arm.counts > 0).sum()), 1) - found.excess / level
    worst = max(_TIMES_SLOWER - 1, float(slow.max(initial=0.0)) * arm.joined)
    return with_rare_trouble(found, met, share_that_breaks_mean(room, worst), levels)


def _times_slower(sample: Blocked) -> Series:
    """Return by how many times the usual mean each group's is larger; 0 of an empty one."""
    means, some = _group_means(sample), sample.counts > 0
    usual = max(float(np.median(means[some])), 1e-9)
    return np.where(some, np.maximum(means / usual - 1, 0.0), 0.0)


def _group_means(sample: Blocked) -> Series:
    return np.asarray(sample.sums / np.maximum(sample.counts, 1), dtype=np.float64)
