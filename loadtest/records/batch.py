"""
Batches of rows as workers send them: checked when they come, decoded many at a time.

Checking costs a dozen microseconds; decoding costs a third of a millisecond however few rows there
are.  So a batch is checked, acknowledged and kept as it came, and all batches of a worker are
joined and decoded together when a part is written.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa

from loadtest.errors import RecordsError
from loadtest.records.layout import CODED, COLUMNS, FLAGS, WIDTHS
from loadtest.records.schema import RECORDS

MAX_BATCH_ROWS = 1_000_000
_MAX_WORDS = 20_000

_TYPES = {"q": pa.int64(), "i": pa.int32(), "h": pa.int16(), "b": pa.int8(), "B": pa.uint8()}


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Rows of one worker, with everything checked that could keep them from being decoded.

    Args:
        worker: Id of the worker.
        region: Its region.
        first_row: The worker's own number of the first row.
        rows: Number of rows.
        columns: See ``layout``; a column of one value stands for ``rows`` equal ones.
        words: For each coded column the words its codes index.

    Raises:
        RecordsError: Something does not fit together; the message names the column.
    """

    worker: str
    region: str
    first_row: int
    rows: int
    columns: Mapping[str, bytes]
    words: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise RecordsError(f"batch of worker {self.worker}: {fault}")

    def _fault(self) -> str:
        numbers = self.first_row, self.rows
        if any(type(number) is not int for number in numbers):
            return f"rows {numbers} are no numbers"
        if not 0 < self.rows <= MAX_BATCH_ROWS or not 0 <= self.first_row < 2**62:
            return f"rows {self.first_row}+{self.rows} are no valid range"
        if not isinstance(self.columns, dict) or not isinstance(self.words, dict):
            return "columns and words must be mappings"
        for name, width in WIDTHS.items():
            data = self.columns.get(name)
            if not isinstance(data, bytes):
                return f"column {name} is missing"
            if len(data) not in (width, width * self.rows):
                return f"column {name}: {len(data)} bytes for {self.rows} rows of {width}"
        return next((fault for name in CODED if (fault := self._fault_of_words(name))), "")

    def _fault_of_words(self, name: str) -> str:
        words = self.words.get(name)
        if not isinstance(words, list) or not 0 < len(words) <= _MAX_WORDS:
            return f"column {name} has no words"
        try:
            for word in words:
                str.encode(word)
        except (TypeError, UnicodeEncodeError):
            return f"column {name}: a word is no text"
        codes = memoryview(self.columns[name]).cast(COLUMNS[name])
        if max(codes) >= len(words) or min(codes) < 0:
            return f"column {name}: a code has no word"
        return ""


def decode_batches(batches: Sequence[Batch]) -> list[pa.RecordBatch]:
    """
    Decode batches into rows of the record schema; those of one worker are joined.

    Args:
        batches: In any order, of any workers.
    """
    groups: dict[tuple[str, str], list[list[Batch]]] = {}
    for batch in batches:
        runs = groups.setdefault((batch.worker, batch.region), [[]])
        if runs[-1] and not _extends(runs[-1][-1].words, batch.words):
            runs.append([])
        runs[-1].append(batch)
    return [_joined(run) for runs in groups.values() for run in runs]


def _extends(words: Mapping[str, Sequence[str]], later: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether codes into ``words`` mean the same in ``later``: words are only ever added."""
    return all(later[name][: len(words[name])] == words[name] for name in CODED)


def _joined(run: list[Batch]) -> pa.RecordBatch:
    rows = sum(batch.rows for batch in run)
    words = run[-1].words
    ranges = [pa.arange(batch.first_row, batch.first_row + batch.rows) for batch in run]
    whole = {
        "worker": _same(run[0].worker, rows),
        "region": _same(run[0].region, rows),
        "row": pa.concat_arrays(ranges),
    }
    for name in COLUMNS:
        pieces = [_spread(batch.columns[name], WIDTHS[name], batch.rows) for batch in run]
        whole[name] = _column(name, b"".join(pieces), words.get(name, ()), rows)
    return pa.RecordBatch.from_arrays([whole[field.name] for field in RECORDS], schema=RECORDS)


def _spread(data: bytes, width: int, rows: int) -> bytes:
    return data if len(data) == width * rows else data * rows


def _column(name: str, data: bytes, words: Sequence[str], rows: int) -> pa.Array:
    values = pa.Array.from_buffers(_TYPES[COLUMNS[name]], rows, [None, pa.py_buffer(data)])
    if name in CODED:
        return pa.DictionaryArray.from_arrays(values.cast(pa.int32()), text_array(words))
    if name in FLAGS:
        return values.cast(pa.bool_())
    return values


def _same(word: str, rows: int) -> pa.DictionaryArray:
    zeros = pa.Array.from_buffers(pa.int32(), rows, [None, pa.py_buffer(bytes(4 * rows))])
    return pa.DictionaryArray.from_arrays(zeros, text_array([word]))


def text_array(words: Iterable[str]) -> pa.StringArray:
    """
    Return words as an Arrow array, made of buffers.

    ``pa.array`` would do, but imports pandas, where it is installed, to look whether it was given a
    series: 45 MB and a third of a second for a process that has no other use for it.
    """
    encoded = [word.encode() for word in words]
    ends = array("i", accumulate(map(len, encoded), initial=0))
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)
