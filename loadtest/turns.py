"""Whose turn it is, where a share of what comes one after the other is treated differently."""

from __future__ import annotations

import math
from typing import Final

_GOLDEN: Final = (math.sqrt(5) - 1) / 2


class Turns:
    """
    Spreads a share evenly, and beside whatever comes in a rhythm of its own.

    Of n in a row a share s has s * n turns but for a few, where draws by chance would scatter by
    the root of n: a mean of them needs fewer requests.

    Source: multiples of an irrational number are spread evenly (Weyl, 1916), those of the golden
    ratio the most (Knuth, The Art of Computer Programming 3, 6.4).
    """

    __slots__ = ("_place",)

    def __init__(self) -> None:
        self._place = 0.0

    def take(self, share: float) -> bool:
        """
        Tell whether the next one has a turn.

        Args:
            share: 0 for never to 1 for always.
        """
        self._place = (self._place + _GOLDEN) % 1.0
        return self._place < share
