"""
Database round trips as the links saw them, for apps that do not report their own.

A link counts how often its client side begins to speak anew: one round trip each.  Opening a
connection is one more.  Divided by the requests that the edges forwarded this is exact to the few
statements that an app sends of its own accord, so one query more on a page cannot hide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

UNKNOWN = -1


def round_trips_on_the_wire(world: Mapping[str, Any]) -> dict[str, float]:
    """
    Return database round trips per request of each deployment, between the run's two counts.

    Args:
        world: Content of world.json: ``apps`` names each deployment's app, ``counters`` holds the
            links' and edges' counts before and after the load.

    Returns:
        Deployment -> round trips per request; without the deployments that served nothing or
        have no database.
    """
    counters, apps = world.get("counters") or {}, world.get("apps") or {}
    if not counters.get("before") or not counters.get("after"):
        return {}
    database = world.get("database")
    trips = _since(counters, "links", lambda link: _trips(link, database))
    asked = _since(counters, "edges", lambda edge: int(edge["requests"]))
    return {
        name: round(trips[app] / asked[app], 3)
        for name, app in apps.items()
        if asked[app] > 0 and app in trips
    }


def with_wire_counts(frame: pd.DataFrame, world: Mapping[str, Any]) -> pd.DataFrame:
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


def _since(counters: Mapping[str, Any], what: str, count: Any) -> Counter[str]:
    """Return by app how much was counted between before and after."""
    total: Counter[str] = Counter()
    for sign, when in ((1, "after"), (-1, "before")):
        for row in counters[when][what]:
            if (value := count(row)) is not None:
                total[row["app"]] += sign * value
    return total


def _trips(link: Mapping[str, Any], database: str | None) -> int | None:
    if link["target_app"] != database:
        return None
    return int(link["flights"]) + int(link["connections"])
