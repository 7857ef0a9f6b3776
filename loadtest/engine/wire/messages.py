"""
What workers say of a segment, as frozen types.

A worker writes these and the coordinator reads them by the same types, so a key that changes its
name on one side is refused by name, and never looks like something that was not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from loadtest.frozen import FrozenType, read, to_json
from loadtest.records.facts import (
    ClockFacts,
    HealthFacts,
    MomentFacts,
    NameMove,
    SelfCheckFacts,
)
from loadtest.records.failures import FailureExample

M = TypeVar("M")

KEY: Final = ("run_id", "segment")
"""What every message begins with: the segment of the run that it is about."""


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """What a worker has done and met so far in this run; counts are of rows."""

    sent: int
    lost: int
    clock: ClockFacts
    health: HealthFacts
    failures: tuple[FailureExample, ...]
    moves: tuple[NameMove, ...]
    left: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ReadyMessage:
    """A worker is prepared."""

    self_check: SelfCheckFacts
    clock: ClockFacts


@dataclass(frozen=True, slots=True)
class FailedMessage:
    """A worker cannot, and why."""

    error: str


@dataclass(frozen=True, slots=True)
class HealthMessage:
    """One second of a worker's life."""

    moment: MomentFacts
    counts: WorkerCounts


@dataclass(frozen=True, slots=True)
class FinMessage:
    """A worker has nothing more to send; whether it was stopped."""

    stopped: bool
    counts: WorkerCounts


def spoken(key: Mapping[str, object], message: FrozenType) -> dict[str, object]:
    """Return a message as it travels: run and segment, then what it says."""
    return {**key, **to_json(message)}


def heard(kind: type[M], data: Mapping[str, object]) -> M:
    """
    Return what a message says.

    Raises:
        RecordsError: It is not as this version knows it; names the key.
    """
    told = {name: value for name, value in data.items() if name not in KEY}
    return read(kind, told, kind.__name__)
