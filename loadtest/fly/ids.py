"""
Names that sort by time: ULIDs, as Fly uses them for instances, events and requests.

Source: github.com/ulid/spec: 48 bits of milliseconds since the epoch and 80 random bits, in
Crockford's base 32.
"""

from __future__ import annotations

import secrets
import time
from typing import Final

from loadtest.units import NS_PER_MS

_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MILLISECOND_BITS: Final = 48
_RANDOM_BITS: Final = 80
_LETTER_BITS: Final = 5
_COUNT: Final = 26


def ulid(now_ms: int, entropy: int) -> str:
    """Return the ULID of a moment and of some random bits; of either what fits is taken."""
    moment = now_ms & (1 << _MILLISECOND_BITS) - 1
    number = moment << _RANDOM_BITS | entropy & (1 << _RANDOM_BITS) - 1
    places = range(_LETTER_BITS * (_COUNT - 1), -1, -_LETTER_BITS)
    return "".join(_LETTERS[number >> place & 31] for place in places)


def new_ulid() -> str:
    """Return a fresh ULID."""
    return ulid(time.time_ns() // NS_PER_MS, secrets.randbits(_RANDOM_BITS))
