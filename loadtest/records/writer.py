"""
Columns as a worker sends them -> Arrow -> Parquet parts.

Encodings: whole numbers that move slowly are delta-packed, which together with zstd level 1 stores
a plain row in about 10 bytes; words are dictionary-coded.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.errors import RecordsError
from loadtest.records.layout import CODED, COLUMNS, FLAGS, WIDTHS
from loadtest.records.schema import RECORDS

MAX_BATCH_ROWS = 1_000_000
ROW_GROUP_ROWS = 1 << 20

_TYPES = {"q": pa.int64(), "i": pa.int32(), "h": pa.int16(), "B": pa.uint8()}
_WORDS = [field.name for field in RECORDS if pa.types.is_dictionary(field.type)]
_ENCODINGS = {
    field.name: "DELTA_BINARY_PACKED" for field in RECORDS if pa.types.is_integer(field.type)
}


def decode_batch(
    worker: str,
    region: str,
    first_row: int,
    *,
    rows: int,
    columns: Mapping[str, bytes],
    words: Mapping[str, Sequence[str]],
) -> pa.RecordBatch:
    """
    Turn a worker's columns into rows of the record schema.

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
    if not 0 < rows <= MAX_BATCH_ROWS or first_row < 0:
        raise RecordsError(f"batch of worker {worker}: rows {first_row}+{rows} is no valid range")
    whole = {
        "worker": _same(worker, rows),
        "region": _same(region, rows),
        "row": pa.arange(first_row, first_row + rows),
    }
    try:
        for name in COLUMNS:
            whole[name] = _column(name, columns[name], words.get(name, ()), rows)
        return pa.RecordBatch.from_arrays([whole[field.name] for field in RECORDS], schema=RECORDS)
    except KeyError as error:
        raise RecordsError(f"batch of worker {worker}: column {error} is missing") from error
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise RecordsError(f"batch of worker {worker}: {error}") from error


def _column(name: str, data: bytes, words: Sequence[str], rows: int) -> pa.Array:
    width = WIDTHS[name]
    if len(data) == width:
        data = data * rows
    if len(data) != width * rows:
        raise ValueError(f"column {name}: {len(data)} bytes for {rows} rows of {width}")
    values = pa.Array.from_buffers(_TYPES[COLUMNS[name]], rows, [None, pa.py_buffer(data)])
    if name in CODED:
        return pa.DictionaryArray.from_arrays(values.cast(pa.int32()), text_array(words))
    if name in FLAGS:
        return values.cast(pa.bool_())
    return values.cast(RECORDS.field(name).type)


def _same(word: str, rows: int) -> pa.DictionaryArray:
    zeros = pa.Array.from_buffers(pa.int32(), rows, [None, pa.py_buffer(bytes(4 * rows))])
    return pa.DictionaryArray.from_arrays(zeros, text_array([word]))


def text_array(words: Sequence[str]) -> pa.StringArray:
    """
    Return words as an Arrow array, made of buffers.

    ``pa.array`` would do, but imports pandas, where it is installed, to look whether it was given a
    series: 45 MB and a third of a second for a process that has no other use for it.
    """
    encoded = [str.encode(word) for word in words]
    ends = array("i", accumulate(map(len, encoded), initial=0))
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def open_parquet(path: Path | pa.NativeFile, statistics: bool = True) -> pq.ParquetWriter:
    """
    Open a Parquet writer with the record schema and its encodings.

    Args:
        path: File to create, or an Arrow stream.
        statistics: Store minimum and maximum per column; not worth its bytes in short-lived parts.
    """
    return pq.ParquetWriter(
        path,
        RECORDS,
        compression="zstd",
        compression_level=1,
        use_dictionary=_WORDS,
        column_encoding=_ENCODINGS,
        write_statistics=statistics,
        data_page_size=1 << 20,
    )


def write_table(path: Path, tables: Iterable[pa.Table], statistics: bool = True) -> int:
    """
    Write tables into one Parquet file that appears whole or not at all.

    Returns:
        Number of rows written.

    Raises:
        RecordsError: The file cannot be written; says where and why.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    rows = 0
    try:
        with open_parquet(temporary, statistics) as writer:
            for table in tables:
                writer.write_table(table.unify_dictionaries(), row_group_size=ROW_GROUP_ROWS)
                rows += table.num_rows
        temporary.replace(path)
    except OSError as error:
        raise RecordsError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return rows


class PartWriter:
    """
    Collects batches and writes them as numbered parts; a finished part never changes.

    Parts are anonymous temporary files: whatever ends the process, nothing is left behind.

    Args:
        call: Runs a function that takes long; the default runs it in place, another may use a
            thread (the work is in Arrow, which lets other threads go on).
    """

    def __init__(self, call: Callable[[Callable[[], bytes]], bytes] = lambda work: work()) -> None:
        self.parts: list[Part] = []
        self.rows = 0
        self.waiting_rows = 0
        self._call = call
        self._waiting: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep a batch for the next part."""
        self._waiting.append(batch)
        self.waiting_rows += batch.num_rows

    def flush(self) -> pa.Table | None:
        """
        Write what waits as one part.  Not to be called again before it has returned.

        Returns:
            The rows written; None when nothing waited.

        Raises:
            RecordsError: The part cannot be stored, such as on a full disk.
        """
        if not self._waiting:
            return None
        taken, self._waiting, self.waiting_rows = self._waiting, [], 0
        table = pa.Table.from_batches(taken, RECORDS).unify_dictionaries()
        data = self._call(lambda: _encoded(table))
        try:
            file = tempfile.TemporaryFile(prefix="loadtest-part-")  # noqa: SIM115 - kept open
            file.write(data)
            file.flush()
        except OSError as error:
            raise RecordsError(f"a part of {len(data)} bytes cannot be stored: {error}") from error
        self.parts.append(Part(f"part-{len(self.parts):05d}.parquet", table.num_rows, file))
        self.rows += table.num_rows
        return table

    def close(self) -> None:
        """Let go of every part."""
        for part in self.parts:
            part.file.close()
        self.parts.clear()


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part: its name, its number of rows, and the file that holds it."""

    name: str
    rows: int
    file: IO[bytes]

    def read(self) -> bytes:
        """Return the part's content, a Parquet file."""
        self.file.seek(0)
        return self.file.read()


def _encoded(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with open_parquet(sink, statistics=False) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded
