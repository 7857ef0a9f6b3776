"""
What crosses the cut besides rows, as frozen types: what a worker and the engine say of a run.

A file is read into these types or refused, see `loadtest.frozen`.  Where a platform cannot tell a
number it says ``null``; absent is never the same.

ENGINE_SCHEMA history:
    1  first
    2  plan: what the engine was ordered to do
    3  clock, self_check and health of a worker that never told them are null
    4  moves: names that began to resolve elsewhere
    5  health.untold: why what is null there is not known
    6  left: users that left by themselves
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from loadtest.frozen import Signed
from loadtest.records.failures import FailureExample

ENGINE_SCHEMA: Final = 6
MOST_MOVES: Final = 20
"""Moves of names that a worker tells of: one behind a large pool would fill a report."""
FINISHED: Final = "finished"
"""State of a worker that played its share to the end; only such a one has told everything."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What became of a worker's rows, in numbers of rows."""

    scheduled: int
    sent: int
    received: int
    merged: int
    missing: int


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """A worker's clock against the coordinator's, microseconds."""

    offset_us: Signed
    uncertainty_us: float
    bound_us: float
    exchanges: int


@dataclass(frozen=True, slots=True)
class SelfCheckFacts:
    """How wrong the worker's client read known delays, microseconds; which clock stamped."""

    n: int
    bias_p50_us: float
    bias_p99_us: float
    clock: str


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """
    How a worker fared over a run.

    What its platform cannot tell is null, and ``untold`` has the reason under the key's name.
    """

    loop_lag_p50_us: float
    loop_lag_p99_us: float
    loop_lag_max_us: float
    cpu_share_mean: float
    cpu_share_max: float
    steal_share_mean: float | None
    steal_share_max: float | None
    gc_pause_max_us: float
    gc_pause_total_us: float
    lateness_p50_us: float
    lateness_p99_us: float
    late: int
    dropped: int
    resends: int
    retransmits: int | None
    segments_sent: int | None
    duplicates: int
    untold: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MomentFacts:
    """One moment of a worker's time line."""

    t_s: Signed
    loop_lag_p99_us: float
    cpu_share: float
    steal_share: float | None
    gc_pause_us: float
    lateness_p99_us: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class NameMove:
    """A name, and when an answer had addresses that none before had; at most MOST_MOVES of them."""

    t_s: Signed
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """
    A worker's account of itself.

    ``clock``, ``self_check`` and ``health`` are null where it was lost before it told them: one
    that finished has told everything.
    """

    id: str
    region: str
    state: str
    rows: RowCounts
    clock: ClockFacts | None
    self_check: SelfCheckFacts | None
    health: HealthFacts | None
    failures: tuple[FailureExample, ...]
    versions: Mapping[str, str]
    timeline: tuple[MomentFacts, ...]
    moves: tuple[NameMove, ...]
    """Names that began to resolve elsewhere."""
    left: Mapping[str, int]
    """Deployment: users that left by themselves during the load; of the closed model alone."""


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """What was ordered: a hash of it, and how many arrivals."""

    fingerprint: str
    arrivals: int


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A stretch of load between two judgements."""

    segment: int
    blocks: int


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """
    The engine's account of a run: the content of engine.json.

    ``plan`` has a hash of each part of the plan that was ordered (`loadtest.plan.prints`).
    """

    schema: int
    run_id: str
    state: str
    reason: str
    epoch_wall_ns: int
    plan: Mapping[str, str]
    schedule: ScheduleFacts
    versions: Mapping[str, str]
    batches_refused: int
    workers: tuple[WorkerFacts, ...]
    segments: tuple[SegmentFacts, ...]
