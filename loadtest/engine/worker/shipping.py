"""
Gets every row to the coordinator, or says how many did not get there.

Batches carry numbers and are kept until acknowledged; after a broken link they are sent again, and
the coordinator drops what it has already.  Memory is bounded: beyond the limit a batch is given up,
its rows are counted as lost, and the run says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadtest.units import NS_PER_S

LIMIT_BYTES = 24 << 20
"""Encoded rows a worker keeps while its coordinator is away: half a million plain ones."""

WINDOW = 64
"""Batches under way at once; bounds what a link carries twice after it broke."""

RESEND_AFTER_NS = int(1.5 * NS_PER_S)
_LONGEST_WAIT_NS = 8 * NS_PER_S


@dataclass(slots=True)
class _Parcel:
    batch: dict[str, Any]
    rows: int
    size: int
    sent_ns: int = 0
    tries: int = 0


class Shipper:
    """
    Numbers, sends, keeps and re-sends batches.

    Args:
        send: Hands one batch to the connection; may silently lose it.
        limit_bytes: Bound of what is kept.
        window: Batches under way at once.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any]], None],
        limit_bytes: int = LIMIT_BYTES,
        window: int = WINDOW,
    ) -> None:
        self.resends = 0
        self.lost_rows = 0
        self.acknowledged_rows = 0
        self.held_bytes = 0
        self._send = send
        self._limit = limit_bytes
        self._window = window
        self._next = 0
        self._under_way: dict[int, _Parcel] = {}
        self._waiting: dict[int, _Parcel] = {}

    def redirect(self, send: Callable[[dict[str, Any]], None]) -> None:
        """Send later batches by another way: a new segment counts on with the same shipper."""
        self._send = send

    @property
    def drained(self) -> bool:
        """Whether every batch that was not given up is acknowledged."""
        return not self._under_way and not self._waiting

    @property
    def held_rows(self) -> int:
        """Rows that are kept and not yet acknowledged."""
        return sum(p.rows for kept in (self._under_way, self._waiting) for p in kept.values())

    def add(self, batch: dict[str, Any], now_ns: int) -> None:
        """
        Take a batch on; it is sent at once when the window allows.

        Args:
            batch: Encoded chunk with ``rows`` and ``columns``; gets a ``seq``.
            now_ns: Monotonic time.
        """
        size = sum(len(data) for data in batch["columns"].values()) + 2_000
        if self.held_bytes + size > self._limit:
            self.lost_rows += batch["rows"]
            return
        batch["seq"] = self._next
        self._waiting[self._next] = _Parcel(batch, batch["rows"], size)
        self._next += 1
        self.held_bytes += size
        self._fill(now_ns)

    def acknowledge(self, numbers: list[int], now_ns: int) -> None:
        """Let go of batches that the coordinator has; unknown numbers are old news."""
        for number in numbers:
            parcel = self._under_way.pop(number, None) or self._waiting.pop(number, None)
            if parcel is not None:
                self.held_bytes -= parcel.size
                self.acknowledged_rows += parcel.rows
        self._fill(now_ns)

    def resend(
        self,
        now_ns: int,
        patience_ns: int = RESEND_AFTER_NS,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Send again what has been under way for too long; the wait doubles with every try.

        Args:
            now_ns: Monotonic time.
            patience_ns: How long the first wait is.
            breathe: Called after each batch, to let others run.
        """
        for number, parcel in list(self._under_way.items()):
            wait = min(patience_ns << (parcel.tries - 1), _LONGEST_WAIT_NS)
            # during a breath it may have been acknowledged
            if now_ns - parcel.sent_ns >= wait and number in self._under_way:
                self.resends += 1
                self._dispatch(parcel, now_ns)
                breathe()

    def _fill(self, now_ns: int) -> None:
        while self._waiting and len(self._under_way) < self._window:
            number = next(iter(self._waiting))
            parcel = self._under_way[number] = self._waiting.pop(number)
            self._dispatch(parcel, now_ns)

    def _dispatch(self, parcel: _Parcel, now_ns: int) -> None:
        parcel.sent_ns = now_ns
        parcel.tries += 1
        self._send(parcel.batch)
