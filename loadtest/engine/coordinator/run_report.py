"""What the coordinator says of a run: progress for the eye, and engine.json for the record."""

from __future__ import annotations

from dataclasses import replace

from loadtest.engine.coordinator.collector import Received
from loadtest.engine.coordinator.conductor import SegmentConductor
from loadtest.engine.coordinator.run_workers import Member
from loadtest.plan.prints import plan_prints
from loadtest.plan.schedule import joined_fingerprint
from loadtest.records.facts import (
    ENGINE_SCHEMA,
    EngineFacts,
    RowCounts,
    ScheduleFacts,
    WorkerFacts,
)
from loadtest.records.load_status import FailureStatus, LoadStatus, WorkerStatus
from loadtest.versions import versions_of

_PACKAGES = ("loadtest", "locust", "gevent", "pyzmq", "pyarrow", "httptools")

_MOST_FAILURES = 20


def progress(run: SegmentConductor) -> LoadStatus:
    """Return the state of a run as ``GET /v1/runs/{id}`` answers it."""
    live = run.collector.live
    return LoadStatus(
        run_id=run.run_id,
        segment=run.order.segment,
        state=run.state,
        elapsed_s=round(min(run.elapsed_s, run.total_s), 2),
        total_s=round(run.total_s, 2),
        rows=run.collector.rows_merged,
        slice_number=live.slices,
        slice_s=round(live.slice_s, 3),
        cells=live.table(),
        workers=tuple(map(_worker_status, run.workers.members.values())),
        failures=_failures(run),
        error=run.error,
    )


def _worker_status(member: Member) -> WorkerStatus:
    latest = member.timeline[-1] if member.timeline else None
    return WorkerStatus(member.entry.name, member.entry.region, member.state, member.sent, latest)


def _failures(run: SegmentConductor) -> tuple[FailureStatus, ...]:
    """Return what failed so far and why, the most frequent first, warm-up included."""
    found = [
        FailureStatus(
            region=member.entry.region,
            deployment=example.deployment,
            name=example.name,
            kind=example.kind,
            sentence=example.sentence,
            count=example.count,
        )
        for member in run.workers.members.values()
        for example in member.failures
    ]
    return tuple(sorted(found, key=lambda failure: -failure.count)[:_MOST_FAILURES])


def engine_report(run: SegmentConductor) -> EngineFacts:
    """Return the content of engine.json, at any moment of a run."""
    return EngineFacts(
        schema=ENGINE_SCHEMA,
        run_id=run.run_id,
        state=run.state,
        reason=run.error,
        epoch_wall_ns=run.epoch_ns,
        plan=plan_prints(run.order.plan.to_json()),
        schedule=ScheduleFacts(
            fingerprint=joined_fingerprint(run.digests),
            arrivals=sum(digest.arrivals for digest in run.digests),
        ),
        versions=versions_of(_PACKAGES),
        batches_refused=run.collector.refused,
        workers=tuple(_worker(run, member) for member in run.workers.members.values()),
        segments=tuple(run.segments),
    )


def _worker(run: SegmentConductor, member: Member) -> WorkerFacts:
    received = run.collector.received.get(member.entry.name, Received())
    # rows that a lost worker never told of are unknown: what came is then the least it sent
    sent = max(member.sent, received.rows)
    health = member.health
    return WorkerFacts(
        id=member.entry.name,
        region=member.entry.region,
        state=member.state,
        rows=RowCounts(
            scheduled=member.scheduled,
            sent=sent,
            received=received.rows,
            merged=received.merged,
            missing=sent - received.merged,
        ),
        clock=member.clock,
        self_check=member.self_check,
        health=None if health is None else replace(health, duplicates=received.duplicates),
        failures=member.failures,
        versions=member.entry.versions,
        timeline=tuple(member.timeline),
        moves=member.moves,
        left=member.left,
    )
