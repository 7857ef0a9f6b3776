"""What Locust's own statistics need to know of a chunk of rows: summed up per request name."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loadtest.records.layout import COLUMNS, WIDTHS
from loadtest.units import US_PER_MS


@dataclass(slots=True)
class Tally:
    """What a chunk holds of one request name, for Locust's statistics."""

    rows: int = 0
    errors: int = 0
    bytes: int = 0
    response_us: int = 0
    slowest_us: int = 0
    quickest_us: int = 2**31 - 1
    by_ms: Counter[int] = field(default_factory=Counter)


Tallies = dict[tuple[str, str], Tally]
"""(method, name of the request) -> its sums."""


def tally_columns(
    columns: dict[str, bytes], rows: int, names: list[str], methods: list[str]
) -> Tallies:
    """
    Sum a chunk up by request name, for Locust's statistics.

    The response time is Locust's: from the start of the request to its last byte.
    """
    phases = [
        _values(columns, name, rows)
        for name in ("dns_us", "connect_us", "tls_us", "send_us", "wait_us", "receive_us")
        if columns[name].strip(b"\0")
    ]
    response = [sum(parts) for parts in zip(*phases, strict=True)] if phases else [0] * rows
    codes, errors = _values(columns, "name", rows), _values(columns, "error", rows)
    sizes = _values(columns, "bytes", rows)
    tallies: Tallies = {}
    for code in set(codes):
        if len(columns["name"]) == WIDTHS["name"]:
            mine, failed, size = response, rows - errors.count(0), sum(sizes)
        else:
            chosen = [index for index, other in enumerate(codes) if other == code]
            mine = [response[index] for index in chosen]
            failed = sum(errors[index] != 0 for index in chosen)
            size = sum(sizes[index] for index in chosen)
        tallies[(methods[code], names[code].removeprefix(f"{methods[code]} "))] = Tally(
            rows=len(mine),
            errors=failed,
            bytes=size,
            response_us=sum(mine),
            slowest_us=max(mine),
            quickest_us=min(mine),
            by_ms=Counter([us // US_PER_MS for us in mine]),
        )
    return tallies


def part_of(columns: dict[str, bytes], start: int, rows: int) -> dict[str, bytes]:
    """Return some rows of encoded columns; a column of one value stays that one value."""
    return {
        name: data
        if len(data) == (width := WIDTHS[name])
        else data[start * width : (start + rows) * width]
        for name, data in columns.items()
    }


def _values(columns: dict[str, bytes], name: str, rows: int) -> list[int]:
    data = columns[name]
    if len(data) == WIDTHS[name]:
        data = data * rows
    values: list[int] = memoryview(data).cast(COLUMNS[name]).tolist()
    return values


def add_to_locust(stats: Any, tallies: Tallies, bucket: Any) -> None:
    """
    Add sums to Locust's statistics, as if each request had been logged on its own.

    Args:
        stats: ``locust.stats.RequestStats`` of the worker's environment.
        tallies: Sums of a chunk.
        bucket: ``locust.stats.bucket_response_time``; Locust keeps times this coarsely.
    """
    now = time.time()
    for (method, name), tally in tallies.items():
        for entry in (stats.total, stats.entries[(name, method)]):
            entry.num_requests += tally.rows
            entry.num_failures += tally.errors
            entry.num_reqs_per_sec[int(now)] += tally.rows
            if tally.errors:
                entry.num_fail_per_sec[int(now)] += tally.errors
            entry.last_request_timestamp = now
            entry.total_response_time += tally.response_us / US_PER_MS
            entry.total_content_length += tally.bytes
            slowest, quickest = tally.slowest_us / US_PER_MS, tally.quickest_us / US_PER_MS
            entry.max_response_time = max(entry.max_response_time, slowest)
            known = entry.min_response_time
            entry.min_response_time = quickest if known is None else min(known, quickest)
            for milliseconds, count in tally.by_ms.items():
                entry.response_times[bucket(milliseconds)] += count
