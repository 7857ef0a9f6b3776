"""How many files and sockets a process may hold open at once."""

from __future__ import annotations

import contextlib

ENOUGH = 65_536
"""Some programs walk through all descriptors that they could have: millions would take seconds."""


def raise_descriptor_limit(most: int = ENOUGH) -> None:
    """Allow this process, and those it starts, as many open files and sockets as it may have."""
    import resource  # not on every platform

    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
