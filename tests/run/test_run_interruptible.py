"""A signal cancels what is waited for, and raises nothing in the middle of a step."""

from __future__ import annotations

import asyncio
import threading

import pytest

from loadtest.run.interruptible import cancel_running, run_to_end


def test_what_is_waited_for_is_cancelled_and_cleans_up() -> None:
    ended: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("inner")

    async def waits() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
            asyncio.get_running_loop().call_soon(cancel_running)

    with pytest.raises(KeyboardInterrupt):
        run_to_end(waits())
    assert ended == ["inner"]
    assert not cancel_running()


def test_what_ends_by_itself_returns_and_raises_as_ever() -> None:
    async def returns() -> int:
        return 3

    async def fails() -> int:
        raise ValueError("no")

    assert run_to_end(returns()) == 3
    with pytest.raises(ValueError, match="no"):
        run_to_end(fails())


def test_a_thread_beside_is_left_alone() -> None:
    cancelled: list[bool] = []

    async def asks() -> None:
        cancelled.append(cancel_running())

    thread = threading.Thread(target=lambda: run_to_end(asks()))
    thread.start()
    thread.join()

    assert cancelled == [False]
