"""
How a batch of rows travels from worker to coordinator: columns of fixed width, little-endian.

Standard library only: the packing side runs in a worker, which carries no Parquet library.  A
column whose value is the same in the whole batch travels as that one value.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

COLUMNS: Final[dict[str, Literal["q", "i", "h", "b", "B"]]] = {
    # name -> struct code; ordered by width, so that a row needs no padding between its fields
    "arrival": "q",
    "intended_us": "q",
    "start_us": "q",
    "bytes": "q",
    "block": "i",
    "queue_us": "i",
    "dns_us": "i",
    "connect_us": "i",
    "tls_us": "i",
    "send_us": "i",
    "wait_us": "i",
    "wait_user_us": "i",
    "receive_us": "i",
    "db_us": "i",
    "app_us": "i",
    "status": "h",
    "db_round_trips": "h",
    "name": "h",
    "served_by": "B",
    "deployment": "B",
    "scenario": "B",
    "stage": "B",
    "error": "B",
    "clock": "B",
    "protocol": "B",
    "attempts": "b",
    "reused": "B",
    "cold": "B",
    "replayed": "B",
}
"""Every column of the records but ``worker``, ``region`` and ``row``, which are the batch's own."""

CODED: Final = (
    *("name", "served_by", "deployment", "scenario", "stage", "error", "clock", "protocol"),
)
"""Columns that hold an index into the batch's list of words for that column."""

FLAGS: Final = ("reused", "cold", "replayed")

WIDTHS: Final = {name: struct.calcsize(f"<{code}") for name, code in COLUMNS.items()}

_FIELDS = "".join(COLUMNS.values())
_PADDING = -struct.calcsize(f"<{_FIELDS}") % 8
ROW: Final = struct.Struct(f"<{_FIELDS}{_PADDING}x")
"""One row; its size is a multiple of 8, so that a column is a strided view of a buffer of rows."""

MAX_WORDS: Final = {name: 250 if COLUMNS[name] == "B" else 10_000 for name in CODED}
"""Words of a column that a worker tells apart; later ones are counted under ``OTHER``."""

OTHER: Final = "(other)"

MAX_LETTERS: Final = 1_000
"""Letters of a word that a worker keeps: a name may be made of what an app answered."""


def shortened(word: str) -> str:
    """Return a word as long as rows hold one."""
    return word if len(word) <= MAX_LETTERS else f"{word[: MAX_LETTERS - 1]}…"


def offset_of(column: str) -> int:
    """Return where a column's value begins in a packed row, in bytes."""
    names = list(COLUMNS)
    return sum(WIDTHS[name] for name in names[: names.index(column)])
