"""
What a bad road does to a stream: loss, reordering, jitter, a bottleneck, a cut.

A link carries streams, not packets, so a lost segment is what its loss costs the stream: the time
until TCP has sent it again, and a smaller window after it.  What follows in the stream waits
behind, as it must.  Only segments of one piece, which a sender writes at once, know of each other:

* **Fast retransmit**: three segments behind the lost one make the sender repeat it a round trip
  later (RFC 5681 3.2, RFC 6675), and it halves its window.
* **Tail loss**: fewer behind it, and a probe goes out after two round trips (RFC 8985 7.2), plus
  200 ms when there is one segment alone, never later than the retransmission time-out.
* **Time-out**: one round trip plus 200 ms, twice as long each time the repeated segment is lost
  too (RFC 6298 5.5; 200 ms is Linux's least variance, where the RFC's least time-out is 1 s).
* **Handshake**: a lost SYN is repeated after 1 s, then 2 s, 4 s (RFC 6298 2.1).
* **Jitter** is drawn for each piece: ``gamma`` with shape 2 (a shifted gamma describes one-way
  delays of the Internet: Mukherjee, "On the dynamics and significance of low frequency components
  of Internet load", 1994), ``uniform`` from 0 to twice the mean, or ``pareto`` with shape 3, whose
  tail is heavier than any of these.
* **Bottleneck**: a queue in front of a sender of bits, drop-tail.
"""

from __future__ import annotations

import random

from loadtest.faults import RoadCondition
from loadtest.world.links.flow import MSS, Window

RTO_FLOOR_NS = 200_000_000
"""Linux's least variance in a retransmission time-out, and longest delay of an acknowledgement."""

RTO_CEILING_NS = 120_000_000_000
"""Longest pause between two retransmissions (Linux; RFC 6298 allows 60 s and more)."""

SYN_TIMEOUT_NS = 1_000_000_000
"""First time-out of a handshake (RFC 6298 2.1)."""

_DUPLICATES = 3
_LEAST_QUEUE = 10 * MSS
_HEALTHY = RoadCondition()
_BITS_PER_BYTE = 8
_GAMMA_SHAPE, _PARETO_SHAPE = 2.0, 3.0
_NS_PER_S = 1_000_000_000


class Road:
    """One direction between two regions, for all connections that take it."""

    def __init__(self) -> None:
        self.condition = _HEALTHY
        self._random = random.Random(0)
        self._free_ns = 0

    def sow(self, seed: str) -> None:
        """Begin to draw anew: the same seed draws the same in the order that pieces are sent."""
        self._random.seed(seed)

    @property
    def cut(self) -> bool:
        """Tell whether nothing arrives."""
        return self.condition.cut

    @property
    def healthy(self) -> bool:
        """Tell whether it does nothing to what is sent."""
        return self.condition is _HEALTHY

    def set(self, condition: RoadCondition) -> None:
        """Let it be so from now on, for what is sent from now on."""
        self.condition = _HEALTHY if condition == _HEALTHY else condition
        self._free_ns = 0

    def arrivals(
        self, size: int, departure_ns: int, rtt_ns: int, window: Window | None
    ) -> list[tuple[int, int]]:
        """
        Return by how much longer than usual each part of a piece is under way.

        Args:
            size: Bytes of the piece.
            departure_ns: When it leaves the sender.
            rtt_ns: Round-trip time of the path.
            window: The sender's window, which shrinks after a loss.

        Returns:
            Pairs of bytes and extra time; their bytes sum to ``size``.
        """
        segments = max(1, -(-size // MSS))
        common_ns = self.condition.delay_ns + self._jitter_ns()
        waits = self._pass_bottleneck(segments, departure_ns, rtt_ns)
        lost = [wait is None or self._happens(self.condition.loss) for wait in waits]
        told: list[tuple[int, int]] = []
        for number, wait_ns in enumerate(waits):
            extra_ns = common_ns + (wait_ns or 0)
            behind = lost.count(False) - lost[:number].count(False) - (not lost[number])
            if lost[number]:
                extra_ns += self._repair_ns(segments, number, behind, rtt_ns, window)
            elif self._happens(self.condition.reorder):
                extra_ns += self.condition.reorder_ns
                if behind >= _DUPLICATES and window is not None:
                    window.shrink(timed_out=False)  # the sender takes it for a loss
            part = min(MSS, size - number * MSS)
            if told and told[-1][1] == extra_ns:
                told[-1] = (told[-1][0] + part, extra_ns)
            else:
                told.append((part, extra_ns))
        return told

    def handshake_ns(self) -> int:
        """Return by how much longer than usual one segment of a handshake takes."""
        extra_ns, timeout_ns = self.condition.delay_ns + self._jitter_ns(), SYN_TIMEOUT_NS
        while self._happens(self.condition.loss):
            extra_ns += timeout_ns
            timeout_ns *= 2
        return extra_ns

    def _repair_ns(
        self, segments: int, number: int, behind: int, rtt_ns: int, window: Window | None
    ) -> int:
        """Return how long it takes until a lost segment, with ``behind`` after it, is repeated."""
        timeout_ns = rtt_ns + RTO_FLOOR_NS
        timed_out = False
        if behind >= _DUPLICATES:
            repair_ns = rtt_ns
        else:
            probe_ns = 2 * rtt_ns + (RTO_FLOOR_NS if segments == 1 else 0)
            repair_ns, timed_out = min(probe_ns, timeout_ns), probe_ns >= timeout_ns
            if number < segments - 1:  # the probe shows what is missing; then it is sent
                repair_ns += rtt_ns
        while self._happens(self.condition.loss):
            repair_ns += timeout_ns
            timeout_ns = min(2 * timeout_ns, RTO_CEILING_NS)
            timed_out = True
        if window is not None:
            window.shrink(timed_out=timed_out)
        return repair_ns

    def _happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def _jitter_ns(self) -> int:
        mean_ns = self.condition.jitter_ns
        if not mean_ns:
            return 0
        kind = self.condition.jitter
        if kind == "gamma":
            return round(self._random.gammavariate(_GAMMA_SHAPE, mean_ns / _GAMMA_SHAPE))
        if kind == "uniform":
            return round(self._random.uniform(0, 2 * mean_ns))
        # Pareto from 1 on has the mean a/(a-1): less 1 it begins at 0 and has the mean 1/(a-1).
        return round(
            (self._random.paretovariate(_PARETO_SHAPE) - 1) * mean_ns * (_PARETO_SHAPE - 1)
        )

    def _pass_bottleneck(self, segments: int, at_ns: int, rtt_ns: int) -> list[int | None]:
        """Return how long each segment waits and is being sent; None for what finds no room."""
        if not self.condition.bits_per_s:
            return [0] * segments
        ns_a_byte = _BITS_PER_BYTE * _NS_PER_S / self.condition.bits_per_s
        room_ns = self.condition.queue_bytes * ns_a_byte or max(_LEAST_QUEUE * ns_a_byte, rtt_ns)
        waits: list[int | None] = []
        self._free_ns = max(self._free_ns, at_ns)
        for _ in range(segments):
            if self._free_ns - at_ns > room_ns:
                waits.append(None)
                continue
            self._free_ns += round(MSS * ns_a_byte)
            waits.append(self._free_ns - at_ns)
        return waits


def next_try_ns(first_ns: int, now_ns: int, rtt_ns: int) -> int:
    """
    Return when a sender whose segments did not arrive sends the first of them again.

    Args:
        first_ns: When it should have arrived.
        now_ns: Since when segments arrive again.
        rtt_ns: Round-trip time of the path.

    Source: RFC 6298 5.5: the time-out doubles each time.
    """
    timeout_ns = rtt_ns + RTO_FLOOR_NS
    try_ns = first_ns
    while try_ns < now_ns:
        try_ns += timeout_ns
        timeout_ns = min(2 * timeout_ns, RTO_CEILING_NS)
    return try_ns
