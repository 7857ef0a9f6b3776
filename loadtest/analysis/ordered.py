"""
Records and account are held against the schedule that plan and seed give.

A row that says another deployment, block or moment than its arrival was ordered for was measured by
nobody: it was relabelled, or is another run's.  In the closed model nothing is ordered beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtest.analysis.possible import Rows, column_of, refuse_rows, words_of
from loadtest.errors import RecordsError
from loadtest.plan.model import Plan
from loadtest.plan.schedule import (
    SEGMENT_STRIDE,
    STEADY,
    WARM_UP,
    Chunk,
    Digest,
    RegionSchedule,
    digest_schedules,
    joined_fingerprint,
)
from loadtest.records.facts import EngineFacts
from loadtest.units import NS_PER_US

_STAGES = (WARM_UP, STEADY)


@dataclass(frozen=True, slots=True)
class _Share:
    """
    What one region was ordered to do in one segment: one value an arrival.

    ``arms`` are indices of the region's deployments, ``stages`` of `_STAGES`.
    """

    arms: NDArray[np.uint8]
    blocks: NDArray[np.int64]
    stages: NDArray[np.uint8]
    due_us: NDArray[np.int64]


Due = dict[tuple[str, str], NDArray[np.int64]]
"""Region and deployment -> arrivals of the steady stage by block."""


def refuse_unordered(frame: pd.DataFrame, plan: Plan, engine: EngineFacts | None) -> Due:
    """
    Refuse an account and records that do not follow from the plan.

    Args:
        frame: Records, with ``start_us``.
        plan: The run's plan.
        engine: Its engine.json; where the run broke off, only what came to its end is asked.

    Returns:
        How many arrivals were ordered; nothing in the closed model, or of a run that broke off.

    Raises:
        RecordsError: Tells what does not follow, and in how many rows.
    """
    if engine is None:
        return {}
    due: Due = {}
    digests, first_block = [], 0
    for number, told in enumerate(engine.segments):
        digest, shares, blocks = _ordered(plan, number, first_block)
        if (told.segment, told.blocks) != (number, blocks):
            raise RecordsError(
                f"engine.json: segments[{number}]: {told.blocks} blocks of segment "
                f"{told.segment}, where the plan gives {blocks} of segment {number}"
            )
        first_block += blocks
        digests.append(digest)
        for region, share in shares.items():
            arms = plan.arms_in(region)
            refuse_rows(len(frame), _unlike(frame, region, number, share, arms))
            _add_due(due, region, arms, share, first_block)
    if engine.state == "done":
        _check_schedule(engine, digests)
        beyond = column_of(frame, "arrival") >= len(digests) * SEGMENT_STRIDE
        refuse_rows(len(frame), [("an arrival of a segment that was not ordered", beyond)])
    return due


def _add_due(due: Due, region: str, arms: tuple[str, ...], share: _Share, blocks: int) -> None:
    """Add the steady arrivals of one region and segment, the last of ``blocks`` so far."""
    steady = share.stages == _STAGES.index(STEADY)
    for number, arm in enumerate(arms):
        if not share.arms.size:  # the closed model
            continue
        counts = np.bincount(share.blocks[steady & (share.arms == number)], minlength=blocks)
        before = due.get((region, arm), np.zeros(0, np.int64))
        counts[: before.size] += before
        due[region, arm] = counts


def _check_schedule(engine: EngineFacts, digests: list[Digest]) -> None:
    told, arrivals = engine.schedule, sum(digest.arrivals for digest in digests)
    shares = sum(worker.rows.scheduled for worker in engine.workers)
    if shares != arrivals:
        raise RecordsError(
            f"engine.json: rows.scheduled: the workers' shares are {shares} arrivals, where plan "
            f"and seed give {arrivals}"
        )
    if told.arrivals != arrivals:
        raise RecordsError(
            f"engine.json: schedule.arrivals: {told.arrivals}, where plan and seed give "
            f"{arrivals}; plan and account are not of one run"
        )
    if told.fingerprint != joined_fingerprint(digests):
        raise RecordsError(
            "engine.json: schedule.fingerprint: is not that of the plan's schedule; plan and "
            "account are not of one run, or the seed was changed"
        )


def _ordered(plan: Plan, segment: int, first_block: int) -> tuple[Digest, dict[str, _Share], int]:
    """Return a segment's digest, what each region was to do, and how many blocks it has."""
    schedules = [
        RegionSchedule(plan, region, segment, first_block)
        for region in plan.regions
        if plan.arms_in(region)
    ]
    seen: dict[str, list[Chunk]] = {schedule.region: [] for schedule in schedules}
    digest = digest_schedules(schedules, see=lambda region, chunk: seen[region].append(chunk))
    blocks = max((schedule.blocks for schedule in schedules), default=0)
    return digest, {region: _joined(chunks) for region, chunks in seen.items()}, blocks


def _joined(chunks: list[Chunk]) -> _Share:
    sizes = [len(chunk) for chunk in chunks]
    due_ns = np.concatenate(
        [np.frombuffer(chunk.due_ns, np.int64) for chunk in chunks] or [np.empty(0, np.int64)]
    )
    return _Share(
        arms=np.frombuffer(b"".join(chunk.arms for chunk in chunks), np.uint8),
        blocks=np.repeat(np.array([chunk.block for chunk in chunks], np.int64), sizes),
        stages=np.repeat(
            np.array([_STAGES.index(chunk.stage) for chunk in chunks], np.uint8), sizes
        ),
        due_us=due_ns // NS_PER_US,
    )


def _unlike(
    frame: pd.DataFrame, region: str, segment: int, share: _Share, arms: tuple[str, ...]
) -> Iterator[tuple[str, Rows]]:
    """Yield in words how a region's rows differ from what was ordered, and which do."""
    arrival = column_of(frame, "arrival")
    codes, regions = words_of(frame, "region")
    first = segment * SEGMENT_STRIDE
    mine = (arrival >= first) & (arrival < first + SEGMENT_STRIDE)
    mine &= codes == (regions.index(region) if region in regions else -1)
    if not share.arms.size:  # the closed model
        return
    unknown = mine & (arrival - first >= share.arms.size)
    yield f"an arrival that was not scheduled from {region}", unknown
    places = np.flatnonzero(mine & ~unknown)
    if not places.size:
        return
    index = arrival[places] - first
    intended = column_of(frame, "intended_us")[places]
    began_us = intended[0] - share.due_us[index[0]]
    for name, found, wanted in (
        ("deployment", *_coded(frame, "deployment", arms, share.arms)),
        ("stage", *_coded(frame, "stage", _STAGES, share.stages)),
        ("block", column_of(frame, "block"), share.blocks),
        ("intended_us", column_of(frame, "intended_us"), share.due_us + began_us),
    ):
        odd = np.zeros(len(frame), bool)
        odd[places] = found[places] != wanted[index]
        yield f"another {name} than the schedule gives", odd


def _coded(
    frame: pd.DataFrame, name: str, words: tuple[str, ...], indices: NDArray[np.uint8]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a column's codes, and those that it would have if it said ``words[indices]``."""
    codes, known = words_of(frame, name)
    wanted = np.array([known.index(word) if word in known else -1 for word in words])
    return codes, wanted[indices]
