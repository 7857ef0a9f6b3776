"""
Database round trips as the links saw them, for apps that do not report their own.

A link counts how often its client side begins to speak anew: one round trip each.  Opening a
connection is one more.  Divided by the requests that the edges forwarded this is exact to the few
statements that an app sends of its own accord, so one query more on a page cannot hide.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from loadtest.records.world_facts import WorldFacts

UNKNOWN = -1


def round_trips_on_the_wire(world: WorldFacts) -> dict[str, float]:
    """
    Return database round trips per request of each deployment, between the run's two counts.

    Args:
        world: ``apps`` names each deployment's app, ``counters`` holds the links' and edges' counts
            before and after the load.

    Returns:
        Deployment -> round trips per request; without the deployments that served nothing or
        have no database.
    """
    counters = world.counters
    if counters is None:
        return {}
    trips: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for sign, counts in ((1, counters.after), (-1, counters.before)):
        for link in counts.links:
            if link.target_app == world.database:
                trips[link.app] += sign * (link.flights + link.connections)
        for edge in counts.edges:
            asked[edge.app] += sign * edge.requests
    return {
        name: round(trips[app] / asked[app], 3)
        for name, app in (world.apps or {}).items()
        if asked[app] > 0 and app in trips
    }


def with_wire_counts(frame: pd.DataFrame, world: WorldFacts) -> pd.DataFrame:
    """Return records in which deployments that report no round trips have those of the wire."""
    counted = round_trips_on_the_wire(world)
    names = frame["deployment"].cat.categories
    codes = frame["deployment"].cat.codes.to_numpy()
    trips = frame["db_round_trips"].to_numpy()
    silent = {
        code: counted[name]
        for code, name in enumerate(names)
        if name in counted and bool((trips[codes == code] == UNKNOWN).all())
    }
    if not silent:
        return frame
    filled = trips.astype(np.float32)
    for code, value in silent.items():
        filled[codes == code] = value
    return frame.assign(db_round_trips=filled)
