"""
Rare trouble: a pass supposes what a run may have missed.

Trouble that takes whole blocks breaks a percentile by taking as many of them as there are requests
beyond it: one of twenty breaks p95, one of a hundred p99.  Blocks that met none of it, or one, tell
nothing of it, however many requests they hold, so blocks are counted.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

import numpy as np

from loadtest.analysis.scores import Series
from loadtest.analysis.special import binomial_at_most
from loadtest.gate.decide import Levels
from loadtest.gate.evidence import Measurement

_RAREST: Final = 0.01
"""Trouble in a smaller share of blocks is not looked for, whatever the percentile."""


def share_that_breaks(percentile: float) -> float:
    """Return in what share of blocks trouble breaks a percentile, 0 to 100."""
    return max(1 - percentile / 100, _RAREST)


@cache
def blocks_to_pass(percentile: float, alpha: float, troubled: int = 0) -> int:
    """
    Return how many blocks a pass takes.

    Args:
        percentile: 0 to 100.
        alpha: Error rate of all looks.
        troubled: How many of the blocks were in trouble.
    """
    share, want = share_that_breaks(percentile), troubled + 1
    while binomial_at_most(troubled, want, share) > alpha:
        want += 1
    return want


def with_rare_trouble(
    found: Measurement, slow: Series, joined: float, percentile: float, levels: Levels
) -> Measurement:
    """
    Return evidence that passes nothing which blocks in trouble, were they rare, would have broken.

    As few blocks in trouble as were met have to be improbable if so many were that the rule is
    broken.  Later looks contain the earlier ones: the error rate is that of all of them.

    Args:
        found: Evidence that does not know of trouble that was not met.
        slow: Of each group of blocks the share of requests that were slow: a block in which more
            than half were is in trouble.
        joined: How many blocks a group joins.
        percentile: 0 to 100.
        levels: Error rates.
    """
    troubled = int(np.ceil(np.clip(slow, 0.0, 1.0) * joined - 0.5).sum())
    blocks = round(slow.size * joined)
    chance = binomial_at_most(troubled, blocks, share_that_breaks(percentile))
    if chance <= levels.whole or found.p_pass > levels.side:
        return found
    want = blocks_to_pass(percentile, levels.whole, troubled)
    return replace(
        found,
        p_pass=max(found.p_pass, min(1.0, chance * levels.side / levels.whole)),
        unseen=f"{blocks} blocks, {troubled} of them much slower, can hide trouble in one of "
        f"{1 / share_that_breaks(percentile):.3g}: it takes {want} with no more of it to pass.",
        lacking_factor=want / blocks,
    )
