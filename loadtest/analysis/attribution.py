"""
Where the time goes: the median TTFB of each cell, taken apart.

Network floor and round trips follow from the plan's round-trip times and what the answers say of
themselves (who served, how many database round trips); database and app time are the medians of
Server-Timing.  Medians do not add up exactly; what is left over stands as ``rest``, so that the
parts always make the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtest.analysis.cells import CellSummary
from loadtest.analysis.hops import (
    DATABASE_CONNECT_TRIPS,
    EDGE_CONNECT_TRIPS,
    rtt_ms,
    usual_share,
)
from loadtest.analysis.load import Run
from loadtest.analysis.summary import Summary

PARTS: Final = ("network", "replay", "database network", "database", "app", "rest")

_REMOTE: Final = 0.8
"""Share of what remote round trips would take at least, for the database to count as remote."""


@dataclass(frozen=True, slots=True)
class Parts:
    """
    One cell's median TTFB in parts, milliseconds.

    Args:
        network_ms: Round trips between the client's edge and the app.
        replay_ms: The way of a request that was replayed in another region.
        database_network_ms: Database round trips times their round-trip time.
        database_ms: Time in the database beyond those.
        app_ms: Time in the app outside the database.
        rest_ms: What the others leave: proxies, queues, and that medians do not add; may be < 0.
        database_round_trips: Mean number that the app reports; None where it does not.
    """

    region: str
    deployment: str
    scenario: str
    ttfb_ms: float
    network_ms: float
    replay_ms: float
    database_network_ms: float
    database_ms: float
    app_ms: float
    rest_ms: float
    app_region: str
    database_round_trips: float | None
    explanation: str

    def parts(self) -> tuple[tuple[str, float], ...]:
        """Return name and milliseconds of each part, in the order of the request's way."""
        values = (
            self.network_ms,
            self.replay_ms,
            self.database_network_ms,
            self.database_ms,
            self.app_ms,
            self.rest_ms,
        )
        return tuple(zip(PARTS, values, strict=True))


@dataclass(frozen=True, slots=True)
class Attribution:
    """The parts of every cell that has a median; cells without one are left out."""

    cells: tuple[Parts, ...]

    def cell(self, region: str, deployment: str) -> Parts | None:
        """Return a cell's parts, the first scenario's; None if there is none."""
        for parts in self.cells:
            if (parts.region, parts.deployment) == (region, deployment):
                return parts
        return None


def attribute(run: Run, summary: Summary) -> Attribution:
    """Return where the time of each cell goes."""
    found = (_attribute_cell(run, cell) for cell in summary.cells)
    return Attribution(tuple(parts for parts in found if parts is not None))


def _attribute_cell(run: Run, cell: CellSummary) -> Parts | None:
    median = cell.ttfb.value(50)
    if median is None:
        return None
    served = {name: n for name, n in cell.served_by.items() if name}
    stands = _place(run, cell)
    app_region = max(served, key=lambda name: (served[name], name)) if served else stands
    way = rtt_ms(run.plan, cell.region, app_region) or 0.0
    replayed = cell.replayed > 0.5
    network = (1 + EDGE_CONNECT_TRIPS * usual_share(_new_share(run, cell))) * way
    replay = 0.0
    if replayed:
        # The edge asks the app nearby, is sent on, and asks the app far away.
        network, replay = run.plan.network.same_region_ms, way
    database = (cell.db.value(50) if cell.db else None) or 0.0
    trips, trip_ms = _database_trips(run, cell, app_region, database)
    database_network = min(trips * trip_ms, database)
    app = (cell.app.value(50) if cell.app else None) or 0.0
    rest = median - network - replay - database - app
    return Parts(
        region=cell.region,
        deployment=cell.deployment,
        scenario=cell.scenario,
        ttfb_ms=median,
        network_ms=network,
        replay_ms=replay,
        database_network_ms=database_network,
        database_ms=database - database_network,
        app_ms=app,
        rest_ms=rest,
        app_region=app_region,
        database_round_trips=cell.db_round_trips,
        explanation=_explain(cell, app_region, way, trips=trips, trip_ms=trip_ms),
    )


def _place(run: Run, cell: CellSummary) -> str:
    """Return where a target that says nothing of it stands: as if there, or where it is asked."""
    try:
        return run.plan.deployment(cell.deployment).at or cell.region
    except KeyError:
        return cell.region


def _new_share(run: Run, cell: CellSummary) -> float:
    try:
        return run.plan.deployment(cell.deployment).new_connection_share
    except KeyError:
        return 0.0


def _database_trips(
    run: Run, cell: CellSummary, app_region: str, database_ms: float
) -> tuple[float, float]:
    """Return how many round trips the database time holds, and how long one takes."""
    local = run.plan.network.same_region_ms
    share = _new_share(run, cell)
    # The app counts those of a new connection among its own, and a mean has its share of them.
    trips = (cell.db_round_trips or 0.0) + (usual_share(share) - share) * DATABASE_CONNECT_TRIPS
    remote = rtt_ms(run.plan, app_region, run.plan.primary_region)
    if not trips or remote is None or app_region == run.plan.primary_region:
        return trips, local
    if database_ms < _REMOTE * trips * remote:
        return trips, local
    return trips, remote


def _explain(
    cell: CellSummary, app_region: str, way: float, *, trips: float, trip_ms: float
) -> str:
    sentence = f"{app_region} answers {cell.region}, {way:g} ms away"
    if cell.replayed > 0.5:
        sentence += " after a replay"
    if trips:
        sentence += f"; {trips:g} database round trips of {trip_ms:g} ms"
    return sentence + "."
