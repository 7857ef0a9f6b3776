"""The timer on a real event loop: never early, in order, and free of what it waited with."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from loadtest.refapp.timer import PreciseTimer

pytestmark = pytest.mark.contract

MS = 1_000_000


def test_it_wakes_in_order_and_never_early() -> None:
    async def body() -> list[int]:
        timer = PreciseTimer()
        start = time.monotonic_ns()
        woken: list[int] = []

        async def wait(offset_ms: int) -> None:
            await timer.sleep_until(start + offset_ms * MS)
            assert time.monotonic_ns() >= start + offset_ms * MS
            woken.append(offset_ms)

        async with asyncio.timeout(10):
            await asyncio.gather(*(wait(offset) for offset in (30, 10, 0, 20, 5, -7)))
        timer.close()
        return woken

    assert asyncio.run(body()) == [0, -7, 5, 10, 20, 30]


def test_who_gives_up_does_not_hold_up_the_others() -> None:
    async def body() -> None:
        timer = PreciseTimer()
        start = time.monotonic_ns()
        first = asyncio.create_task(timer.sleep_until(start + 5 * MS))
        second = asyncio.create_task(timer.sleep_until(start + 10 * MS))
        await asyncio.sleep(0)
        first.cancel()
        async with asyncio.timeout(10):
            await second
        assert first.cancelled()
        timer.close()

    asyncio.run(body())


@pytest.mark.skipif(sys.platform != "linux", reason="counts files in /proc")
def test_closing_returns_its_file_and_ends_the_waiting() -> None:
    def files() -> int:
        return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))

    async def body() -> None:
        before = files()
        timer = PreciseTimer()
        assert files() == before + 1
        waiting = asyncio.create_task(timer.sleep_until(time.monotonic_ns() + 60_000 * MS))
        await asyncio.sleep(0)
        timer.close()
        timer.close()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert files() == before

    asyncio.run(body())
