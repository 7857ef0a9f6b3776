"""Reads engine.json, and refuses an account that contradicts itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from loadtest.errors import RecordsError
from loadtest.frozen import read
from loadtest.records.facts import FINISHED, EngineFacts, WorkerFacts
from loadtest.records.kinds import CLOCK_KERNEL, CLOCK_USER, ERROR_KINDS

NULLABLE: Final = ("steal_share_mean", "steal_share_max", "retransmits", "segments_sent")
"""What a platform may not tell of a worker's health: null then, with a reason."""
LEAST_SELF_CHECKS: Final = 20
"""Answers whose delays are known that a worker's client is tried with, at least."""
_ROWS_A_SEGMENT: Final = 10
"""Requests that go out in one TCP segment, at most: HTTP/2 puts several into one."""


def read_engine(content: object) -> EngineFacts:
    """
    Return what an engine.json tells; one that this version does not know in every key is refused.

    Raises:
        RecordsError: With the path of the first key at fault.
    """
    engine = read(EngineFacts, content, "engine.json")
    names = [worker.id for worker in engine.workers]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise RecordsError(f"engine.json.workers: {twice[0]!r:.80} is there twice")
    if engine.state == "done" and engine.reason:
        raise RecordsError(
            f"engine.json.reason: {engine.reason!r:.80}, of a run that was done: the account "
            "contradicts itself"
        )
    for number, worker in enumerate(engine.workers):
        found = itertools.chain(
            _unknown(worker), _contradictions(worker) if worker.state == FINISHED else ()
        )
        if fault := next(found, ""):
            raise RecordsError(
                f"engine.json.workers[{number}].{fault}: the account contradicts itself"
            )
    return engine


def _unknown(worker: WorkerFacts) -> Iterator[str]:
    """Yield the keys that hold a word which no worker says, or moments out of order."""
    check = worker.self_check
    if check is not None and check.clock not in (CLOCK_KERNEL, CLOCK_USER):
        yield f"self_check.clock: {check.clock!r:.40} is no clock"
    for failure in worker.failures:
        if failure.kind not in ERROR_KINDS[1:]:
            yield f"failures: {failure.kind!r:.40} is no kind of failure"
    moments = [float(moment.t_s) for moment in worker.timeline]
    if not _ascends(moments):
        yield "timeline: runs backwards or stands still"


def _ascends(values: Sequence[float]) -> bool:
    return all(first < second for first, second in itertools.pairwise(values))


def _contradictions(worker: WorkerFacts) -> Iterator[str]:
    """Yield the keys of one finished worker that are not told, or cannot all be true."""
    health, check, clock = worker.health, worker.self_check, worker.clock
    if health is None or check is None or clock is None:
        yield "health, self_check, clock: missing, of a worker that finished"
        return
    for name, *ascending in (
        ("health.loop_lag", health.loop_lag_p50_us, health.loop_lag_p99_us, health.loop_lag_max_us),
        ("health.lateness", health.lateness_p50_us, health.lateness_p99_us),
        ("health.cpu_share", health.cpu_share_mean, health.cpu_share_max),
        ("health.steal_share", health.steal_share_mean or 0, health.steal_share_max or 0),
        ("health.gc_pause", health.gc_pause_max_us, health.gc_pause_total_us),
        ("self_check.bias", check.bias_p50_us, check.bias_p99_us),
    ):
        if ascending != sorted(ascending):
            yield f"{name}: {' > '.join(f'{value:g}' for value in ascending)}"
    if (health.steal_share_max or 0) > 1:
        yield f"health.steal_share_max: {health.steal_share_max:g}, of a share of all cores"
    for first, second in (
        ("steal_share_mean", "steal_share_max"),
        ("retransmits", "segments_sent"),
    ):
        if (getattr(health, first) is None) != (getattr(health, second) is None):
            yield f"health.{first}: told without {second}, or {second} without it"
    for key in NULLABLE:
        if (getattr(health, key) is None) == (not health.untold.get(key)):
            yield f"health.{key}: is null without a reason in health.untold, or has both"
    for name, value, least in (
        ("self_check.n", check.n, LEAST_SELF_CHECKS),
        ("clock.exchanges", clock.exchanges, 1),
        ("timeline", len(worker.timeline), 1),
    ):
        if value < least:
            yield f"{name}: {value or 'nothing'}, of a worker that finished"
    least_segments = (worker.rows.sent - health.dropped) / _ROWS_A_SEGMENT
    if health.segments_sent is not None and health.segments_sent < least_segments:
        yield f"health.segments_sent: {health.segments_sent} for {worker.rows.sent} rows"
