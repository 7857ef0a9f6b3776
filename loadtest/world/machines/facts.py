"""Facts about the computer that a world runs on, so that a report can tell how big it was."""

from __future__ import annotations

import os
import platform

from loadtest.records.world_facts import ComputerFacts

_MB = 1_048_576


def machine_facts() -> ComputerFacts:
    """Return CPUs that this process may use, memory, kernel and platform."""
    return ComputerFacts(
        platform=platform.platform(),
        cpus=_usable_cpus(),
        memory_mb=_memory_mb(),
        kernel=platform.release(),
    )


def _usable_cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MB
    except (ValueError, OSError):
        return None
