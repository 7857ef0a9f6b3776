"""
The cut between measuring and judging: one row a request, in this schema and no other.

SCHEMA_VERSION history:
    1  first
    2  cold: whether the plan or the scenario asked for a new connection
    3  protocol: HTTP/1.1 or HTTP/2

Units: ``_us`` columns are whole microseconds.  Times on the time line count from the run's epoch
(``epoch_wall_ns`` in engine.json) on the coordinator's clock.  A phase that did not happen is 0.

| column | type | meaning |
|---|---|---|
| worker | dict | id of the worker that sent the request |
| row | int64 | the worker's own count, 0, 1, 2, ... without a gap: how loss is noticed |
| region | dict | where the worker runs, the client's region |
| deployment | dict | arm: name of the deployment (or variant, or revision) |
| scenario | dict | name of the scenario |
| name | dict | name of the request, such as ``GET /recipes`` |
| stage | dict | ``warm-up`` or ``steady`` |
| block | int32 | block of the schedule that the arrival belongs to; counts on over segments |
| arrival | int64 | index in the whole schedule of this region; requests of one arrival share it |
| intended_us | int64 | intended start |
| start_us | int64 | actual start of the request; -1 when dropped |
| queue_us | int32 | intended start to actual start, where the request is an arrival's first |
| dns_us connect_us tls_us send_us | int32 | phases before the first byte could come |
| wait_us | int32 | last request byte handed to the kernel to first response byte: **TTFB** |
| wait_user_us | int32 | the same by user-space stamps: the gap tells how late the process was |
| receive_us | int32 | first to last response byte |
| status | int16 | HTTP status; 0 when there was none |
| error | dict | empty, or a kind of ERROR_KINDS |
| bytes | int64 | response bytes on the wire, head and body |
| reused | bool | the connection had carried a request before |
| cold | bool | a new connection was asked for: a first visit; else opening one is part of TTFB |
| attempts | int8 | 1; 2 after a stale connection (such a row is no TTFB sample) |
| clock | dict | ``kernel`` or ``user``: what stamped the first byte |
| protocol | dict | ``1.1`` or ``2``: the version of HTTP spoken; empty where none was |
| served_by | dict | region that answered, from the Fly-Region response header; empty if unknown |
| replayed | bool | the answer came by way of fly-replay (Server-Timing ``replay``) |
| db_round_trips | int16 | sequential database round trips that the app reports; -1 unknown |
| db_us app_us | int32 | time that the app reports in Server-Timing; -1 unknown |
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from loadtest.records.kinds import ERROR_DROPPED, ERROR_KINDS, STAGE_STEADY, STAGE_WARM_UP

__all__ = [
    "ERROR_DROPPED",
    "ERROR_KINDS",
    "RECORDS",
    "SCHEMA_VERSION",
    "STAGE_STEADY",
    "STAGE_WARM_UP",
]

SCHEMA_VERSION: Final = 3

_NAME = pa.dictionary(pa.int32(), pa.string())

RECORDS = pa.schema(
    [
        pa.field("worker", _NAME),
        pa.field("row", pa.int64()),
        pa.field("region", _NAME),
        pa.field("deployment", _NAME),
        pa.field("scenario", _NAME),
        pa.field("name", _NAME),
        pa.field("stage", _NAME),
        pa.field("block", pa.int32()),
        pa.field("arrival", pa.int64()),
        pa.field("intended_us", pa.int64()),
        pa.field("start_us", pa.int64()),
        pa.field("queue_us", pa.int32()),
        pa.field("dns_us", pa.int32()),
        pa.field("connect_us", pa.int32()),
        pa.field("tls_us", pa.int32()),
        pa.field("send_us", pa.int32()),
        pa.field("wait_us", pa.int32()),
        pa.field("wait_user_us", pa.int32()),
        pa.field("receive_us", pa.int32()),
        pa.field("status", pa.int16()),
        pa.field("error", _NAME),
        pa.field("bytes", pa.int64()),
        pa.field("reused", pa.bool_()),
        pa.field("cold", pa.bool_()),
        pa.field("attempts", pa.int8()),
        pa.field("clock", _NAME),
        pa.field("protocol", _NAME),
        pa.field("served_by", _NAME),
        pa.field("replayed", pa.bool_()),
        pa.field("db_round_trips", pa.int16()),
        pa.field("db_us", pa.int32()),
        pa.field("app_us", pa.int32()),
    ],
    metadata={"loadtest_schema": str(SCHEMA_VERSION)},
)
