"""Validity checks that hold what workers and world say of themselves against what else is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from loadtest.analysis.cells import codes_of
from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.load import Run
from loadtest.records.facts import FINISHED, HealthFacts, WorkerFacts
from loadtest.records.kinds import ERROR_DROPPED
from loadtest.records.watch import BUCKET, WatchFacts
from loadtest.records.world_facts import EMBEDDED
from loadtest.units import US_PER_MS

_LATEST: Final = 0.25
"""Of a second's 50 looks the p99 is the latest: where three of four seconds had one so late, more
than one look in a hundred was."""
_LATE_SLACK: Final = 0.01
_SHARE_SLACK: Final = 0.01
_LEAST_SLACK: Final = 5
_PER_CONNECTION: Final = 2
"""Round trips on a connection from which on it is not one that is opened for each request."""


def account_checks(run: Run) -> Iterator[ValidityCheck]:
    """Yield a failed check for each account that contradicts another."""
    for worker in run.workers:
        if worker.health is None or worker.state != FINISHED:
            continue
        for contradiction in (*_timeline(worker, worker.health), *_late(run, worker)):
            yield ValidityCheck(
                name="account",
                scope="region",
                observed=None,
                limit=None,
                unit="",
                ok=False,
                why=f"{worker.region}: worker {worker.id} {contradiction}.",
                advice="An account that contradicts itself proves nothing. Measure again.",
                region=worker.region,
                worker=worker.id,
            )
    yield from _paths(run)


def _timeline(worker: WorkerFacts, health: HealthFacts) -> Iterator[str]:
    """Yield where a summary of health is better than the seconds that it sums up."""
    for what, told, p99_us, most_us in (
        (
            "the event loop woke late",
            [moment.loop_lag_p99_us for moment in worker.timeline],
            health.loop_lag_p99_us,
            health.loop_lag_max_us,
        ),
        ("garbage was collected", [moment.gc_pause_us for moment in worker.timeline], None,
         health.gc_pause_total_us),
    ):  # fmt: skip
        highest = max(told, default=0.0)
        if highest > most_us * BUCKET + 1:
            yield (
                f"tells of a second in which {what} by {highest / US_PER_MS:.2f} ms, and of "
                f"{most_us / US_PER_MS:.2f} ms at most"
            )
        usual = float(np.percentile(told, 100 * _LATEST)) if told else 0.0
        if p99_us is not None and usual > p99_us * BUCKET + 1:
            yield (
                f"tells of seconds in most of which {what} by {usual / US_PER_MS:.2f} ms, and of "
                f"{p99_us / US_PER_MS:.2f} ms over all (p99)"
            )
    steal = [moment.steal_share for moment in worker.timeline if moment.steal_share is not None]
    for what, shares, mean, most in (
        ("used of its core", [moment.cpu_share for moment in worker.timeline],
         health.cpu_share_mean, health.cpu_share_max),
        ("lost to the host", steal, health.steal_share_mean or 0.0, health.steal_share_max or 0.0),
    ):  # fmt: skip
        found, highest = (float(np.mean(shares)), max(shares)) if shares else (0.0, 0.0)
        if found > mean + _SHARE_SLACK or highest > most + _SHARE_SLACK:
            yield (
                f"tells of seconds in which it {what} {found:.0%}, {highest:.0%} at most, and of "
                f"{mean:.0%}, {most:.0%} at most, over all"
            )


def _late(run: Run, worker: WorkerFacts) -> Iterator[str]:
    """Yield where a worker says that more arrivals left late than its rows do."""
    codes, words = codes_of(run.frame, "worker")
    if run.plan.load.model == "closed" or worker.health is None or worker.id not in words:
        return
    mine = codes == words.index(worker.id)
    error, kinds = codes_of(run.frame, "error")
    dropped = mine & (error == (kinds.index(ERROR_DROPPED) if ERROR_DROPPED in kinds else -1))
    limit_us = run.plan.validity.late_after_ms * US_PER_MS
    late = mine & (run.frame["queue_us"].to_numpy() > limit_us)
    found = int((late | dropped).sum())
    slack = max(_LEAST_SLACK, _LATE_SLACK * worker.rows.scheduled)
    if worker.health.late > found + slack:
        yield f"says that {worker.health.late} arrivals left late, and its rows say it of {found}"


def _paths(run: Run) -> Iterator[ValidityCheck]:
    """
    Check that connections were looked at where links say that there were some.

    An app that opens a connection for each use has none when nothing is under way.
    """
    watch, counters = run.world.watch, run.world.counters
    if run.world.kind != EMBEDDED or not isinstance(watch, WatchFacts) or counters is None:
        return
    flights = sum(link.flights for link in counters.after.links)
    opened = sum(link.connections for link in counters.after.links)
    pooled = opened > 0 and flights > _PER_CONNECTION * opened
    if watch.paths_after.connections or not pooled:
        return
    yield ValidityCheck(
        name="paths",
        scope="run",
        observed=0.0,
        limit=1.0,
        unit="connections",
        ok=False,
        why=f"after load: no connection was looked at, while links carried {flights} round trips "
        f"on {opened} connections.",
        advice="Nobody knows where they led. Measure again.",
    )
