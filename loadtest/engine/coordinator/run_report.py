"""What the coordinator says of a run: progress for the eye, and engine.json for the record."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from loadtest.engine.coordinator.collector import Received
from loadtest.engine.coordinator.conductor import SegmentConductor
from loadtest.engine.coordinator.run_workers import Member
from loadtest.plan.prints import plan_prints
from loadtest.plan.schedule import joined_fingerprint
from loadtest.records.facts import ENGINE_SCHEMA

_PACKAGES = ("loadtest", "locust", "gevent", "pyzmq", "pyarrow", "httptools")

_MOST_FAILURES = 20


def progress(run: SegmentConductor) -> dict[str, Any]:
    """Return the state of a run as ``GET /v1/runs/{id}`` answers it."""
    return {
        "run_id": run.run_id,
        "segment": run.order.segment,
        "state": run.state,
        "elapsed_s": round(min(run.elapsed_s, run.total_s), 2),
        "total_s": round(run.total_s, 2),
        "rows_merged": run.collector.rows_merged,
        "slice": {"number": run.collector.live.slices, "s": round(run.collector.live.slice_s, 3)},
        "cells": run.collector.live.table(),
        "workers": [
            {
                "id": m.entry.name,
                "region": m.entry.region,
                "state": m.state,
                "sent": m.sent,
                "health": m.timeline[-1] if m.timeline else None,
            }
            for m in run.workers.members.values()
        ],
        "failures": _failures(run),
        "error": run.error,
    }


def _failures(run: SegmentConductor) -> list[dict[str, Any]]:
    """Return what failed so far and why, the most frequent first, warm-up included."""
    found = [
        {"region": member.entry.region, **example.to_json()}
        for member in run.workers.members.values()
        for example in member.failures
    ]
    return sorted(found, key=lambda failure: -failure["count"])[:_MOST_FAILURES]


def engine_report(run: SegmentConductor) -> dict[str, Any]:
    """Return the content of engine.json, at any moment of a run."""
    return {
        "schema": ENGINE_SCHEMA,
        "run_id": run.run_id,
        "state": run.state,
        "reason": run.error,
        "epoch_wall_ns": run.epoch_ns,
        "plan": plan_prints(run.order.plan.to_json()),
        "schedule": {
            "fingerprint": joined_fingerprint(run.digests),
            "arrivals": sum(digest.arrivals for digest in run.digests),
        },
        "versions": {**_versions(), "python": platform.python_version()},
        "batches_refused": run.collector.refused,
        "workers": [_worker(run, member) for member in run.workers.members.values()],
        "segments": run.segments,
    }


def _worker(run: SegmentConductor, member: Member) -> dict[str, Any]:
    received = run.collector.received.get(member.entry.name, Received())
    # rows that a lost worker never told of are unknown: what came is then the least it sent
    sent = max(member.sent, received.rows)
    return {
        "id": member.entry.name,
        "region": member.entry.region,
        "state": member.state,
        "rows": {
            "scheduled": member.scheduled,
            "sent": sent,
            "received": received.rows,
            "merged": received.merged,
            "missing": sent - received.merged,
        },
        "clock": member.clock,
        "self_check": member.self_check,
        "health": {**member.health, "duplicates": received.duplicates},
        "failures": [example.to_json() for example in member.failures],
        "versions": member.entry.versions,
        "timeline": member.timeline,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "source"
    return found
