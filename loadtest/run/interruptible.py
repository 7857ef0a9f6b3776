"""Runs coroutines so that a signal cancels them where they wait, not in the middle of a step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Final, TypeVar

_T = TypeVar("_T")

_running: Final[list[asyncio.Task[object]]] = []
"""What the main thread runs just now: one at most."""


def run_to_end(coroutine: Coroutine[object, object, _T]) -> _T:
    """
    Run a coroutine as ``asyncio.run`` does, and return what it returns.

    An exception that a signal's handler raises comes out of whatever is under way just then: an
    import, a callback of the loop, a task that nobody waits for any more.

    Raises:
        KeyboardInterrupt: `cancel_running` was called meanwhile.
    """

    async def cancellable() -> _T:
        task = asyncio.current_task()
        assert task is not None
        if threading.current_thread() is not threading.main_thread():
            return await coroutine
        _running.append(task)
        try:
            return await coroutine
        finally:
            _running.remove(task)

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def cancel_running() -> bool:
    """Cancel what `run_to_end` runs in the main thread; tell whether there was anything."""
    for task in _running:
        task.get_loop().call_soon_threadsafe(task.cancel)
    return bool(_running)
