"""Validity checks that read what the workers said of themselves in engine.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtest.analysis.cells import codes_of
from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.load import Run
from loadtest.records.facts import FINISHED
from loadtest.records.kinds import ERROR_DROPPED
from loadtest.units import US_PER_MS


@dataclass(frozen=True, slots=True)
class _Gauge:
    """One number of a worker's health with its limit; ``per`` divides it into ``unit``."""

    name: str
    section: str
    key: str
    per: float
    unit: str
    limit: float
    what: str
    advice: str


def worker_checks(run: Run) -> Iterator[ValidityCheck]:
    """Yield lost workers, reconciliation and health of every worker."""
    workers: list[dict[str, Any]] = list(run.engine.get("workers") or ())
    codes, words = codes_of(run.frame, "worker")
    totals = np.bincount(codes, minlength=len(words)).tolist()
    counted = dict(zip(words, totals, strict=True))
    error, kinds = codes_of(run.frame, "error")
    lost = codes[error == kinds.index(ERROR_DROPPED)] if ERROR_DROPPED in kinds else codes[:0]
    dropped = dict(zip(words, np.bincount(lost, minlength=len(words)).tolist(), strict=True))
    yield from _present(run, workers)
    for worker in workers:
        yield _alive(worker)
        yield _reconciled(worker, counted.get(str(worker["id"]), 0))
        yield from _dropped(worker, dropped.get(str(worker["id"]), 0))
        for gauge in _gauges(run, worker):
            yield _read(worker, gauge)
        yield _retransmits(run, worker)


def _present(run: Run, workers: list[dict[str, Any]]) -> Iterator[ValidityCheck]:
    """Check that every region has the workers that the plan gives it."""
    if not run.engine:
        return
    planned = run.plan.generator.workers_per_region
    for region in run.plan.regions:
        if not run.plan.arms_in(region):
            continue
        found = sum(worker["region"] == region for worker in workers)
        if found < planned:
            yield ValidityCheck(
                name="worker",
                scope="region",
                observed=float(found),
                limit=float(planned),
                unit="",
                ok=False,
                why=f"{region}: {found} of {planned} workers left an account of themselves.",
                advice="What no worker tells cannot be trusted. Measure again.",
                region=region,
            )


def _gauges(run: Run, worker: dict[str, Any]) -> tuple[_Gauge, ...]:
    """
    The limits are the plan's; each says what exceeding it would do to the numbers.

    A late event loop is in every time that user space stamps, but not in one of the kernel's.
    """
    limits = run.plan.validity
    kernel = (worker.get("self_check") or {}).get("clock") == "kernel"
    lag_ms = limits.loop_lag_p99_ms if kernel else limits.loop_lag_user_clock_p99_ms
    busy = "Lower load.rate, add workers, or give the machine less other work."
    return (
        _Gauge("loop lag", "health", "loop_lag_p99_us", US_PER_MS, "ms", lag_ms,
               "the event loop woke late by (p99)", busy),
        _Gauge("cpu", "health", "cpu_share_mean", 1, "share", limits.cpu_share,
               "the worker used of its core (mean)", busy),
        _Gauge("steal", "health", "steal_share_mean", 1, "share", limits.steal_share,
               "the host took from this machine (mean steal)",
               "Use a machine with its own cores."),
        _Gauge("gc", "health", "gc_pause_max_us", US_PER_MS, "ms", limits.gc_pause_ms,
               "the longest garbage collection took",
               "Keep less in memory in the scenario."),
        _Gauge("clock uncertainty", "clock", "uncertainty_us", US_PER_MS, "ms",
               limits.clock_uncertainty_ms,
               "the offset to the coordinator's clock is known to",
               "Intended starts of this region are that uncertain: check the link."),
        _Gauge("self-check", "self_check", "bias_p99_us", US_PER_MS, "ms",
               run.plan.generator.self_check_bias_ms,
               "the client read a known delay wrong by (p99)", busy),
    )  # fmt: skip


def _read(worker: dict[str, Any], gauge: _Gauge) -> ValidityCheck:
    section = worker.get(gauge.section) or {}
    raw = section.get(gauge.key)
    observed = None if raw is None else float(raw) / gauge.per
    # What a platform cannot tell is said, not held against the run.
    ok = observed is None or abs(observed) <= gauge.limit
    if observed is None:
        found = "not measured here"
    elif gauge.unit == "share":
        found = f"{observed:.1%} (limit {gauge.limit:.0%})"
    else:
        found = f"{observed:.2f} {gauge.unit} (limit {gauge.limit:g} {gauge.unit})"
    return ValidityCheck(
        name=gauge.name,
        scope="region",
        observed=observed,
        limit=gauge.limit,
        unit=gauge.unit,
        ok=ok,
        why=f"{worker['region']}, worker {worker['id']}: {gauge.what}: {found}.",
        advice="" if ok else gauge.advice,
        region=worker["region"],
        worker=worker["id"],
    )


def _alive(worker: dict[str, Any]) -> ValidityCheck:
    state = str(worker.get("state", ""))
    ok = state == FINISHED
    return ValidityCheck(
        name="worker",
        scope="region",
        observed=float(ok),
        limit=1,
        unit="",
        ok=ok,
        why=f"{worker['region']}: worker {worker['id']} {state or 'left no word'}.",
        advice=""
        if ok
        else "Its share of the load is missing, so the region was not loaded as planned.",
        region=worker["region"],
        worker=worker["id"],
    )


def _reconciled(worker: dict[str, Any], recorded: int) -> ValidityCheck:
    rows = worker.get("rows") or {}
    sent, received, merged = (int(rows.get(key, 0)) for key in ("sent", "received", "merged"))
    missing = int(rows.get("missing", 0))
    ok = sent == received == merged == recorded and missing == 0
    return ValidityCheck(
        name="reconciliation",
        scope="region",
        observed=max(missing, sent - recorded, abs(merged - recorded)),
        limit=0,
        unit="rows",
        ok=ok,
        why=(
            f"{worker['region']}, worker {worker['id']}: {sent} rows sent, {received} received, "
            f"{merged} merged, {recorded} stored"
            + ("." if ok else f"; {missing} are known to be missing.")
        ),
        advice="" if ok else "Samples were lost on the way, and lost samples are not random.",
        region=worker["region"],
        worker=worker["id"],
    )


def _dropped(worker: dict[str, Any], recorded: int) -> Iterator[ValidityCheck]:
    """Yield a failed check where a worker dropped more or fewer arrivals than it has rows of."""
    told = (worker.get("health") or {}).get("dropped")
    if told is None or told == recorded or worker.get("state") != FINISHED:
        return
    yield ValidityCheck(
        name="reconciliation",
        scope="region",
        observed=abs(told - recorded),
        limit=0,
        unit="rows",
        ok=False,
        why=f"{worker['region']}, worker {worker['id']}: says that it dropped {told} arrivals, "
        f"and {recorded} are stored.",
        advice="The account is not that of these records. Measure again.",
        region=worker["region"],
        worker=worker["id"],
    )


def _retransmits(run: Run, worker: dict[str, Any]) -> ValidityCheck:
    health = worker.get("health") or {}
    segments, again = health.get("segments_sent"), health.get("retransmits")
    share = None if again is None or not segments else float(again) / float(segments)
    limit = run.plan.validity.retransmit_share
    ok = share is None or share <= limit
    found = "not measured here" if share is None else f"{share:.2%} (limit {limit:.2%})"
    return ValidityCheck(
        name="retransmits",
        scope="region",
        observed=share,
        limit=limit,
        unit="share",
        ok=ok,
        why=f"{worker['region']}, worker {worker['id']}: TCP segments sent again: {found}.",
        advice=""
        if ok
        else "Packets were lost between worker and edge: the tail is the network's.",
        region=worker["region"],
        worker=worker["id"],
    )
