"""How stale the replicas of a run's databases were, as its world probed them under load."""

from __future__ import annotations

from typing import Final

import numpy as np

from loadtest.analysis.findings import Expected, Finding, median_of
from loadtest.analysis.load import Run
from loadtest.analysis.world_time import world_time
from loadtest.units import US_PER_MS

STALE_MS: Final = 2.0
"""By how much a replica may be later than theory says."""
APPLY_MS: Final = 1.0
"""What a replica takes from the arrival of a change until it shows it (measured 0.2 to 1.1 ms)."""


def replica_findings(run: Run) -> tuple[Finding, ...]:
    """
    Return for each replica the median time from a commit on its primary until it is seen there.

    Only probes within the load and not bent by a fault count; one that was not seen in time takes
    for ever.  Empty where the world has no replicas, or cannot tell.
    """
    time = world_time(run)
    if time is None:
        return ()
    order, found = run.plan.regions, []
    known = [replica for replica in time.watch.replicas if replica.to in order]
    for replica in sorted(known, key=lambda r: (r.app, order.index(r.to))):
        way_ms = replica.one_way_ms
        sent = np.array(replica.sent_ms, np.float64)
        seen = np.array(
            [np.inf if t is None else t / US_PER_MS for t in replica.seen_us], np.float64
        )
        kept = seen[time.unbent(replica.from_, replica.to, sent, seen)]
        values = np.minimum(kept * US_PER_MS, np.iinfo(np.int64).max / 2).astype(np.int64)
        why = f"one way {way_ms:g} ms + {APPLY_MS:g} ms"
        found.append(
            Finding(
                *(replica.app, replica.to, "a commit of the world's own, until seen", "ms"),
                *(int(values.size), median_of(values)),
                expected=Expected(way_ms + APPLY_MS, why, STALE_MS),
            )
        )
    return tuple(found)
