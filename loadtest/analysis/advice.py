"""
Where an app should stand: TTFB predicted for other primary regions and other sets of regions.

A run measures in every region what a page takes beside distance, and how often it crosses the
network to a database far away.  With the round-trip times that is enough:

    p50 = own time + RTT(visitor, nearest machine) + queries far away x RTT(that machine, primary)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from loadtest.analysis.attribution import Parts, attribute
from loadtest.analysis.load import Run
from loadtest.analysis.summary import Summary
from loadtest.errors import PlanError
from loadtest.plan.model import Plan

MOST_SETS: Final = 20_000
"""Sets of regions that are looked at; beyond, only small ones are."""
_REMOTE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Design:
    """
    What was learnt of one deployment's pages of one scenario.

    Args:
        deployment: Its name.
        scenario: The scenario.
        own_ms: Median TTFB by client region without any distance.
        far_trips: Round trips to the primary's database that a page pays in another region.
        reads_nearby: Its pages were answered in another region, without a way to the primary.
    """

    deployment: str
    scenario: str
    own_ms: Mapping[str, float]
    far_trips: float
    reads_nearby: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """
    A way to place one deployment, and what visitors would feel.

    Args:
        design: What is placed.
        primary: Region of the primary database; it has a machine, too.
        regions: Regions with machines, the primary among them.
        p50_ms: Predicted median TTFB by visitors' region.
        mean_ms: The same, weighted by the visitors' shares.
    """

    design: Design
    primary: str
    regions: tuple[str, ...]
    p50_ms: Mapping[str, float]
    mean_ms: float

    def keeps(self, limit_ms: float) -> bool:
        """Tell whether every visitors' region stays under a limit."""
        return max(self.p50_ms.values()) < limit_ms


def learn(run: Run, summary: Summary) -> tuple[Design, ...]:
    """Return what can be learnt of every deployment and scenario with valid medians."""
    valid = {cell.key for cell in summary.cells if cell.valid}
    groups: dict[tuple[str, str], list[Parts]] = {}
    for parts in attribute(run, summary).cells:
        if (parts.region, parts.deployment, parts.scenario) in valid:
            groups.setdefault((parts.deployment, parts.scenario), []).append(parts)
    return tuple(_design(run.plan, *key, cells) for key, cells in groups.items())


def _design(plan: Plan, deployment: str, scenario: str, cells: list[Parts]) -> Design:
    abroad = [c for c in cells if c.app_region != plan.primary_region]
    far = {c.region: _far_trips(plan, c) for c in abroad}
    if abroad:
        trips = sum(far.values()) / len(far)
    else:  # the app stands beside the database: elsewhere, each of its queries would travel
        trips = max((c.database_round_trips or 0.0 for c in cells), default=0.0)
    own = {
        c.region: c.ttfb_ms
        - c.network_ms
        - c.replay_ms
        - (c.database_network_ms if far.get(c.region) else 0.0)
        for c in cells
    }
    return Design(deployment, scenario, own, trips, reads_nearby=bool(abroad) and not trips)


def _far_trips(plan: Plan, parts: Parts) -> float:
    trips = parts.database_round_trips or 0.0
    way = plan.rtt_between_ms(parts.app_region, plan.primary_region)
    return trips if trips and parts.database_network_ms >= _REMOTE * trips * way else 0.0


def predict(
    plan: Plan, design: Design, primary: str, regions: tuple[str, ...], shares: Mapping[str, float]
) -> Proposal:
    """
    Return what visitors would feel.

    Args:
        plan: For its round-trip times.
        design: What is placed.
        primary: Region of the primary database.
        regions: Regions with machines, ``primary`` among them.
        shares: Visitors by region; they add up to 1.
    """
    found = {}
    for visitor in shares:
        nearest = min(regions, key=lambda code: (plan.rtt_between_ms(visitor, code), code))
        value = design.own_ms[visitor] + plan.rtt_between_ms(visitor, nearest)
        if nearest != primary:
            value += design.far_trips * plan.rtt_between_ms(nearest, primary)
        found[visitor] = value
    mean = sum(share * found[visitor] for visitor, share in shares.items())
    return Proposal(design, primary, regions, found, mean)


def advise(
    plan: Plan, designs: tuple[Design, ...], shares: Mapping[str, float], limit_ms: float
) -> tuple[Proposal, ...]:
    """
    Return for every design the smallest set of regions that keeps everybody under a limit.

    The best design comes first.  Where no set keeps the limit, it is the one with the lowest mean;
    among equals the lowest mean decides.

    Args:
        plan: The plan that was measured; machines may stand in its regions.
        designs: What was learnt.
        shares: Visitors by region; they add up to 1.
        limit_ms: Median TTFB to stay under, milliseconds.

    Raises:
        PlanError: Visitors are named whose region was not measured in any design.
    """
    able = [d for d in designs if all(region in d.own_ms for region in shares)]
    if not able:
        measured = sorted({region for design in designs for region in design.own_ms})
        missing = [region for region in shares if region not in measured]
        raise PlanError(
            f"--visitors: {', '.join(missing or shares)} was not measured by one deployment with a "
            f"valid median; the run has {', '.join(measured) or 'none'}"
        )
    found = (_best(plan, design, shares, limit_ms) for design in able)
    return tuple(sorted(found, key=lambda proposal: _rank(proposal, limit_ms)))


def _best(plan: Plan, design: Design, shares: Mapping[str, float], limit_ms: float) -> Proposal:
    best: Proposal | None = None
    for regions in _sets(plan.regions):
        if best is not None and best.keeps(limit_ms) and len(regions) > len(best.regions):
            break
        for primary in regions:
            proposal = predict(plan, design, primary, regions, shares)
            if best is None or _rank(proposal, limit_ms) < _rank(best, limit_ms):
                best = proposal
    assert best is not None, "a plan has a region"
    return best


def _rank(proposal: Proposal, limit_ms: float) -> tuple[bool, int, float]:
    """Order proposals: who keeps the limit first, of those the smaller, then the quicker."""
    keeps = proposal.keeps(limit_ms)
    return (not keeps, len(proposal.regions) if keeps else 0, proposal.mean_ms)


def _sets(regions: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield sets of regions, small ones first."""
    looked = 0
    for size in range(1, len(regions) + 1):
        for found in combinations(regions, size):
            yield found
            looked += 1
            if looked >= MOST_SETS:
                return
