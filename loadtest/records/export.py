"""The rows of a stored run for other programs: CSV, or one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.csv as arrow_csv

from loadtest.errors import RecordsError
from loadtest.records.reader import open_records
from loadtest.records.schema import RECORDS
from loadtest.records.whole import whole_file

ROW_FORMS: Final = ("csv", "ndjson")

_BATCH_ROWS: Final = 1 << 14
"""Rows that are in memory at a time."""


def export_rows(records: Path, target: Path, form: str) -> None:
    """
    Write every row of a records file, warm-up included, in the columns of ``records.schema``.

    Args:
        records: Parquet file of a run.
        target: File to write, whole or not at all.
        form: One of ``ROW_FORMS``; CSV begins with a line of column names.

    Raises:
        RecordsError: The records cannot be read, or the file cannot be written.
    """
    write = _write_csv if form == "csv" else _write_ndjson
    with open_records(records) as source:
        try:
            with whole_file(target) as file:
                write(source, file)
        except pa.ArrowException as error:
            raise RecordsError(f"{records}: damaged: {error}") from error
        except OSError as error:
            raise RecordsError(f"{target}: cannot be written: {error.strerror or error}") from error


def _write_csv(source: Any, file: BinaryIO) -> None:
    plain = pa.schema([(field.name, _plain(field.type)) for field in RECORDS])
    with arrow_csv.CSVWriter(file, plain) as writer:
        for batch in source.iter_batches(_BATCH_ROWS, columns=RECORDS.names):
            writer.write_table(pa.Table.from_batches([batch]).cast(plain))


def _write_ndjson(source: Any, file: BinaryIO) -> None:
    for batch in source.iter_batches(_BATCH_ROWS, columns=RECORDS.names):
        lines = (json.dumps(row, separators=(",", ":")) for row in batch.to_pylist())
        file.write("".join(f"{line}\n" for line in lines).encode("ascii"))


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
