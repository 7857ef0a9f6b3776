"""
A timer that wakes when it was asked to.

An event loop on epoll rounds its time-outs up to whole milliseconds, so `asyncio.sleep` is late
by 0.6 ms on average and by up to 1.3 ms.  On Linux a timerfd is a file that becomes readable at
the moment itself; elsewhere the loop's own timer has to do.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time

from loadtest.kernel.timerfd import open_timerfd

_NS_PER_S = 1_000_000_000


class PreciseTimer:
    """
    Wakes coroutines at moments of CLOCK_MONOTONIC.

    One kernel timer serves all who wait, set to the earliest of them.  Belongs to the event loop
    that runs when it is made; `close` returns its file.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._kernel = open_timerfd()
        if self._kernel is not None:
            self._loop.add_reader(self._kernel.fd, self._expired)

    async def sleep_until(self, due_ns: int) -> None:
        """
        Sleep until a moment of `time.monotonic_ns`; return at once if it has passed.

        Args:
            due_ns: The moment, in nanoseconds.
        """
        remaining_ns = due_ns - time.monotonic_ns()
        if remaining_ns <= 0:
            return
        if self._kernel is None:
            await asyncio.sleep(remaining_ns / _NS_PER_S)
            return
        future: asyncio.Future[None] = self._loop.create_future()
        heapq.heappush(self._waiting, (due_ns, next(self._order), future))
        if self._waiting[0][2] is future:
            self._kernel.arm(due_ns)
        await future

    def close(self) -> None:
        """Close the kernel timer; whoever still waits is cancelled."""
        for _, _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        if self._kernel is not None:
            self._loop.remove_reader(self._kernel.fd)
            self._kernel.close()
            self._kernel = None

    def _expired(self) -> None:
        """Wake everyone who is due, and set the timer for the next."""
        assert self._kernel is not None
        if not self._kernel.clear():
            return  # set anew between expiry and this call
        now_ns = time.monotonic_ns()
        while self._waiting and self._waiting[0][0] <= now_ns:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
        if self._waiting:
            self._kernel.arm(self._waiting[0][0])
