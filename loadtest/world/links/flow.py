"""
What a long way does to bytes: the scheduling core of the relay, without sockets or clocks.

Bytes keep their order and come out one one-way time after they were sent, where a sender sends at
once what its congestion window lets it, and the rest a round trip later.  Nothing ever sleeps: each
piece gets its due time when it arrives, so delays cannot add up.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Protocol

MSS = 1_448
"""Payload of one segment on a path with an MTU of 1500 and time stamps."""

FIRST_WINDOW = 10 * MSS
"""Bytes a sender may have in flight before the first acknowledgement (RFC 6928)."""

WINDOW_CEILING = 2 * 1024 * 1024
"""Largest window: about what Linux's default buffers let a receiver offer."""

IDLE_FLOOR_NS = 200_000_000
"""Shortest pause that starts a sender over (Linux's smallest retransmission time-out)."""

CAPACITY = 2 * WINDOW_CEILING
"""Bytes one direction holds before its sender is held back."""


class Mark(enum.Enum):
    """What may travel in a flow besides bytes."""

    END = "end"
    ABORT = "abort"


class Window:
    """
    The slow start of one sender, in rounds of one round-trip time.

    A round carries one window of bytes; a round that was used up doubles the next one, and a pause
    longer than ``max(200 ms, RTT)`` starts over.  After a loss the window is halved, or begins
    with one segment after a time-out, and beyond half of what it was it grows by a segment a round.

    Args:
        rtt_ns: Round-trip time of the path.

    Source: RFC 5681 3.1, 3.2 and 4.1, RFC 6928; Linux ``tcp_slow_start_after_idle``.
    """

    __slots__ = (
        "_idle_ns",
        "_last_ns",
        "_left",
        "_round_ns",
        "_rtt_ns",
        "_shrunk",
        "_size",
        "_threshold",
    )

    def __init__(self, rtt_ns: int) -> None:
        self._rtt_ns = rtt_ns
        self._idle_ns = max(IDLE_FLOOR_NS, rtt_ns)
        self._size = self._left = FIRST_WINDOW
        self._threshold, self._shrunk = WINDOW_CEILING, False
        self._round_ns = self._last_ns = -(1 << 62)

    def shrink(self, *, timed_out: bool) -> None:
        """Send less from the next round on: a segment was lost, and repeated after a time-out."""
        self._threshold = max(self._size // 2, 2 * MSS)
        self._size = MSS if timed_out else self._threshold
        self._left = min(self._left, self._size)
        self._shrunk = True

    def departures(self, size: int, at_ns: int) -> list[tuple[int, int]]:
        """
        Return when each part of ``size`` bytes, written at ``at_ns``, leaves the sender.

        Returns:
            Pairs of bytes and departure time, in order; their bytes sum to ``size``.
        """
        if at_ns - self._last_ns > self._idle_ns:
            self._size = self._left = FIRST_WINDOW
            self._round_ns = at_ns
        elif at_ns >= self._round_ns + self._rtt_ns:
            self._begin_round(at_ns)
        parts = []
        while size > 0:
            if not self._left:
                self._begin_round(self._round_ns + self._rtt_ns)
            part = min(size, self._left)
            self._left -= part
            size -= part
            self._last_ns = max(at_ns, self._round_ns)
            parts.append((part, self._last_ns))
        return parts

    def _begin_round(self, at_ns: int) -> None:
        if not (self._left or self._shrunk):
            grown = self._size + MSS
            if self._size < self._threshold:
                grown = min(2 * self._size, max(self._threshold, grown))
            self._size = min(grown, WINDOW_CEILING)
        self._left, self._shrunk = self._size, False
        self._round_ns = at_ns


class Carrier(Protocol):
    """A road between two regions, as a flow needs it."""

    @property
    def healthy(self) -> bool:
        """Tell whether it does nothing to what is sent."""
        ...

    def arrivals(
        self, size: int, departure_ns: int, rtt_ns: int, window: Window | None
    ) -> list[tuple[int, int]]:
        """Return parts of a piece and by how much longer than usual each is under way."""
        ...


class Flow:
    """
    One direction of one connection: what was sent and is not yet delivered.

    Args:
        delay_ns: One-way time.
        floor_ns: No byte leaves the sender before this time: the handshake.
        window: The sender's slow start; None for a sender without one.
        capacity: Bytes held before :attr:`full`.
        road: What is taken; None for one that is always in order.
    """

    __slots__ = (
        "_capacity",
        "_due_ns",
        "_floor_ns",
        "_queue",
        "_window",
        "delay_ns",
        "queued",
        "road",
    )

    def __init__(
        self,
        delay_ns: int,
        *,
        floor_ns: int = 0,
        window: Window | None = None,
        capacity: int = CAPACITY,
        road: Carrier | None = None,
    ) -> None:
        self.delay_ns = delay_ns
        self.road = road
        self.queued = 0
        self._floor_ns = floor_ns
        self._window = window
        self._capacity = capacity
        self._due_ns = 0
        self._queue: deque[tuple[int, bytes | Mark]] = deque()

    def feed(self, data: bytes, arrival_ns: int) -> None:
        """Take bytes that the sender wrote at ``arrival_ns``."""
        at_ns = max(arrival_ns, self._floor_ns)
        self.queued += len(data)
        if self._window is None:
            self._send(data, at_ns)
            return
        parts = self._window.departures(len(data), at_ns)
        if len(parts) == 1:
            self._send(data, parts[0][1])
            return
        start = 0
        for size, departure_ns in parts:
            self._send(data[start : start + size], departure_ns)
            start += size

    def finish(self, arrival_ns: int) -> None:
        """Take the sender's end of stream; it travels behind every byte."""
        at_ns = max(arrival_ns, self._floor_ns)
        if self.road is not None and not self.road.healthy:
            at_ns += self.road.arrivals(1, at_ns, 2 * self.delay_ns, self._window)[0][1]
        self._put(Mark.END, at_ns)

    def abort(self, arrival_ns: int) -> None:
        """Take the sender's reset; it needs no finished handshake, yet overtakes nothing."""
        self._put(Mark.ABORT, arrival_ns)

    def due_ns(self) -> int | None:
        """Return when the next piece is to be delivered; None when nothing is under way."""
        return self._queue[0][0] if self._queue else None

    def take(self, now_ns: int) -> bytes | Mark | None:
        """Remove and return the next piece due by ``now_ns``; None when there is none."""
        if not self._queue or self._queue[0][0] > now_ns:
            return None
        piece = self._queue.popleft()[1]
        if isinstance(piece, bytes):
            self.queued -= len(piece)
        return piece

    def put_back(self, rest: bytes) -> None:
        """Return to the front, due at once, what the receiver had no room for."""
        self.queued += len(rest)
        self._queue.appendleft((0, rest))

    def postpone(self, until_ns: int) -> None:
        """Let nothing of what is under way arrive before ``until_ns``."""
        self._queue = deque((max(due_ns, until_ns), piece) for due_ns, piece in self._queue)
        self._due_ns = max(self._due_ns, until_ns)

    def clear(self) -> None:
        """Drop everything: the receiver is gone."""
        self._queue.clear()
        self.queued = 0

    @property
    def full(self) -> bool:
        """Tell whether the sender must be held back."""
        return self.queued >= self._capacity

    @property
    def roomy(self) -> bool:
        """Tell whether a sender held back may go on; well below full, so that it is not toggled."""
        return self.queued <= self._capacity // 2

    def _send(self, data: bytes, departure_ns: int) -> None:
        """Put bytes on the road; a bad one tears them apart, and keeps their order."""
        if self.road is None or self.road.healthy:
            self._put(data, departure_ns)
            return
        start = 0
        rtt_ns = 2 * self.delay_ns
        for size, extra_ns in self.road.arrivals(len(data), departure_ns, rtt_ns, self._window):
            self._put(data[start : start + size], departure_ns + extra_ns)
            start += size

    def _put(self, piece: bytes | Mark, departure_ns: int) -> None:
        self._due_ns = max(departure_ns + self.delay_ns, self._due_ns)
        self._queue.append((self._due_ns, piece))
