"""Sends the numbers of a run to Prometheus' remote write, and to what takes that."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import httpx

from loadtest.errors import RecordsError
from loadtest.run.output_series import TIMEOUT_S, OutputSeries, Remote
from loadtest.text import one_line
from loadtest.units import NS_PER_MS

PATH: Final = "/api/v1/write"
_LITERAL: Final = 1 << 16
_SHORT: Final = 60


def send(target: Remote, series: Sequence[OutputSeries], wall_ns: int) -> None:
    """
    Send series, once.

    Args:
        target: Where to.
        series: What to send.
        wall_ns: When the run ended, nanoseconds since 1970.

    Raises:
        RecordsError: They were not taken; says by whom and why.
    """
    headers = {
        "content-type": "application/x-protobuf",
        "content-encoding": "snappy",
        "x-prometheus-remote-write-version": "0.1.0",
        "user-agent": "loadtest",
        **target.headers,
    }
    body = snappy_framed(write_request(series, wall_ns // NS_PER_MS))
    try:
        answer = httpx.post(
            target.url, content=body, headers=headers, timeout=TIMEOUT_S, trust_env=False
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RecordsError(
            f"{target.url}: {one_line(str(error)) or type(error).__name__}"
        ) from error
    if answer.status_code // 100 != 2:
        said = one_line(answer.text)[:200]
        raise RecordsError(f"{target.url}: answered HTTP {answer.status_code}: {said}")


def write_request(series: Iterable[OutputSeries], wall_ms: int) -> bytes:
    """
    Return a remote-write request of version 1.0, not compressed.

    Source: Prometheus Remote-Write 1.0 specification.  WriteRequest.timeseries = 1;
    TimeSeries.labels = 1, samples = 2; Label.name = 1, value = 2; Sample.value = 1 (double),
    timestamp = 2 (int64, milliseconds).
    """
    message = b""
    for one in series:
        labels = sorted({"__name__": one.name, **one.labels}.items())  # the specification's order
        body = b"".join(
            _field(1, _field(1, name.encode()) + _field(2, value.encode()))
            for name, value in labels
            if value
        )
        sample = b"\x09" + struct.pack("<d", one.value) + b"\x10" + _varint(wall_ms)
        message += _field(1, body + _field(2, sample))
    return message


def snappy_framed(content: bytes) -> bytes:
    """
    Return content in Snappy's block format, all of it as literals: valid, and not smaller.

    Source: google/snappy, format_description.txt: the length as a varint, then elements.  A literal
    of up to 60 bytes has its length less one in the tag, one of up to 65 536 in the two bytes after
    tag 61.
    """
    parts = [content[at : at + _LITERAL] for at in range(0, len(content), _LITERAL)]
    return _varint(len(content)) + b"".join(_tag(len(part)) + part for part in parts)


def _tag(length: int) -> bytes:
    if length <= _SHORT:
        return bytes([(length - 1) << 2])
    return bytes([61 << 2]) + struct.pack("<H", length - 1)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
