"""Takes in batches, once each, and turns them into parts and into the table that people watch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gevent.lock import Semaphore

from loadtest.engine.coordinator.live_cells import LiveCells
from loadtest.errors import RecordsError
from loadtest.records.batch import Batch
from loadtest.records.summary import live_cells
from loadtest.records.writer import Call, PartWriter

logger = logging.getLogger(__name__)

PART_ROWS = 1 << 16
"""Rows after which a part is written before its time; bounds the memory of writing it."""


@dataclass(slots=True)
class Received:
    """What came from one worker."""

    rows: int = 0
    merged: int = 0
    duplicates: int = 0
    below: int = 0
    """Every batch with a lower number has come."""
    ahead: set[int] = field(default_factory=set)

    def is_new(self, number: int) -> bool:
        """Note a batch's number; False when it came before."""
        if number < self.below or number in self.ahead:
            self.duplicates += 1
            return False
        self.ahead.add(number)
        while self.below in self.ahead:
            self.ahead.remove(self.below)
            self.below += 1
        return True


class Collector:
    """
    The rows of one run.

    Args:
        call: Runs Arrow's work, in a thread where that helps.
        monotonic_ns: Clock of the live figures.
    """

    def __init__(
        self,
        call: Call = lambda work: work(),
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.received: dict[str, Received] = {}
        self.refused = 0
        self.live = LiveCells()
        self._monotonic_ns = monotonic_ns
        self._writer = PartWriter(call)
        self._writing = Semaphore()
        self._waiting: Counter[str] = Counter()

    @property
    def parts(self) -> list[Any]:
        """Finished parts."""
        return self._writer.parts

    @property
    def rows_merged(self) -> int:
        """Rows that are in finished parts."""
        return self._writer.rows

    @property
    def full(self) -> bool:
        """Whether enough rows wait for a part of their own."""
        return self._writer.waiting_rows >= PART_ROWS

    def take(self, worker: str, region: str, batch: dict[str, Any]) -> bool:
        """
        Take in a batch.

        Returns:
            True when it may be acknowledged: it is kept now, or was before.  False when it makes no
            sense; it is counted and left out, and the worker's rows will be missing.
        """
        number = batch.get("seq")
        if not isinstance(number, int) or number < 0:
            self.refused += 1
            return False
        state = self.received.setdefault(worker, Received())
        if number < state.below or number in state.ahead:
            state.duplicates += 1
            return True
        try:
            content = [batch[key] for key in ("first_row", "rows", "columns", "words")]
            checked = Batch(worker, region, *content)
        except (RecordsError, KeyError) as error:
            self.refused += 1
            logger.warning("batch %s of worker %s refused: %s", number, worker, error)
            return False
        state.is_new(number)
        self.live.open_slice(self._monotonic_ns())
        self._writer.add(checked)
        state.rows += checked.rows
        self._waiting[worker] += checked.rows
        return True

    def flush(self) -> None:
        """
        Write what waits as a part.

        Raises:
            RecordsError: It cannot be stored; it waits on.
        """
        with self._writing:
            taken, self._waiting = self._waiting, Counter()
            try:
                table = self._writer.flush()
            except BaseException:
                self._waiting.update(taken)
                raise
            if table is None:
                return
            for worker, rows in taken.items():
                self.received[worker].merged += rows
            self.live.close_slice(self._monotonic_ns(), live_cells(table))

    def close(self) -> None:
        """Let go of every part."""
        self._writer.close()
