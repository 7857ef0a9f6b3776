"""The two kinds of database file: the one that is written, and its copies."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from loadtest.refapp.catalogue import CITIES, seed_recipes
from loadtest.refapp.lite.wal import Copy, PageSet, WalError, read_wal

_CHECKPOINT_BYTES: Final = 1024 * 1024
_BUSY_S: Final = 1.0

_SCHEMA: Final = """
CREATE TABLE cities (
    id INTEGER PRIMARY KEY, slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL, country TEXT NOT NULL,
    region TEXT NOT NULL UNIQUE
);
CREATE TABLE recipes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, city_id INTEGER NOT NULL REFERENCES cities,
    title TEXT NOT NULL, summary TEXT NOT NULL DEFAULT '', ingredients TEXT NOT NULL DEFAULT '',
    minutes INTEGER NOT NULL CHECK (minutes > 0), cooked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX recipes_of_a_city ON recipes (city_id, id DESC);
INSERT INTO sqlite_sequence (name, seq) VALUES ('recipes', 10000);
PRAGMA user_version = 1;
"""

Values = Mapping[str, Any]
Rows = list[tuple[Any, ...]]


class PrimaryFile:
    """
    The file that takes writes, in WAL mode; every transaction has a number.

    The number is the file's ``user_version``, set inside the transaction: it is part of the data,
    and of every copy.

    Args:
        path: The file; made and filled where it is not there.
        ship: Is given each change, after its commit.
    """

    def __init__(self, path: Path, ship: Callable[[PageSet], None]) -> None:
        fresh = not path.exists()
        self._log = path.with_name(path.name + "-wal")
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # a checkpoint of SQLite's own would begin the log anew behind our back
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if fresh:
            _fill(self._connection)
        self._ship = ship
        self._offset = 0
        self._checkpoint()

    @property
    def number(self) -> int:
        """Return the number of the last transaction."""
        return _number(self._connection)

    def run(self, statement: str, values: Values) -> tuple[tuple[str, ...], Rows]:
        """Run a statement and return its columns and rows; what it changes is shipped."""
        if _reads(statement):
            return _rows(self._connection.execute(statement, values))
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            before = self._connection.total_changes
            found = _rows(self._connection.execute(statement, values))
            changed = self._connection.total_changes > before
            if changed:
                self._connection.execute(f"PRAGMA user_version = {self.number + 1}")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        if changed:
            self._take_log()
        return found

    def image(self) -> tuple[int, bytes]:
        """Return the number of the last transaction, and the whole database."""
        return self.number, self._connection.serialize()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _take_log(self) -> None:
        log, number = self._log.read_bytes(), self.number
        change, self._offset = read_wal(log, self._offset, number)
        if change is None:  # the log was begun anew: all of it was in the file, nobody read it
            change, self._offset = read_wal(log, 0, number)
        if change is None:
            raise WalError(f"transaction {number} is not in {self._log}")
        self._ship(change)
        if self._offset > _CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Write the log back and begin it anew; where a reader is in the way, later."""
        busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            self._offset = 0


class ReplicaFile:
    """
    A copy of the primary's file, read alone.

    Args:
        path: Where it is made.
        image: The primary's database.
    """

    def __init__(self, path: Path, image: bytes) -> None:
        self._copy = Copy(str(path), image)
        self._reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        self._locker = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)

    @property
    def number(self) -> int:
        """Return the number of the last transaction that is here."""
        return _number(self._reader)

    def run(self, statement: str, values: Values) -> tuple[tuple[str, ...], Rows]:
        """Run a statement and return its columns and rows; SQLite itself refuses a write."""
        return _rows(self._reader.execute(statement, values))

    def apply(self, change: PageSet) -> None:
        """
        Become what the primary is after a change.

        Raises:
            WalError: It is not the next one, or not whole.
        """
        if change.number != self.number + 1:
            raise WalError(f"after transaction {self.number} came {change.number}")
        self._locker.execute("BEGIN EXCLUSIVE")
        try:
            self._copy.lay_over(change)
        finally:
            self._locker.execute("ROLLBACK")

    def overwrite(self, image: bytes) -> None:
        """Become another image of the primary."""
        self._locker.execute("BEGIN EXCLUSIVE")
        try:
            self._copy.overwrite(image)
        finally:
            self._locker.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._locker.close()
        self._copy.close()


def _reads(statement: str) -> bool:
    return statement.lstrip()[:6].upper() == "SELECT"


def _rows(cursor: sqlite3.Cursor) -> tuple[tuple[str, ...], Rows]:
    return tuple(column[0] for column in cursor.description or ()), cursor.fetchall()


def _number(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _fill(connection: sqlite3.Connection) -> None:
    ids = {city.slug: number for number, city in enumerate(CITIES, start=1)}
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO cities VALUES (?, ?, ?, ?, ?)",
        [(ids[c.slug], c.slug, c.name, c.country, c.region) for c in CITIES],
    )
    connection.executemany(
        "INSERT INTO recipes (id, city_id, title, summary, ingredients, minutes)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(r.id, ids[r.city], r.title, r.summary, r.ingredients, r.minutes) for r in seed_recipes()],
    )
    connection.execute("COMMIT")
