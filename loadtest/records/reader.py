"""Reads stored records, and refuses what this version does not understand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.errors import RecordsError
from loadtest.records.schema import RECORDS, SCHEMA_VERSION


def open_records(source: Path | bytes, words: Sequence[str] = ()) -> pq.ParquetFile:
    """
    Open a file of records, or its content, and check that this version reads its schema.

    Args:
        source: The file, or its content.
        words: Columns whose words stay codes with a dictionary.

    Raises:
        RecordsError: Missing, damaged, of another schema version, or short of a column.
    """
    path = "records" if isinstance(source, bytes) else source
    if isinstance(source, Path) and not source.is_file():
        raise RecordsError(f"{path}: no such file; is this the folder of a finished run?")
    content = pa.BufferReader(source) if isinstance(source, bytes) else source
    try:
        file = pq.ParquetFile(
            content,
            read_dictionary=list(words),
            page_checksum_verification=True,
        )
    except (pa.ArrowException, OSError) as error:
        raise RecordsError(f"{path}: damaged or no Parquet file: {error}") from error
    version = (file.schema_arrow.metadata or {}).get(b"loadtest_schema", b"none")
    found = version.decode(errors="replace")
    if found != str(SCHEMA_VERSION):
        file.close()
        raise RecordsError(
            f"{path}: record schema {found}; this version reads {SCHEMA_VERSION}: "
            "use the loadtest version that wrote the run, or measure again"
        )
    try:
        missing = [name for name in RECORDS.names if name not in file.schema_arrow.names]
    except ValueError as error:
        file.close()
        raise RecordsError(f"{path}: damaged: a column's name is no UTF-8") from error
    if missing:
        file.close()
        raise RecordsError(f"{path}: columns are missing: {', '.join(missing)}")
    return file


def read_records(source: Path | bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """
    Read a file of records.

    Args:
        source: The file, or its content.
        columns: Names to read; None reads all.

    Raises:
        RecordsError: As ``open_records``, or a name that is no column.
    """
    unknown = [name for name in columns or () if name not in RECORDS.names]
    if unknown:
        raise RecordsError(f"no such record columns: {', '.join(unknown)}")
    with open_records(source) as file:
        try:
            return file.read(columns=None if columns is None else list(columns))
        except (pa.ArrowException, OSError) as error:
            path = "records" if isinstance(source, bytes) else source
            raise RecordsError(f"{path}: damaged: {error}") from error
