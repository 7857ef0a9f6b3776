"""
Reads the two answer headers that a row needs: Fly-Region and Server-Timing.

Every request of a run passes here, so the usual spelling is read by one match of one expression.

Source: https://www.w3.org/TR/server-timing/; the metrics' names are those of the reference app:
``app;dur=12.3, db;dur=4.5;desc="2", region;desc="cdg", replay;desc="syd;captured"``.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, NamedTuple

from loadtest.units import US_PER_MS

UNKNOWN: Final = -1

_REMEMBERED = 4096
_MAX_HEADER = 1024  # a longer header is no measurement, and would take long to take apart
_MAX_US = 2**31 - 1  # the record's column is an int32
_MAX_ROUND_TRIPS = 2**15 - 1
# numbers short enough for their columns, so that no check is needed after the match
_NUMBER = rb"(\d{1,6}(?:\.\d{0,9})?)"
_USUAL = re.compile(
    rb"app;dur=" + _NUMBER + rb"(?:, ?db;dur=" + _NUMBER + rb'(?:;desc="(\d{1,4})")?)?'
    rb'(?:, ?region;desc="[^",;]{0,32}")?(, ?replay;desc="[^"]{0,64}")?'
).fullmatch
_METRIC = re.compile(
    r'\s*([!#$%&\'*+.^_`|~\w-]++)((?:[^,"]|"(?:[^"\\]|\\.)*+")*+)(?:,|$)', re.ASCII
)
_PARAM = re.compile(r';\s*(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,"\s]*))', re.ASCII)


class ServerTiming(NamedTuple):
    """Times that the app reports; ``UNKNOWN`` (-1) where it does not."""

    app_us: int
    db_us: int
    db_round_trips: int
    replayed: bool


NOTHING: Final = ServerTiming(UNKNOWN, UNKNOWN, UNKNOWN, False)


def parse_server_timing(header: bytes) -> ServerTiming:
    """
    Return what a Server-Timing header says; a malformed part counts as not said.

    Args:
        header: The raw value; several headers are joined by a comma.
    """
    usual = _USUAL(header)
    if usual is not None:
        app, db, trips, replay = usual.groups()
        return ServerTiming(
            int(float(app) * US_PER_MS + 0.5),
            UNKNOWN if db is None else int(float(db) * US_PER_MS + 0.5),
            UNKNOWN if trips is None else int(trips),
            replay is not None,
        )
    return _parse_unusual(header)


@lru_cache(maxsize=_REMEMBERED)
def _parse_unusual(header: bytes) -> ServerTiming:
    if not header or len(header) > _MAX_HEADER:
        return NOTHING
    app_us = db_us = db_round_trips = UNKNOWN
    replayed = False
    for metric in _METRIC.finditer(header.decode("latin-1")):
        name = metric[1].lower()
        if name not in ("app", "db", "replay"):
            continue
        params = {p[1].lower(): p[3] if p[2] is None else p[2] for p in _PARAM.finditer(metric[2])}
        if name == "app":
            app_us = _duration_us(params.get("dur"))
        elif name == "db":
            db_us = _duration_us(params.get("dur"))
            db_round_trips = _count(params.get("desc"))
        else:
            replayed = True
    return ServerTiming(app_us, db_us, db_round_trips, replayed)


def _duration_us(text: str | None) -> int:
    try:
        value_ms = float(text or "")
    except ValueError:
        return UNKNOWN
    if not math.isfinite(value_ms) or value_ms < 0:
        return UNKNOWN
    return min(round(value_ms * US_PER_MS), _MAX_US)


def _count(text: str | None) -> int:
    if text and text.isascii() and text.isdigit() and len(text) < 10:
        return min(int(text), _MAX_ROUND_TRIPS)
    return UNKNOWN


@lru_cache(maxsize=_REMEMBERED)
def parse_region(header: bytes) -> str:
    """Return the region code of a Fly-Region header; empty if it is none."""
    text = header.decode("latin-1").strip().lower()
    return text if len(text) <= 32 and re.fullmatch(r"[a-z0-9-]+", text) else ""
