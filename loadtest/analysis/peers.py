"""Caches that take each other's writes: how late they are, how alike, and what they lose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows
from loadtest.analysis.findings import Expected, Finding, median_of, share_of
from loadtest.analysis.hops import rtt_ms
from loadtest.analysis.load import Run
from loadtest.analysis.metrics import sample_of
from loadtest.units import US_PER_MS

Rows = NDArray[np.int32]

MIRROR_MS: Final = 3.0
"""What two mirrors, two caches and the page that looks take beside the way between them."""
_LATE_MS: Final = 3.0
_SEEN = re.compile(r"/seen \[(?P<peer>[a-z]{2,4}): seen\]$")
_TOLD = re.compile(r"\[(?P<what>[^:\]]+): (?P<outcome>[^\]]+)\]$")
_GOOD: Final = frozenset({"converged", "counted 2 of 2", "whole"})
_LEFT_OUT: Final = frozenset({"cut off", "lost"})
"""Who cannot ask the other region sees nothing; a write that is not seen is the tally's to tell."""
_WORDS: Final = {"set at once": "both end alike", "tally": "nothing of the other's is missing"}


def peer_lags(run: Run, cell: CellRows, pages: Iterable[tuple[str, Rows]]) -> Iterator[Finding]:
    """
    Yield how long after it was made in another region's cache a write is seen in the own one.

    The page makes it there and looks here: it has taken half a round trip until the write is made.
    """
    for name, rows in pages:
        match = _SEEN.search(name)
        rtt = None if match is None else rtt_ms(run.plan, cell.region, match["peer"])
        if match is None or rtt is None:
            continue
        values = sample_of(run.frame, rows, "ttfb").values.astype(np.int64)
        found = median_of(values - round(rtt / 2 * US_PER_MS))
        expected = Expected(
            rtt / 2 + MIRROR_MS, f"one way {rtt / 2:g} ms + {MIRROR_MS:g} ms", _LATE_MS
        )
        yield Finding(
            *(cell.deployment, cell.region, f"from a write in {match['peer']} to sight", "ms"),
            *(int(values.size), found, expected),
        )


def peer_outcomes(cell: CellRows, pages: Iterable[tuple[str, Rows]]) -> Iterator[Finding]:
    """Yield the share of good outcomes of each kind of page; who was cut off saw none."""
    counts: dict[str, list[int]] = {}
    for name, rows in pages:
        match = _TOLD.search(name)
        if match is None or match["outcome"] in _LEFT_OUT or _SEEN.search(name):
            continue
        total = counts.setdefault(match["what"], [0, 0])
        total[0] += int(rows.size) if match["outcome"] in _GOOD else 0
        total[1] += int(rows.size)
    for what, (good, n) in sorted(counts.items()):
        told = f"{what}: {_WORDS.get(what, 'both are counted')}"
        yield Finding(cell.deployment, cell.region, told, "share", n, share_of(good, n))
