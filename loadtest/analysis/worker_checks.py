"""Validity checks that read what the workers said of themselves in engine.json."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import codes_of
from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.load import Run
from loadtest.records.facts import FINISHED, WorkerFacts
from loadtest.records.kinds import CLOCK_KERNEL, CLOCK_USER, ERROR_CHECK, ERROR_DROPPED
from loadtest.units import MS_PER_S, US_PER_MS

LONGEST_SILENCE_S = 5.0
"""A worker tells of itself every second; a longer silence is a worker that stood still."""


_FEW_BY_PROGRAM: Final = 0.01
"""Share of first bytes without a stamp of the kernel's that no p99 shows."""


@dataclass(frozen=True, slots=True)
class _Gauge:
    """
    One number of a worker's health with its limit, in ``unit``.

    None is what its platform cannot tell, for the reason in ``untold``.
    """

    name: str
    observed: float | None
    unit: str
    limit: float
    what: str
    advice: str
    untold: str = ""


def worker_checks(run: Run) -> Iterator[ValidityCheck]:
    """Yield lost workers, reconciliation and health of every worker."""
    workers = run.workers
    codes, words = codes_of(run.frame, "worker")
    totals = np.bincount(codes, minlength=len(words)).tolist()
    counted = dict(zip(words, totals, strict=True))
    error, kinds = codes_of(run.frame, "error")
    lost = codes[error == kinds.index(ERROR_DROPPED)] if ERROR_DROPPED in kinds else codes[:0]
    dropped = dict(zip(words, np.bincount(lost, minlength=len(words)).tolist(), strict=True))
    yield from _present(run, workers)
    yield from _refused(run)
    for worker in workers:
        yield from _kept_telling(run, worker)
        yield from _told_too_much(run, worker)
        yield _alive(worker)
        yield _reconciled(worker, counted.get(worker.id, 0))
        yield from _dropped(worker, dropped.get(worker.id, 0))
        for gauge in _gauges(run, worker):
            yield _read(worker, gauge)
        yield _retransmits(run, worker)


def _present(run: Run, workers: Sequence[WorkerFacts]) -> Iterator[ValidityCheck]:
    """Check that every region has the workers that the plan gives it."""
    if run.engine is None:
        return
    planned = run.plan.generator.workers_per_region
    for region in run.plan.regions:
        if not run.plan.arms_in(region):
            continue
        found = sum(worker.region == region for worker in workers)
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


def _refused(run: Run) -> Iterator[ValidityCheck]:
    """Yield a failed check where the coordinator could not read what workers sent."""
    if run.engine is None or not run.engine.batches_refused:
        return
    yield ValidityCheck(
        name="reconciliation",
        scope="run",
        observed=float(run.engine.batches_refused),
        limit=0,
        unit="batches",
        ok=False,
        why=f"{run.engine.batches_refused} batches of rows were refused as nonsense.",
        advice="Samples were lost on the way, and lost samples are not random.",
    )


def _kept_telling(run: Run, worker: WorkerFacts) -> Iterator[ValidityCheck]:
    """Yield a failed check where a worker told nothing of itself while it had arrivals."""
    codes, words = codes_of(run.frame, "worker")
    if worker.id not in words or worker.state != FINISHED:
        return
    mine = run.frame["intended_us"].to_numpy()[codes == words.index(worker.id)]
    due_s = np.unique(mine // (US_PER_MS * MS_PER_S))
    told = [float(moment.t_s) for moment in worker.timeline]
    marks = np.array([float(due_s.min(initial=0)), *told, float(due_s.max(initial=0))])
    longest = max(
        (
            _silence_s(float(begin), float(end), due_s)
            for begin, end in itertools.pairwise(np.sort(marks))
            if end - begin > LONGEST_SILENCE_S
        ),
        default=0.0,
    )
    if longest <= LONGEST_SILENCE_S:
        return
    yield ValidityCheck(
        name="worker",
        scope="region",
        observed=longest,
        limit=LONGEST_SILENCE_S,
        unit="s",
        ok=False,
        why=f"{worker.region}: worker {worker.id} told nothing of itself for {longest:.1f} s of "
        f"its load (limit {LONGEST_SILENCE_S:g} s).",
        advice="It stood still, or its account was cut. Measure again.",
        region=worker.region,
        worker=worker.id,
    )


def _silence_s(begin_s: float, end_s: float, due_s: NDArray[np.int64]) -> float:
    """
    Return how much of a silence was under load.

    Where arms are started anew between looks nothing is due, for as long as that takes: the longest
    stretch without an arrival is no silence.

    Args:
        begin_s: When the worker told of itself before it.
        end_s: When it did again.
        due_s: Seconds in which arrivals were due.
    """
    inside = due_s[(due_s > begin_s) & (due_s < end_s)]
    if not inside.size:
        return 0.0
    idle_s = float(np.diff(np.concatenate(([begin_s], inside, [end_s]))).max())
    return end_s - begin_s - max(0.0, idle_s - 1.0)


def _told_too_much(run: Run, worker: WorkerFacts) -> Iterator[ValidityCheck]:
    """Yield a failed check where a worker tells of arrivals or failures that no row has."""
    codes, words = codes_of(run.frame, "worker")
    if worker.state != FINISHED:
        return
    mine = codes == (words.index(worker.id) if worker.id in words else -1)
    arrivals = run.frame["arrival"].to_numpy()[mine]
    found = int(np.unique(arrivals[arrivals >= 0]).size)
    contradiction = ""
    if run.plan.load.model != "closed" and found > worker.rows.scheduled:
        contradiction = f"has rows of {found} arrivals, {worker.rows.scheduled} were its share"
    error, kinds = codes_of(run.frame, "error")
    arm, arms = codes_of(run.frame, "deployment")
    told = Counter[tuple[str, str]]()
    for failure in worker.failures:
        told[failure.kind, failure.deployment] += failure.count
    for (kind, deployment), count in told.items():
        if kind == ERROR_CHECK:
            continue  # a task may raise after a request of its own had failed
        of_kind = mine & (error == (kinds.index(kind) if kind in kinds else -1))
        rows = int(
            (of_kind & (arm == (arms.index(deployment) if deployment in arms else -1))).sum()
        )
        if count > rows:
            contradiction = f"tells of {count} failures ({kind}) of {deployment}, {rows} are stored"
    if not contradiction:
        return
    yield ValidityCheck(
        name="reconciliation",
        scope="region",
        observed=None,
        limit=0,
        unit="rows",
        ok=False,
        why=f"{worker.region}: worker {worker.id} {contradiction}.",
        advice="The account is not that of these records. Measure again.",
        region=worker.region,
        worker=worker.id,
    )


def _gauges(run: Run, worker: WorkerFacts) -> Iterator[_Gauge]:
    """
    The limits are the plan's; each says what exceeding it would do to the numbers.

    A late event loop is in every time that user space stamps, but not in one of the kernel's.
    """
    limits = run.plan.validity
    check, clock, health = worker.self_check, worker.clock, worker.health
    kernel = (
        check is not None and check.clock == CLOCK_KERNEL and not _mostly_by_program(run, worker)
    )
    lag_ms = limits.loop_lag_p99_ms if kernel else limits.loop_lag_user_clock_p99_ms
    busy = "Lower load.rate, add workers, or give the machine less other work."
    if health is not None:
        yield _Gauge("loop lag", health.loop_lag_p99_us / US_PER_MS, "ms", lag_ms,
                     "the event loop woke late by (p99)", busy)  # fmt: skip
        yield _Gauge("cpu", health.cpu_share_mean, "share", limits.cpu_share,
                     "the worker used of its core (mean)", busy)  # fmt: skip
        yield _Gauge("steal", health.steal_share_mean, "share", limits.steal_share,
                     "the host took from this machine (mean steal)",
                     "Use a machine with its own cores.",
                     health.untold.get("steal_share_mean", ""))  # fmt: skip
        yield _Gauge("gc", health.gc_pause_max_us / US_PER_MS, "ms", limits.gc_pause_ms,
                     "the longest garbage collection took",
                     "Keep less in memory in the scenario.")  # fmt: skip
    if clock is not None:
        yield _Gauge("clock uncertainty", clock.uncertainty_us / US_PER_MS, "ms",
                     limits.clock_uncertainty_ms,
                     "the offset to the coordinator's clock is known to",
                     "Intended starts of this region are that uncertain: check the link."
                     )  # fmt: skip
    if check is not None:
        yield _Gauge("self-check", check.bias_p99_us / US_PER_MS, "ms",
                     run.plan.generator.self_check_bias_ms,
                     "the client read a known delay wrong by (p99)", busy)  # fmt: skip


def _mostly_by_program(run: Run, worker: WorkerFacts) -> bool:
    """Tell whether a percentile of a worker's rows may be a time that user space stamped."""
    mine, words = codes_of(run.frame, "worker")
    clock, clocks = codes_of(run.frame, "clock")
    if worker.id not in words or CLOCK_USER not in clocks:
        return False
    by_program = clock[mine == words.index(worker.id)] == clocks.index(CLOCK_USER)
    return float(by_program.mean()) > _FEW_BY_PROGRAM


def _read(worker: WorkerFacts, gauge: _Gauge) -> ValidityCheck:
    observed = gauge.observed
    # What a platform cannot tell is said, not held against the run.
    ok = bool(gauge.untold) if observed is None else abs(observed) <= gauge.limit
    if observed is None:
        found = f"this platform cannot tell ({gauge.untold})"
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
        why=f"{worker.region}, worker {worker.id}: {gauge.what}: {found}.",
        advice="" if ok else gauge.advice,
        region=worker.region,
        worker=worker.id,
    )


def _alive(worker: WorkerFacts) -> ValidityCheck:
    state = worker.state
    ok = state == FINISHED
    return ValidityCheck(
        name="worker",
        scope="region",
        observed=float(ok),
        limit=1,
        unit="",
        ok=ok,
        why=f"{worker.region}: worker {worker.id} {state or 'left no word'}.",
        advice=""
        if ok
        else "Its share of the load is missing, so the region was not loaded as planned.",
        region=worker.region,
        worker=worker.id,
    )


def _reconciled(worker: WorkerFacts, recorded: int) -> ValidityCheck:
    rows = worker.rows
    sent, received, merged, missing = rows.sent, rows.received, rows.merged, rows.missing
    ok = sent == received == merged == recorded and missing == 0
    return ValidityCheck(
        name="reconciliation",
        scope="region",
        observed=max(missing, sent - recorded, abs(merged - recorded)),
        limit=0,
        unit="rows",
        ok=ok,
        why=(
            f"{worker.region}, worker {worker.id}: {sent} rows sent, {received} received, "
            f"{merged} merged, {recorded} stored"
            + ("." if ok else f"; {missing} are known to be missing.")
        ),
        advice="" if ok else "Samples were lost on the way, and lost samples are not random.",
        region=worker.region,
        worker=worker.id,
    )


def _dropped(worker: WorkerFacts, recorded: int) -> Iterator[ValidityCheck]:
    """Yield a failed check where a worker dropped more or fewer arrivals than it has rows of."""
    told = None if worker.health is None else worker.health.dropped
    if told is None or told == recorded or worker.state != FINISHED:
        return
    yield ValidityCheck(
        name="reconciliation",
        scope="region",
        observed=abs(told - recorded),
        limit=0,
        unit="rows",
        ok=False,
        why=f"{worker.region}, worker {worker.id}: says that it dropped {told} arrivals, "
        f"and {recorded} are stored.",
        advice="The account is not that of these records. Measure again.",
        region=worker.region,
        worker=worker.id,
    )


def _retransmits(run: Run, worker: WorkerFacts) -> ValidityCheck:
    health = worker.health
    segments = None if health is None else health.segments_sent
    again = None if health is None else health.retransmits
    share = None if again is None or not segments else again / segments
    limit = run.plan.validity.retransmit_share
    ok = share is None or share <= limit
    why = "" if health is None else health.untold.get("retransmits", "")
    found = (
        f"this platform cannot tell ({why})"
        if share is None
        else f"{share:.2%} (limit {limit:.2%})"
    )
    return ValidityCheck(
        name="retransmits",
        scope="region",
        observed=share,
        limit=limit,
        unit="share",
        ok=ok,
        why=f"{worker.region}, worker {worker.id}: TCP segments sent again: {found}.",
        advice=""
        if ok
        else "Packets were lost between worker and edge, or what they ask takes connections too "
        "slowly, so that its full queue drops them: the tail is not its pages'.",
        region=worker.region,
        worker=worker.id,
    )
