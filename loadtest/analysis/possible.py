"""
What no run can have measured is refused before anything is computed from it.

A clock that runs backwards, a request that began before it was due, a region that the plan does not
have: such rows are not bad luck but another file, a fault in the engine, or an edit.  Counting them
would give a number that looks like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtest.errors import RecordsError
from loadtest.plan.model import Plan
from loadtest.records.facts import EngineFacts
from loadtest.records.kinds import (
    CLOCK_KERNEL,
    CLOCK_USER,
    ERROR_DROPPED,
    ERROR_KINDS,
    HTTP_1,
    HTTP_2,
    STAGE_STEADY,
    STAGE_WARM_UP,
)
from loadtest.units import US_PER_S

Rows = NDArray[np.bool_]

PHASES: Final = ("queue", "dns", "connect", "tls", "send", "wait", "wait_user", "receive")
MOST_STATUS: Final = 999
SLACK_US: Final = 1_000
"""Stamps of two clocks, and parts rounded down, may disagree by this much."""
_ARRIVAL_BITS: Final = 48
LONGEST_S: Final = 600.0
"""No time-out of a plan is longer (``load.timeout_s``)."""


def refuse_impossible(frame: pd.DataFrame, plan: Plan, engine: EngineFacts | None) -> None:
    """
    Refuse records that no run of this plan can have left.

    Args:
        frame: Records, with ``start_us``.
        plan: The run's plan.
        engine: Its engine.json; empty where the run broke off, which leaves less to compare with.

    Raises:
        RecordsError: Tells what is impossible, and in how many rows.
    """
    if not len(frame):
        return
    refuse_rows(
        len(frame),
        chain(
            _numbers(frame),
            _words(frame, plan),
            _time_line(frame, plan, engine),
            _accounts(frame, plan, engine),
        ),
    )


def refuse_rows(total: int, findings: Iterable[tuple[str, Rows]]) -> None:
    """
    Refuse records in which anything was found.

    Args:
        total: Number of all rows.
        findings: What may be wrong, in words, and the rows that it is true of.

    Raises:
        RecordsError: Tells the first finding that has rows, and how many.
    """
    for what, rows in findings:
        if count := int(np.count_nonzero(rows)):
            raise RecordsError(
                f"records.parquet: {what} in {count} of {total} rows, which no run can have "
                "measured; the file is not this run's, or was changed"
            )


def _numbers(frame: pd.DataFrame) -> Iterator[tuple[str, Rows]]:
    for phase in PHASES:
        yield f"a negative time ({phase}_us)", column_of(frame, f"{phase}_us") < 0
    for name, least in (("bytes", 0), ("attempts", 1), ("status", 0), ("row", 0)):
        yield f"a number too small ({name})", column_of(frame, name) < least
    for name in ("db_round_trips", "db_us", "app_us", "arrival", "block"):
        yield f"a number below -1 ({name})", column_of(frame, name) < -1
    status = column_of(frame, "status")
    yield "a status that HTTP does not have", status > MOST_STATUS
    good = _is(frame, "error", "")
    yield "a success without an answer", good & (status == 0)
    reused, connect = column_of(frame, "reused"), column_of(frame, "connect_us")
    yield "a new connection that took no time", good & ~reused & (connect == 0)
    opening = sum(column_of(frame, f"{p}_us").astype(np.int64) for p in ("dns", "connect", "tls"))
    yield "an open connection that was opened", reused & (opening > 0)
    early = column_of(frame, "wait_user_us") + SLACK_US < column_of(frame, "wait_us")
    yield "a first byte seen by the program before the kernel had it", good & early


def _words(frame: pd.DataFrame, plan: Plan) -> Iterator[tuple[str, Rows]]:
    known = {
        "region": plan.regions,
        "stage": (STAGE_WARM_UP, STAGE_STEADY),
        "error": ERROR_KINDS,
        "clock": (CLOCK_KERNEL, CLOCK_USER),
        "protocol": ("", HTTP_1, HTTP_2),
    }
    for name, words in known.items():
        codes, found = words_of(frame, name)
        odd = [code for code, word in enumerate(found) if word not in words]
        shown = ", ".join(repr(found[code])[:40] for code in odd[:3])
        yield f"an unknown {name} ({shown})", np.isin(codes, odd)
    regions, codes_of_regions = words_of(frame, "region")[::-1]
    arms, arm_names = words_of(frame, "deployment")
    for code, region in enumerate(regions):
        if region in plan.regions:
            there = plan.arms_in(region)
            odd = [number for number, arm in enumerate(arm_names) if arm not in there]
            rows = (codes_of_regions == code) & np.isin(arms, odd)
            yield f"a deployment that the plan does not measure from {region}", rows


def _time_line(
    frame: pd.DataFrame, plan: Plan, engine: EngineFacts | None
) -> Iterator[tuple[str, Rows]]:
    """Yield what is out of order: due, sent, first byte, last byte; block after block."""
    intended, start = column_of(frame, "intended_us"), column_of(frame, "start_us")
    dropped = _is(frame, "error", ERROR_DROPPED)
    yield "a start of what was dropped", dropped & (start >= 0)
    due = column_of(frame, "arrival") >= 0  # others are a scenario's own, such as of its start
    sent = due & ~dropped
    yield "an arrival before the run", due & (intended < 0)
    yield "a start before it was due", sent & (start + SLACK_US < intended)
    queue = column_of(frame, "queue_us").astype(np.int64)
    yield (
        "a time in the queue that is not from due to start",
        sent & (queue > 0) & (np.abs(start - intended - queue) > SLACK_US),
    )
    lasts = sum(
        column_of(frame, f"{p}_us").astype(np.int64) for p in PHASES[1:] if p != "wait_user"
    )
    end = int(intended[due].max(initial=0)) + LONGEST_S * US_PER_S
    yield "an end long after the run", (start + lasts > end) | (intended > end)
    yield from _blocks(frame, plan, engine, due)


def _blocks(
    frame: pd.DataFrame, plan: Plan, engine: EngineFacts | None, due: Rows
) -> Iterator[tuple[str, Rows]]:
    block, intended = column_of(frame, "block"), column_of(frame, "intended_us")
    yield "an arrival of no block", due & (block < 0)
    if engine and sum(worker.rows.merged for worker in engine.workers) == len(frame):
        # else rows of a segment that broke off are among them, which the account leaves out
        blocks = sum(segment.blocks for segment in engine.segments)
        yield "a block that was not ordered", block >= blocks
    places = np.flatnonzero(due & (block >= 0))
    if not places.size:
        return
    order = places[np.lexsort((intended[places], block[places]))]
    edges = np.flatnonzero(np.diff(block[order])) + 1
    first, last = order[np.r_[0, edges]], order[np.r_[edges, order.size] - 1]
    odd = np.zeros(len(frame), bool)
    # the last block takes what is left of the stage
    odd[last] = intended[last] - intended[first] > 2 * plan.load.block_s * US_PER_S + SLACK_US
    yield "a block that lasts longer than the plan's", odd
    odd = np.zeros(len(frame), bool)
    odd[first[1:]] = intended[first[1:]] < intended[last[:-1]]
    yield "a block that begins before the one before it has ended", odd
    stage = words_of(frame, "stage")[0][order].astype(np.int64)
    firsts = np.repeat(stage[np.r_[0, edges]], np.diff(np.r_[0, edges, order.size]))
    odd = np.zeros(len(frame), bool)
    odd[order] = stage != firsts
    yield "a block of two stages", odd


def _accounts(
    frame: pd.DataFrame, plan: Plan, engine: EngineFacts | None
) -> Iterator[tuple[str, Rows]]:
    """Yield rows of workers that nobody knows of, and rows that are there twice."""
    worker, names = words_of(frame, "worker")
    region, regions = words_of(frame, "region")
    if engine:
        told = {worker.id: worker.region for worker in engine.workers}
        strange = [name for name, home in told.items() if home not in plan.regions]
        everywhere = np.full(len(frame), bool(strange))
        yield f"a worker of a region that the plan does not have ({strange[:1]})", everywhere
        odd = [code for code, name in enumerate(names) if name not in told]
        yield "a worker that left no account", np.isin(worker, odd)
        for code, name in enumerate(names):
            if name in told:
                home = regions.index(told[name]) if told[name] in regions else -1
                yield f"a region that {name} is not in", (worker == code) & (region != home)
    row = column_of(frame, "row")
    order = np.lexsort((row, worker))
    twice = np.zeros(len(frame), bool)
    twice[order[1:]] = (np.diff(row[order]) == 0) & (np.diff(worker[order].astype(np.int64)) == 0)
    yield "a row that is there twice", twice


def with_true_queue(frame: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """
    Return records in which the first request of each arrival has waited from due to start.

    A client that was never told of its arrival says that it waited for nothing; the stamps know.
    In the closed model nothing is due.

    Args:
        frame: Records, with ``start_us``.
        plan: The run's plan.
    """
    if plan.load.model == "closed":
        return frame
    start, arrival = column_of(frame, "start_us"), column_of(frame, "arrival")
    late = start - column_of(frame, "intended_us")
    silent = (arrival >= 0) & (column_of(frame, "queue_us") == 0) & (late > SLACK_US)
    if not silent.any():
        return frame
    # arrivals are counted for each region
    key = words_of(frame, "region")[0].astype(np.int64) << _ARRIVAL_BITS | arrival
    places = np.flatnonzero(np.isin(key, key[silent]) & (start >= 0))
    order = places[np.lexsort((start[places], key[places]))]
    first = order[np.r_[True, np.diff(key[order]) != 0]]
    first = first[silent[first]]
    queue = column_of(frame, "queue_us").copy()
    queue[first] = np.minimum(late[first], np.iinfo(queue.dtype).max)
    return frame.assign(queue_us=queue)


def column_of(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    """Return a column's values."""
    return frame[name].to_numpy()


def words_of(frame: pd.DataFrame, name: str) -> tuple[NDArray[np.integer[Any]], list[str]]:
    """Return a column of words as codes, and the words that they index."""
    column = frame[name].cat
    return column.codes.to_numpy(), list(column.categories)


def _is(frame: pd.DataFrame, name: str, word: str) -> Rows:
    codes, words = words_of(frame, name)
    return codes == words.index(word) if word in words else np.zeros(codes.size, bool)
