"""
Packs samples into rows, and rows into the columns that travel.

Rows are packed into a preallocated buffer, about a microsecond each; a column is then a strided
view of it.  Both together cost less than filling one array per column.  A full buffer gives way to
another and waits: encoding one takes a fifth of a millisecond, in which arrivals would leave late,
so whoever flushes may take a breath between any two columns of it.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.server_timing import NOTHING
from loadtest.engine.worker.failure_log import FailureLog
from loadtest.records.kinds import (
    CLOCK_KERNEL,
    CLOCK_USER,
    ERROR_DROPPED,
    ERROR_KINDS,
    HTTP_1,
    HTTP_2,
    STAGE_STEADY,
    STAGE_WARM_UP,
)
from loadtest.records.layout import COLUMNS, MAX_WORDS, OTHER, ROW, WIDTHS, offset_of, shortened

CHUNK_ROWS = 1024
"""Rows of one chunk: 90 KB, which the connection's thread encrypts in a tenth of a millisecond."""
_PATIENCE_CHUNKS = 32
"""Full chunks that may wait; beyond these they are encoded without pause, or memory would fill."""

STAGES = (STAGE_WARM_UP, STAGE_STEADY)
CLOCKS = (CLOCK_KERNEL, CLOCK_USER)
PROTOCOLS = ("", HTTP_1, HTTP_2)
_PROTOCOL_CODES = {word: code for code, word in enumerate(PROTOCOLS)}
_ERROR_CODES = {kind: code for code, kind in enumerate(ERROR_KINDS)}
_PACK = ROW.pack_into
_STEP = ROW.size
_LAST = CHUNK_ROWS - 1
_PLACES = {name: (code, offset_of(name), WIDTHS[name]) for name, code in COLUMNS.items()}


Arrival = tuple[int, int, int, int, int, int]
"""
One arrival, as the rows of its requests need it: number in the schedule, block, code of the stage,
of the deployment, of the scenario, intended start in microseconds from the run's epoch.  A plain
tuple: one is made for every request.
"""

NO_ARRIVAL = -1
"""Number and block of requests that belong to no arrival, such as those of ``on_start``."""


def outside(arrival: Arrival | None, start_us: int) -> Arrival:
    """Return what stands for the arrival of a request that belongs to none."""
    deployment, scenario = arrival[3:5] if arrival else (0, 0)
    return NO_ARRIVAL, NO_ARRIVAL, 0, deployment, scenario, start_us


class Words:
    """The distinct words of one column and their codes, at most ``limit`` of them."""

    def __init__(self, limit: int, words: tuple[str, ...] = ()) -> None:
        self.listed = list(words)
        self._codes = {word: code for code, word in enumerate(words)}
        self._limit = limit

    def code(self, word: str) -> int:
        """
        Return the code of a word; beyond the limit all new words share one.

        What UTF-8 cannot hold, such as half of a surrogate pair, is replaced; what is too long is
        shortened.
        """
        code = self._codes.get(word)
        if code is None:
            word = shortened(word.encode("utf-8", "replace").decode("utf-8"))
            code = self._codes.get(word)
        if code is None:
            if len(self.listed) >= self._limit - 1:
                word = OTHER
            code = self._codes.setdefault(word, len(self.listed))
            if code == len(self.listed):
                self.listed.append(word)
        return code


class Recorder:
    """
    Turns samples into encoded chunks.

    Args:
        deployments: Names of the arms; an arrival's ``deployment`` indexes them.
        scenarios: Names of the scenarios; an arrival's ``scenario`` indexes them.
        ship: Takes each encoded chunk: first row, rows, columns, words.
    """

    def __init__(
        self,
        deployments: tuple[str, ...],
        scenarios: tuple[str, ...],
        ship: Callable[[dict[str, object]], None],
    ) -> None:
        self.errors = 0
        self.dropped = 0
        self.failures = FailureLog(deployments, scenarios)
        self.deployments = deployments
        self.left: Counter[str] = Counter()
        """Users that left by themselves, by deployment."""
        self.failed: Arrival | None = None
        """The arrival of the latest row that failed."""
        self.epoch_ns = 0
        """Monotonic nanoseconds of the run's epoch; 0 until ``begin``."""
        self.patient = False
        """Somebody flushes now and then, so a full chunk may wait for it."""
        self._early: list[RequestSample] = []
        self._first = 0
        self._buffer = bytearray(_STEP * CHUNK_ROWS)
        self._held = 0
        self._full: deque[tuple[bytearray, int, int]] = deque()
        self._spare: list[bytearray] = []
        self._ship = ship
        self._names = Words(MAX_WORDS["name"])
        self._served_by = Words(MAX_WORDS["served_by"], ("",))
        self._regions: dict[bytes, int] = {}
        self._fixed = {
            "deployment": list(deployments),
            "scenario": list(scenarios),
            "stage": list(STAGES),
            "error": list(ERROR_KINDS),
            "clock": list(CLOCKS),
            "protocol": list(PROTOCOLS),
        }

    def redirect(self, ship: Callable[[dict[str, object]], None]) -> None:
        """Hand later chunks to another: a new segment counts on with the same recorder."""
        self._ship = ship

    def begin(self, epoch_ns: int) -> None:
        """Set the run's epoch, a monotonic moment, and record what came before it was known."""
        self.epoch_ns = epoch_ns
        early, self._early = self._early, []
        for sample in early:
            self.record(sample)

    @property
    def rows(self) -> int:
        """Rows recorded in all, which is the number of the next one."""
        return self._first + self._held

    def record(self, sample: RequestSample) -> None:
        """Pack one sample; its ``context`` is the Arrival it belongs to, or None."""
        # runs for every request: phases are computed in place, and only those that happened
        epoch_ns, start_ns, intended_ns = self.epoch_ns, sample.start_ns, sample.intended_ns
        if not epoch_ns:
            self._early.append(sample)  # of on_start: its place on the time line is not known yet
            return
        sent_ns, first_ns, user_ns = sample.sent_ns, sample.first_ns, sample.first_user_ns
        arrival: Any = sample.context
        if arrival is None or arrival[0] < 0:
            arrival = outside(arrival, (start_ns - epoch_ns) // 1000)
        error = self._count_error(sample, arrival) if sample.error else 0
        dns = connect = tls = 0
        if not sample.reused:
            dns, connect = sample.dns_ns // 1000, sample.connect_ns // 1000
            tls = sample.tls_ns // 1000
        timing = sample.server_timing if sample.timing_header else NOTHING
        region = sample.region_header
        row = (
            arrival[0],
            arrival[5],
            (start_ns - epoch_ns) // 1000,
            sample.bytes,
            arrival[1],
            (start_ns - intended_ns) // 1000 if 0 < intended_ns < start_ns else 0,
            dns,
            connect,
            tls,
            sample.send_ns // 1000,
            (first_ns - sent_ns) // 1000 if 0 < sent_ns < first_ns else 0,
            (user_ns - sent_ns) // 1000 if 0 < sent_ns < user_ns else 0,
            (sample.last_ns - first_ns) // 1000 if 0 < first_ns < sample.last_ns else 0,
            timing[1],
            timing[0],
            sample.status,
            timing[2],
            self._names.code(sample.name),
            self._regions.get(region) or self._region_code(sample) if region else 0,
            arrival[3],
            arrival[4],
            arrival[2],
            error,
            0 if sample.kernel else 1,
            _PROTOCOL_CODES[sample.protocol],
            sample.attempts,
            sample.reused,
            sample.cold,
            timing[3],
        )
        held = self._held
        try:
            _PACK(self._buffer, held * _STEP, *row)
        except struct.error:
            _PACK(self._buffer, held * _STEP, *_clamped(row))
        self._held = held + 1
        if held == _LAST:
            self._turn()

    def _count_error(self, sample: RequestSample, arrival: Arrival) -> int:
        self.errors += 1
        self.failed = arrival
        if sample.detail:
            self.failures.note(sample.error, arrival[3], arrival[4], sample.name, sample.detail)
        return _ERROR_CODES[sample.error]

    def drop(self, arrival: Arrival, name: str = "") -> None:
        """Record an arrival for which no user was free."""
        self.dropped += 1
        self._blank(arrival, -1, _ERROR_CODES[ERROR_DROPPED], name)

    def fail(self, arrival: Arrival, start_ns: int, kind: str, name: str) -> None:
        """Record an arrival that failed without a request of its own: its task raised."""
        self.errors += 1
        self._blank(arrival, (start_ns - self.epoch_ns) // 1000, _ERROR_CODES[kind], name)

    def _blank(self, arrival: Arrival, start_us: int, error: int, name: str) -> None:
        number, block, stage, deployment, scenario, intended_us = arrival
        late = max(0, start_us - intended_us) if start_us >= 0 else 0
        head = (number, intended_us, start_us, 0, block, late)
        phases = (0, 0, 0, 0, 0, 0, 0, -1, -1, 0, -1)
        codes = (deployment, scenario, stage, error)
        row = (*head, *phases, self._names.code(name), 0, *codes, 1, 0, 1, 0, 0, 0)
        try:
            _PACK(self._buffer, self._held * _STEP, *row)
        except struct.error:
            _PACK(self._buffer, self._held * _STEP, *_clamped(row))
        self._held += 1
        if self._held == CHUNK_ROWS:
            self._turn()

    def _region_code(self, sample: RequestSample) -> int:
        code = self._served_by.code(sample.served_by)
        if len(self._regions) < MAX_WORDS["served_by"]:
            self._regions[sample.region_header] = code
        return code

    def _turn(self) -> None:
        """Put the buffer aside and go on in another."""
        self._full.append((self._buffer, self._held, self._first))
        self._first += self._held
        self._held = 0
        self._buffer = self._spare.pop() if self._spare else bytearray(_STEP * CHUNK_ROWS)
        if not self.patient:
            self.flush()

    def flush(self, breathe: Callable[[], None] | None = None) -> None:
        """
        Encode what is held and hand it on; nothing happens when nothing is held.

        Args:
            breathe: Called after every column, ten microseconds of work, to let others run.
        """
        if self._held:
            patient, self.patient = self.patient, True
            self._turn()
            self.patient = patient
        while self._full:
            buffer, rows, first = self._full[0]
            columns = {}
            for name, column in columns_of(buffer, rows):
                columns[name] = column
                if breathe is not None and len(self._full) <= _PATIENCE_CHUNKS:
                    breathe()
            words = {"name": list(self._names.listed), "served_by": list(self._served_by.listed)}
            words |= self._fixed
            self._ship({"first_row": first, "rows": rows, "columns": columns, "words": words})
            self._full.popleft()
            self._spare.append(buffer)


def columns_of(buffer: bytearray, rows: int) -> Iterator[tuple[str, bytes]]:
    """
    Cut packed rows into columns, one at a time; a column of equal values becomes that one value.

    Args:
        buffer: Rows packed by ``layout.ROW``.
        rows: How many of them to take.
    """
    view = memoryview(buffer)[: rows * _STEP]
    casts = {"q": view.cast("q"), "i": view.cast("i"), "h": view.cast("h")}
    casts |= {"b": view.cast("b"), "B": view.cast("B")}
    for name, (code, offset, width) in _PLACES.items():
        data = casts[code][offset // width :: _STEP // width].tobytes()
        one = data[:width]
        yield name, one if data == one * rows else data


def _clamped(values: tuple[Any, ...]) -> list[int]:
    """Bring every value into its column's range: an absurd one must not stop a run."""
    clamped = []
    for value, name in zip(values, COLUMNS, strict=True):
        bits = 8 * WIDTHS[name]
        signed = COLUMNS[name] != "B"
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        clamped.append(max(low, min(high, value)))
    return clamped
