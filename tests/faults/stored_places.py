"""Faults of what stands in a file's place, and of records that are put together from two runs."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from stored import UNTRUSTED, Fault, Stored
from stored_files import FILES
from stored_forged import counted
from stored_records import Rows

from loadtest.records.schema import RECORDS
from loadtest.records.writer import write_table

SAME = frozenset({"pass"})
READS_ALL = os.geteuid() == 0
"""Root may read what nobody may."""


def placed() -> Iterator[Fault]:
    """Yield what stands in a file's place, may not be read, or was put together."""
    yield from _harmless()
    yield from _places()
    yield from _sealed_ways()


def _harmless() -> Iterator[Fault]:
    """Yield what changes nothing that is judged, or is told beside a verdict that stands."""
    for name in FILES:
        yield Fault(f"forged: {name} behind a link", _behind_a_link(name), "", SAME,
                    sealed=False, noted="")  # fmt: skip
    yield Fault("forged: an edited verdict", _text("verdict.json", '{"decision": "pass"}'), "",
                SAME, sealed=False, noted="")  # fmt: skip
    yield Fault("forged: an edited summary", _text("summary.json", "{"), "",
                SAME, sealed=False, noted="")  # fmt: skip
    yield Fault("forged: row groups of fifty rows", _row_groups, "", SAME)


def _row_groups(stored: Stored) -> None:
    path = stored.folder / "records.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=50)


def _behind_a_link(name: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        elsewhere = stored.folder.parent / f"elsewhere-{name}"
        shutil.move(stored.folder / name, elsewhere)
        (stored.folder / name).symlink_to(elsewhere)

    return bend


def _text(name: str, text: str) -> Callable[[Stored], object]:
    return lambda stored: (stored.folder / name).write_text(text)


def _places() -> Iterator[Fault]:
    """Yield what stands in a file's place and never ends, or may not be read."""
    for name in (*FILES, "manifest.json"):
        for sealed in (False, True) if name != "manifest.json" else (False,):
            again = ", sealed again" if sealed else ""
            yield Fault(f"forged: {name} is a pipe{again}", _pipe(name), "", sealed=sealed)
        yield Fault(f"forged: {name} is without end", _endless(name), "", sealed=False)
        yield Fault(f"forged: {name} may not be read", _unreadable(name), "cannot be read",
                    SAME if READS_ALL else UNTRUSTED, sealed=False, noted="")  # fmt: skip
    yield Fault("forged: manifest.json is a folder", _folder("manifest.json"), "", sealed=False)
    yield Fault("forged: manifest.json of 3 GB", _huge("manifest.json"), "", sealed=False)


def _pipe(name: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        (stored.folder / name).unlink()
        os.mkfifo(stored.folder / name)

    return bend


def _endless(name: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        (stored.folder / name).unlink()
        (stored.folder / name).symlink_to("/dev/zero")

    return bend


def _unreadable(name: str) -> Callable[[Stored], None]:
    return lambda stored: (stored.folder / name).chmod(0)


def _folder(name: str) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        (stored.folder / name).unlink()
        (stored.folder / name).mkdir()

    return bend


def _huge(name: str) -> Callable[[Stored], None]:
    """A hole of a file: as long as it says, and empty."""
    return lambda stored: os.truncate(stored.folder / name, 3 << 30)


def _sealed_ways() -> Iterator[Fault]:
    yield Fault("forged: a row group of another run", _group_of_another, "")
    yield Fault("forged: cut in its footer", _cut_footer, "")
    yield Fault("forged: records of both runs", _both_runs, "")


def _group_of_another(stored: Stored) -> None:
    mine = pq.read_table(stored.folder / "records.parquet").to_pylist()
    other = pq.read_table(stored.other / "records.parquet").to_pylist()
    last: Counter[str] = Counter()
    for row in mine:
        last[row["worker"]] = max(last[row["worker"]], row["row"] + 1)
    more = []
    for row in other:
        more.append({**row, "row": last[row["worker"]]})
        last[row["worker"]] += 1
    _store(stored, mine, more)
    counted(stored)


def _both_runs(stored: Stored) -> None:
    """Take every other row from the other run: each is a row that this plan's schedule has."""
    mine = pq.read_table(stored.folder / "records.parquet").to_pylist()
    other = pq.read_table(stored.other / "records.parquet").to_pylist()
    _store(stored, [a if n % 2 else b for n, (a, b) in enumerate(zip(mine, other, strict=True))])


def _store(stored: Stored, *groups: Rows) -> None:
    path: Path = stored.folder / "records.parquet"
    path.unlink()
    write_table(path, [pa.Table.from_pylist(rows, RECORDS) for rows in groups])


def _cut_footer(stored: Stored) -> None:
    stored.bytes("records.parquet", lambda data: data[:-200] + data[-100:])
