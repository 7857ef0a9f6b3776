"""Time to first byte from every region, measured and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from loadtest.run.opened import StoredRun

__all__ = ["open_run"]


def open_run(folder: str | os.PathLike[str] | None = None) -> StoredRun:
    """
    Open a stored run for a notebook or a script.

    Args:
        folder: Run folder; None takes the latest below ``reports``.

    Returns:
        An object with ``records``, ``cells`` and ``rules`` as DataFrames, and ``verdict``.

    Raises:
        loadtest.errors.RecordsError: There is none, or it cannot be read or trusted.
    """
    from pathlib import Path

    from loadtest.run.opened import open_stored

    return open_stored(None if folder is None else Path(folder))
