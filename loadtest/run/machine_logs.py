"""What the machines of a world printed, kept in the run folder where something failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from loadtest.errors import LoadtestError
from loadtest.records.folder import RunFolder
from loadtest.records.watch import MachineLog, MachineLogs
from loadtest.run.judge import Judged
from loadtest.run.progress import Progress


class Logged(Protocol):
    """A world whose machines' logs can be read."""

    def logs(self) -> MachineLogs:
        """Return the end of what its machines printed."""
        ...


class KeptLogs:
    """
    The logs of one run's machines: fetched before their world ends, written if they matter.

    Args:
        folder: The run's.
        progress: Told where they are.
    """

    def __init__(self, folder: RunFolder, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._logs: tuple[MachineLog, ...] = ()

    @contextmanager
    def of(self, world: Logged | None) -> Iterator[None]:
        """Fetch them at the end of the block; where it fails, write them. None is no world."""
        try:
            yield
        except LoadtestError:
            self._fetch(world)
            self.keep()
            raise
        self._fetch(world)

    def _fetch(self, world: Logged | None) -> None:
        try:
            self._logs = () if world is None else world.logs().logs
        except LoadtestError:  # the world is gone: what made it go is told elsewhere
            self._logs = ()

    def keep(self) -> None:
        """Write those that are not empty; a full disk must not hide what went wrong."""
        if not (told := [log for log in self._logs if log.text]):
            return
        try:
            place = self._folder.save_logs(told)
        except LoadtestError as error:
            self._progress.warn(f"the machines' logs are lost: {error}")
        else:
            self._progress.warn(f"what the machines printed is in {place}")

    def keep_if_it_matters(self, judged: Judged) -> None:
        """Write them if requests failed or the run cannot be trusted."""
        if judged.verdict.failures or judged.verdict.invalid:
            self.keep()
