"""The folder of one run: where its files are, how they are written whole, how they are checked."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from loadtest.errors import RecordsError
from loadtest.records.facts import ENGINE_SCHEMA
from loadtest.records.folder_lock import locked
from loadtest.records.seal import MANIFEST
from loadtest.records.watch import MachineLog
from loadtest.records.whole import read_json, temporary_names, whole_file
from loadtest.records.world_facts import WORLD_SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa

JSON_SCHEMAS: Final = {
    "plan.json": 1,
    "world.json": WORLD_SCHEMA,
    "engine.json": ENGINE_SCHEMA,
    "summary.json": 1,
    "verdict.json": 1,
}
"""Schema version of each JSON file that this version reads and writes."""

LATEST: Final = "latest"

_OTHER_FILES: Final = (
    *(MANIFEST, "records.parquet", "round-trips.csv"),
    *("report.html", "report.md", "junit.xml"),
)
PARTS: Final = "parts"
"""Folder that holds the parts of the records while a run goes on."""

LOGS: Final = "logs"
"""Folder that holds what machines printed, where something failed."""

_LOCK: Final = ".loadtest"
"""Marks a folder as a run's, and is locked while one is under way in it."""

_PLAN_KEYS: Final = frozenset({"schema", "regions", "deployments", "load", "network"})
"""What a plan.json of ours has: runs of earlier versions have no mark."""

_MERGE_ROWS = 1 << 20


class RunFolder:
    """
    One run's folder.

    Args:
        path: The folder; ``create`` makes one, ``open`` checks one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BinaryIO | None = None
        self._made = False

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """
        Make the folder and its parents, and prove that it can be written to.

        Raises:
            RecordsError: Not permitted, no space, or a file stands in the way.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise _unwritable(path, error) from error
        return cls(path)

    @classmethod
    def claim(cls, path: Path) -> RunFolder:
        """
        Take a folder for a new run, whose own it is until `release` or the end of this process.

        What an earlier run left in it stays until `clear`.

        Raises:
            RecordsError: It holds something else than a run, another run is under way in it, or it
                cannot be written.
        """
        if str(path) == ".":
            raise RecordsError("'' or '.' names no run folder; name one of its own, as runs/today")
        try:
            others = path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid())
            foreign = path.is_dir() and not _holds_a_run(path) and any(path.iterdir())
            made = not path.exists()
        except OSError as error:
            raise _unwritable(path, error) from error
        if others:
            raise RecordsError(f"{path}: is another user's link; name the folder itself")
        if foreign:
            raise RecordsError(
                f"{path}: holds something else than a run, which would mix with it; "
                "name a folder that is new or empty"
            )
        folder = cls.create(path)
        folder._made = made
        folder._lock = locked(folder.file(_LOCK))
        return folder

    def release(self) -> None:
        """Let other runs have the folder; if nothing came of this one, leave no trace of it."""
        if self._lock is not None and [entry.name for entry in self.path.iterdir()] == [_LOCK]:
            self.file(_LOCK).unlink()
            if self._made:
                self.path.rmdir()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def clear(self) -> None:
        """
        Remove the files of an earlier run; files that are not a run's stay.

        Raises:
            RecordsError: One of them cannot be removed.
        """
        try:
            for name in (*JSON_SCHEMAS, *_OTHER_FILES):
                for file in (self.path / name, *_half_written(self.path, name)):
                    file.unlink(missing_ok=True)
            self._remove_folder(PARTS, "*.parquet")
            self._remove_folder(LOGS, "*.log")
        except OSError as error:
            raise RecordsError(f"{error.filename}: cannot be removed: {error.strerror}") from error

    def _remove_folder(self, name: str, files: str) -> None:
        """Remove a folder with the files of a run in it; it stays if it holds others."""
        folder = self.path / name
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            for file in (*folder.glob(files), *_half_written(folder, files)):
                file.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()

    def save_logs(self, logs: Sequence[MachineLog]) -> Path:
        """
        Write what machines printed, a file each, in place of what an earlier run left there.

        Returns:
            Their folder.

        Raises:
            RecordsError: One of them cannot be written.
        """
        try:
            self._remove_folder(LOGS, "*.log")
            (self.path / LOGS).mkdir(exist_ok=True)
        except OSError as error:
            raise RecordsError(f"{error.filename}: cannot be written: {error.strerror}") from error
        for log in logs:
            self.save_text(f"{LOGS}/{log.app}-{log.region}-{log.machine}.log", log.text)
        return self.path / LOGS

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """
        Take an existing folder.

        Raises:
            RecordsError: There is no such folder, or it holds no run.
        """
        if not path.is_dir():
            raise RecordsError(f"{path}: no such run folder; `loadtest run` makes one")
        if not (path / "plan.json").is_file():
            raise RecordsError(f"{path}: holds no plan.json, so it is no run folder")
        return cls(path.resolve())

    @property
    def records(self) -> Path:
        """Path of the merged records."""
        return self.path / "records.parquet"

    @property
    def parts(self) -> Path:
        """Folder that holds parts while a run goes on; made on first use."""
        folder = self.path / PARTS
        folder.mkdir(exist_ok=True)
        return folder

    def file(self, name: str) -> Path:
        """Return the path of a file of the run, such as ``report.html``."""
        return self.path / name

    def save_json(self, name: str, value: dict[str, object]) -> Path:
        """
        Write a JSON file whole or not at all.

        Raises:
            RecordsError: The schema version in ``value`` is not this version's, or writing failed.
        """
        self._check(name, value)
        return self.save_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def save_text(self, name: str, text: str) -> Path:
        """Write a text file whole or not at all."""
        return self.save_bytes(name, text.encode())

    def save_bytes(self, name: str, data: bytes) -> Path:
        """
        Write a file whole or not at all: a reader sees the old content or the new.

        Raises:
            RecordsError: It cannot be written; says why.
        """
        path = self.path / name
        try:
            with whole_file(path) as file:
                file.write(data)
        except OSError as error:
            raise RecordsError(f"{path}: cannot be written: {error.strerror}") from error
        return path

    def load_json(self, name: str) -> dict[str, object]:
        """
        Read a JSON file of the run and check its schema version.

        Raises:
            RecordsError: Missing, damaged, or of a version this one does not read.
        """
        path = self.path / name
        try:
            value = read_json(path)
        except FileNotFoundError as error:
            raise RecordsError(
                f"{path}: no such file: this is not a complete run folder; did the run finish?"
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise RecordsError(f"{path}: cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise RecordsError(f"{path}: holds no JSON object")
        self._check(name, value)
        return value

    def merge_parts(self, parts: Sequence[Path] | None = None, *, keep: bool = False) -> int:
        """
        Merge part files into ``records.parquet`` and remove the folder of parts.

        Args:
            parts: Files in the order of merging; None takes all of the folder of parts by name.
            keep: Leave the folder of parts: more are to come.

        Returns:
            Number of rows merged.

        Raises:
            RecordsError: A part is damaged or of another schema; the parts stay.
        """
        from loadtest.records.writer import write_table

        found = sorted(self.parts.glob("*.parquet")) if parts is None else list(parts)
        rows = write_table(self.records, _tables(found))
        if not keep:
            with contextlib.suppress(OSError):  # the rows are safe in one file by now
                self._remove_folder(PARTS, "*.parquet")
        return rows

    def point_latest(self) -> None:
        """Make ``latest`` beside the folder point to it; on file systems without links, nothing."""
        link = self.path.parent / LATEST
        temporary = self.path.parent / f".{LATEST}-{os.getpid()}"
        try:
            if link.exists() and not link.is_symlink():
                return
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(self.path.name)
            temporary.replace(link)
        except OSError:
            temporary.unlink(missing_ok=True)

    def _check(self, name: str, value: dict[str, object]) -> None:
        known = JSON_SCHEMAS.get(name)
        if known is not None and value.get("schema") != known:
            raise RecordsError(
                f"{self.path / name}: schema {value.get('schema')!r}; this version reads {known}: "
                "use the loadtest version that wrote the run, or measure again"
            )


def _half_written(folder: Path, name: str) -> Iterator[Path]:
    """Yield what writers that were killed left of files of a name."""
    return folder.glob(temporary_names(name))


def _unwritable(path: Path, error: OSError) -> RecordsError:
    return RecordsError(
        f"{str(path)[:400]}: cannot be written ({error.strerror}); choose another place with --out"
    )


def _holds_a_run(path: Path) -> bool:
    if (path / _LOCK).is_file() and not (path / _LOCK).is_symlink():
        return True
    try:
        plan = read_json(path / "plan.json")
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(plan, dict) and plan.keys() >= _PLAN_KEYS


def _tables(parts: Sequence[Path]) -> Iterator[pa.Table]:
    """Yield the parts' rows in tables of about a million, so that row groups are worthwhile."""
    import pyarrow as pa

    from loadtest.records.reader import open_records

    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        with open_records(part) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                waiting.append(table)
                rows += table.num_rows
                if rows >= _MERGE_ROWS:
                    yield pa.concat_tables(waiting)
                    waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)
