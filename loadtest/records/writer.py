"""
Batches -> Arrow -> Parquet parts.

Encodings: whole numbers that move slowly are delta-packed, which together with zstd level 1 stores
a plain row in about 10 bytes; words are dictionary-coded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.errors import RecordsError
from loadtest.records.batch import Batch, decode_batches
from loadtest.records.schema import RECORDS
from loadtest.records.whole import whole_file

ROW_GROUP_ROWS = 1 << 20

_WORDS = [field.name for field in RECORDS if pa.types.is_dictionary(field.type)]
_ENCODINGS = {
    field.name: "DELTA_BINARY_PACKED" for field in RECORDS if pa.types.is_integer(field.type)
}


def open_parquet(file: BinaryIO | pa.NativeFile, statistics: bool = True) -> pq.ParquetWriter:
    """
    Open a Parquet writer with the record schema and its encodings.

    Args:
        file: Open file, or an Arrow stream.
        statistics: Store minimum and maximum per column; not worth its bytes in short-lived parts.
    """
    return pq.ParquetWriter(
        file,
        RECORDS,
        compression="zstd",
        compression_level=1,
        use_dictionary=_WORDS,
        column_encoding=_ENCODINGS,
        write_statistics=statistics,
        data_page_size=1 << 20,
        write_page_checksum=True,
    )


def write_table(path: Path, tables: Iterable[pa.Table], statistics: bool = True) -> int:
    """
    Write tables into one Parquet file that appears whole or not at all.

    Returns:
        Number of rows written.

    Raises:
        RecordsError: The file cannot be written; says where and why.
    """
    rows = 0
    try:
        with whole_file(path) as file, open_parquet(file, statistics) as writer:
            for table in tables:
                writer.write_table(table.unify_dictionaries(), row_group_size=ROW_GROUP_ROWS)
                rows += table.num_rows
    except OSError as error:
        raise RecordsError(f"{path}: cannot be written: {error.strerror or error}") from error
    return rows


Work = Callable[[], tuple[pa.Table, bytes]]
Call = Callable[[Work], tuple[pa.Table, bytes]]
"""Runs work that takes long, in place or in a thread."""


class PartWriter:
    """
    Collects batches and writes them as numbered parts; a finished part never changes.

    Parts are anonymous temporary files: whatever ends the process, nothing is left behind.

    Args:
        call: Runs what takes long; the default runs it in place, another may use a thread (the
            work is in Arrow, which lets other threads go on).
    """

    def __init__(self, call: Call = lambda work: work()) -> None:
        self.parts: list[Part] = []
        self.rows = 0
        self.waiting_rows = 0
        self._call = call
        self._waiting: list[Batch] = []

    def add(self, batch: Batch) -> None:
        """Keep a batch for the next part."""
        self._waiting.append(batch)
        self.waiting_rows += batch.rows

    def flush(self) -> pa.Table | None:
        """
        Write what waits as one part.  Not to be called again before it has returned.

        Returns:
            The rows written; None when nothing waited.

        Raises:
            RecordsError: The part cannot be stored, such as on a full disk; its rows wait on.
        """
        if not self._waiting:
            return None
        taken, self._waiting, self.waiting_rows = self._waiting, [], 0
        try:
            table, data = self._call(lambda: _encoded(taken))
            file = _stored(data)
        except BaseException:
            self._waiting[:0] = taken
            self.waiting_rows += sum(batch.rows for batch in taken)
            raise
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


def _stored(data: bytes) -> IO[bytes]:
    try:
        file = tempfile.TemporaryFile(prefix="loadtest-part-")  # noqa: SIM115 - kept open
        file.write(data)
        file.flush()
    except OSError as error:
        raise RecordsError(f"a part of {len(data)} bytes cannot be stored: {error}") from error
    return file


def _encoded(batches: list[Batch]) -> tuple[pa.Table, bytes]:
    table = pa.Table.from_batches(decode_batches(batches), RECORDS).unify_dictionaries()
    sink = pa.BufferOutputStream()
    with open_parquet(sink, statistics=False) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return table, sink.getvalue().to_pybytes()
