"""The load profile: arrivals per second as a piecewise linear function of time, and its inverse."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from loadtest.plan.model import Load
from loadtest.units import NS_PER_S

Inverse = Callable[[Sequence[float]], list[int]]


@dataclass(frozen=True, slots=True)
class _Piece:
    start_s: Fraction
    duration_s: Fraction
    from_rate: Fraction
    to_rate: Fraction
    before: Fraction  # arrivals expected before this piece

    def arrivals(self, elapsed_s: Fraction) -> Fraction:
        slope = (self.to_rate - self.from_rate) / self.duration_s
        return self.from_rate * elapsed_s + slope * elapsed_s * elapsed_s / 2


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """
    Expected arrivals of one arm over time, in exact fractions.

    Floats of the plan are taken as the decimals a person wrote (0.1 is a tenth), so that
    rate times duration is the number of arrivals and never one less.
    """

    pieces: tuple[_Piece, ...]
    duration_s: Fraction

    @classmethod
    def of(cls, load: Load) -> LoadProfile:
        """Return the profile of a plan's load: its stages, or its constant rate."""
        if not load.stages:
            return cls.constant(_exact(load.rate), _exact(load.duration_s))
        pieces: list[_Piece] = []
        at, before = Fraction(0), Fraction(0)
        for stage in load.stages:
            rates = _exact(stage.from_rate), _exact(stage.to_rate)
            piece = _Piece(at, _exact(stage.duration_s), *rates, before)
            pieces.append(piece)
            at += piece.duration_s
            before += piece.arrivals(piece.duration_s)
        return cls(tuple(pieces), at)

    @classmethod
    def constant(cls, rate: Fraction, duration_s: Fraction) -> LoadProfile:
        """Return a profile of one rate; a duration of 0 makes an empty one."""
        if duration_s == 0:
            return cls((), duration_s)
        return cls((_Piece(Fraction(0), duration_s, rate, rate, Fraction(0)),), duration_s)

    @property
    def opening_rate(self) -> Fraction:
        """The first rate above zero: what a warm-up runs at."""
        rates = [rate for p in self.pieces for rate in (p.from_rate, p.to_rate) if rate > 0]
        return rates[0] if rates else Fraction(0)

    def cumulative(self, moment_s: Fraction) -> Fraction:
        """Return the arrivals expected from the start until a moment of the profile."""
        for piece in reversed(self.pieces):
            if moment_s >= piece.start_s:
                elapsed = min(moment_s - piece.start_s, piece.duration_s)
                return piece.before + piece.arrivals(elapsed)
        return Fraction(0)

    def inverse(self, start_s: Fraction, end_s: Fraction) -> Inverse:
        """
        Return a function from expected arrivals since ``start_s`` to nanoseconds of the profile.

        Its results increase where its arguments do, from ``start_s`` up to ``end_s``.
        Plain IEEE arithmetic and square roots only: the same bits on every platform.
        """
        spans = [
            _Span.of(piece, max(start_s, piece.start_s), self.cumulative(start_s))
            for piece in self.pieces
            if min(end_s, piece.start_s + piece.duration_s) > max(start_s, piece.start_s)
        ]
        rising = [span for span in spans if span.rate > 0 or span.slope > 0]
        if len(rising) == 1 and rising[0].slope == 0:
            base, scale = rising[0].start_ns, NS_PER_S / rising[0].rate
            shift = rising[0].first
            return lambda counts: [int(base + (c - shift) * scale) for c in counts]
        firsts = [span.first for span in rising]
        return lambda counts: [
            rising[max(0, bisect_right(firsts, c) - 1)].moment_ns(c) for c in counts
        ]


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of one piece in floats: ``first`` arrivals are expected before it begins."""

    first: float
    start_ns: float
    rate: float
    slope: float

    @classmethod
    def of(cls, piece: _Piece, start_s: Fraction, origin: Fraction) -> _Span:
        slope = (piece.to_rate - piece.from_rate) / piece.duration_s
        elapsed = start_s - piece.start_s
        rate = piece.from_rate + slope * elapsed
        first = piece.before + piece.arrivals(elapsed) - origin
        return cls(float(first), float(start_s * NS_PER_S), float(rate), float(slope))

    def moment_ns(self, count: float) -> int:
        """Solve rate * t + slope * t^2 / 2 = count - first for t."""
        wanted = count - self.first
        if self.slope == 0:
            return int(self.start_ns + wanted / self.rate * NS_PER_S)
        root = math.sqrt(max(0.0, self.rate * self.rate + 2 * self.slope * wanted))
        # the form without cancellation: t = 2 w / (rate + root)
        return int(self.start_ns + 2 * wanted / (self.rate + root) * NS_PER_S)


def _exact(value: float) -> Fraction:
    return Fraction(str(value))
