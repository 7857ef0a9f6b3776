"""
What the published tables say of themselves, without any source of round-trip times.

``multi`` crosses the distance twice a page and ``single`` once, so each predicts the other over the
replica's value: single = (replica + multi) / 2.  Where that does not hold, no distance explains
both, and a mixture is asked: a share of requests finds no open connection, the same share at the
edge and at the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from loadtest.analysis.hops import model_hops
from loadtest.analysis.reproduction import published_ms

_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True)
class SelfPrediction:
    """A region whose published multi predicts its published single; milliseconds."""

    region: str
    replica_ms: float
    multi_ms: float
    single_ms: float

    @property
    def predicted_ms(self) -> float:
        """What single has to be."""
        return (self.replica_ms + self.multi_ms) / 2

    @property
    def off_share(self) -> float:
        """By how much the prediction is off, as a share of what was published."""
        return self.predicted_ms / self.single_ms - 1


@dataclass(frozen=True, slots=True)
class Mixture:
    """
    One share of requests without an open connection that comes nearest to both cells of a region.

    The milliseconds are means: a median shows one of the two modes, whichever has more requests.
    """

    region: str
    share: float
    rtt_ms: float
    single_ms: float
    multi_ms: float
    single_off_share: float
    multi_off_share: float


def self_predictions(home: str) -> tuple[SelfPrediction, ...]:
    """Return what the tables predict of themselves in every region but the primary one."""
    table = published_ms()
    regions = dict.fromkeys(region for _, region in table)
    kinds = ("replica", "multi", "single")
    return tuple(
        SelfPrediction(region, *(table[kind, region] for kind in kinds))
        for region in regions
        if region != home and all((kind, region) in table for kind in kinds)
    )


def mixture(region: str, rtt_ms: float) -> Mixture | None:
    """
    Return the share of new connections that explains a region's published cells best.

    Args:
        region: Region code.
        rtt_ms: Round trip to the primary region.

    Returns:
        None where the tables do not have the region.
    """
    table = published_ms()
    if any((kind, region) not in table for kind in ("replica", "single", "multi")):
        return None
    tried = (_mixed(region, rtt_ms, step / _STEPS, table) for step in range(_STEPS + 1))
    return min(tried, key=lambda one: max(abs(one.single_off_share), abs(one.multi_off_share)))


def _mixed(
    region: str, rtt_ms: float, share: float, table: Mapping[tuple[str, str], float]
) -> Mixture:
    single, multi = (
        table["replica", region] + rtt_ms * (model_hops(kind, share) or 0.0)
        for kind in ("single", "multi")
    )
    return Mixture(
        region=region,
        share=share,
        rtt_ms=rtt_ms,
        single_ms=single,
        multi_ms=multi,
        single_off_share=single / table["single", region] - 1,
        multi_off_share=multi / table["multi", region] - 1,
    )
