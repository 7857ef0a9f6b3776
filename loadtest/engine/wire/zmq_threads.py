"""ZeroMQ's own threads, which encrypt, kept behind the thread that measures."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import gevent

_THREADS, _THREAD_COUNT = "ZMQbg", 2  # what libzmq calls its threads: the reaper, one for input
_TASKS = Path("/proc/self/task")
_NICE = 10


def step_back(wait_s: float = 5.0) -> None:
    """
    Let ZeroMQ's own threads run behind this process's main thread, where the platform can (Linux).

    They encrypt a batch for a tenth of a millisecond at a time.  On a core that they share with the
    main thread they would do so whenever they like, in front of an arrival that is due.  A thread
    of libzmq names itself once it runs, on a busy machine after this: so they are waited for.

    Args:
        wait_s: How long a thread may take to get its name.
    """
    if not _TASKS.is_dir():
        return
    nice = os.nice(0) + _NICE
    until = time.monotonic() + wait_s
    while len(threads := _zmq_threads()) < _THREAD_COUNT and time.monotonic() < until:
        gevent.sleep(0.001)
    for thread in threads:
        with contextlib.suppress(OSError):  # it may have ended since it was listed
            os.setpriority(os.PRIO_PROCESS, thread, nice)


def _zmq_threads() -> list[int]:
    found = []
    for task in _TASKS.iterdir():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text(encoding="utf-8").startswith(_THREADS):
                found.append(int(task.name))
    return found
