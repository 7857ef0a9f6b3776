"""
What crosses the cut besides rows, as frozen types: what a worker and the engine say of a run.

A file is read into these types or refused by the name of the key that is missing, unknown or of the
wrong kind: a key that changes its name on one side must not look like "not measured here".  Where a
platform cannot tell a number it says ``null``; absent is never the same.  A number is a count or a
length unless it is ``Signed``: below zero it is no measurement, nor is one that no clock or counter
of 64 bits can have shown.

ENGINE_SCHEMA history:
    1  first
    2  plan: what the engine was ordered to do
    3  clock, self_check and health of a worker that never told them are null
    4  moves: names that began to resolve elsewhere
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NewType, TypeVar, cast

from loadtest.errors import RecordsError
from loadtest.records.failures import FailureExample

T = TypeVar("T")
Signed = NewType("Signed", float)
"""A number that may be below zero: an offset, or a moment before the run's beginning."""

ENGINE_SCHEMA: Final = 4
LARGEST: Final = 2**63 - 1
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
    """How a worker fared over a run; null where its platform cannot tell."""

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


def read_engine(content: Any) -> EngineFacts:
    """
    Return what an engine.json tells; one that this version does not know in every key is refused.

    Raises:
        RecordsError: With the path of the first key at fault.
    """
    engine = read(EngineFacts, content, "engine.json")
    for number, worker in enumerate(engine.workers):
        if worker.state == FINISHED and (fault := next(_contradictions(worker), "")):
            raise RecordsError(
                f"engine.json.workers[{number}].{fault}: the account contradicts itself"
            )
    return engine


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
    for first, second in (
        ("steal_share_mean", "steal_share_max"),
        ("retransmits", "segments_sent"),
    ):
        if (getattr(health, first) is None) != (getattr(health, second) is None):
            yield f"health.{first}: told without {second}, or {second} without it"
    for name, value in (
        ("self_check.n", check.n),
        ("clock.exchanges", clock.exchanges),
        ("timeline", len(worker.timeline)),
    ):
        if not value:
            yield f"{name}: nothing, of a worker that finished"


def to_json(value: Any) -> Any:
    """Return a frozen type, or what is made of such, as JSON knows it; `read` is the way back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_key(f.name): to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    return value


def read(kind: type[T], content: Any, where: str) -> T:
    """
    Read JSON into a frozen type.

    Args:
        kind: A dataclass; its fields are the keys, their types the kinds of values.  A key whose
            field has a default may be absent; ``from_`` is the key ``from``, which is a word of the
            language.
        content: What the file holds there.
        where: Path of it, for a message.

    Raises:
        RecordsError: A key is missing, unknown, or its value of the wrong kind.
    """
    if not isinstance(content, Mapping):
        raise RecordsError(f"{where}: want an object, found {type(content).__name__}")
    hints, optional = _hints(cast(Any, kind))
    for key in hints:
        if key not in content and key not in optional:
            raise RecordsError(f"{where}.{key}: missing; this account of the run is not complete")
    for key in content:
        if key not in hints:
            raise RecordsError(f"{where}.{key}: unknown; another version of loadtest wrote it")
    given = {key: hint for key, hint in hints.items() if key in content}
    values = [_value(h, content[key], f"{where}.{key}") for key, h in given.items()]
    names = [
        field.name for field in dataclasses.fields(cast(Any, kind)) if _key(field.name) in given
    ]
    return kind(**dict(zip(names, values, strict=True)))


@cache
def _hints(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a dataclass's fields, and the fields that have a default."""
    missing = dataclasses.MISSING
    fields = dataclasses.fields(kind)
    optional = {_key(field.name) for field in fields if field.default is not missing}
    hints = typing.get_type_hints(kind)
    return {_key(field.name): hints[field.name] for field in fields}, frozenset(optional)


def _key(name: str) -> str:
    return name.rstrip("_")


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in arguments:
            return None
        return _value(_alternative(arguments, value), value, where)
    if origin is not None:
        return _several(origin, arguments, value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value, where)
    return value if hint is Any else _scalar(hint, value, where)


def _alternative(kinds: tuple[type, ...], value: Any) -> Any:
    """Return the type that knows every key of a value, the first if none does."""
    keys = set(value) if isinstance(value, Mapping) else set()
    for kind in kinds:
        if dataclasses.is_dataclass(kind) and keys <= _hints(cast(Any, kind))[0].keys():
            return kind
    return kinds[0]


def _several(origin: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """Read a list (``tuple[X, ...]``) or an object of any keys (``Mapping[str, X]``)."""
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        items = enumerate(value)
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in items)
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    return {k: _value(arguments[1], item, f"{where}.{k}") for k, item in value.items()}


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is bool or hint is str:
        if not isinstance(value, hint):
            raise _wrong(where, "true or false" if hint is bool else "text", value)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, "a number", value)
    if not math.isfinite(value):
        raise _wrong(where, "a finite number", value)
    if hint is int and value != int(value):
        raise _wrong(where, "a whole number", value)
    if abs(value) > LARGEST or (value < 0 and hint is not Signed):
        least = "" if hint is Signed else "from 0 on, "
        raise _wrong(where, f"a number {least}of 64 bits at most", value)
    return value


def _wrong(where: str, wanted: str, value: Any) -> RecordsError:
    return RecordsError(f"{where}: want {wanted}, found {str(value)[:40]!r}")
