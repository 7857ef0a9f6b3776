"""Sessions with SQLite beside the app: the same calls as with PostgreSQL, and no round trip."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, LiteralString, TypeVar

from loadtest.refapp.ledger import Distance, Ledger
from loadtest.refapp.lite.files import PrimaryFile, ReplicaFile
from loadtest.refapp.lite.shipping import BROKEN, FarFile, FileServer, follow
from loadtest.refapp.lite.wal import PageSet, WalError
from loadtest.refapp.settings import LiteSettings

Row = TypeVar("Row")
_RETRY_S: Final = 0.2
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_ANY_CASE: Final = re.compile(r"\bILIKE (%\(\w+\)s)")
_logger = logging.getLogger(__name__)


class LiteDatabase:
    """The file of this region: the primary's own, or a copy that follows it."""

    def __init__(self, settings: LiteSettings) -> None:
        self._settings = settings
        self._file: PrimaryFile | ReplicaFile | None = None
        self._task: asyncio.Task[None] | None = None
        self._temporary = ""
        self.distance = Distance()
        self.ready = False

    def open(self) -> None:
        """Begin to serve the file, or to follow it; `ready` tells when it is there."""
        folder = self._settings.folder
        if not folder:
            folder = self._temporary = tempfile.mkdtemp(prefix="recipes-")
        path = Path(folder) / "recipes.db"
        work = self._serve(path) if self._settings.primary else self._follow(path)
        self._task = asyncio.create_task(work)

    async def close(self) -> None:
        """Close the file."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._file is not None:
            self._file.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    @asynccontextmanager
    async def session(self, ledger: Ledger) -> AsyncIterator[LiteSession]:
        """
        Lend the file.

        Raises:
            OSError: It is not there yet.
        """
        if self._file is None:
            raise ConnectionError("the database is not here yet")
        yield LiteSession(self._file, ledger)

    async def value(self, _statement: str) -> object:
        """Return the number of the last transaction, as PostgreSQL writes a position."""
        if self._file is None:
            raise ConnectionError("the database is not here yet")
        number = self._file.number
        return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"

    async def _serve(self, path: Path) -> None:
        shipper = FileServer()
        try:
            self._file = shipper.file = PrimaryFile(path, shipper.ship)
            server = await asyncio.start_server(
                shipper.serve, self._settings.host, self._settings.port
            )
        except (OSError, sqlite3.Error) as error:
            _logger.error("the database cannot be served: %s", error)
            return
        self.ready = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()  # waits for no copy, as `async with` does from Python 3.12 on

    async def _follow(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        while True:
            try:
                await follow(
                    self._settings.place, functools.partial(self._become, path), self._apply
                )
            except (*BROKEN, WalError) as error:
                _logger.warning("the primary's file is not followed: %s", error)
            await asyncio.sleep(_RETRY_S)

    def _become(self, path: Path, image: bytes) -> None:
        if isinstance(self._file, ReplicaFile):
            self._file.overwrite(image)
        else:
            self._file = ReplicaFile(path, image)
        self.ready = True

    def _apply(self, change: PageSet) -> None:
        assert isinstance(self._file, ReplicaFile)
        self._file.apply(change)


class LiteSession:
    """One request's use of a file beside it."""

    def __init__(self, file: PrimaryFile | ReplicaFile, ledger: Ledger) -> None:
        self._file = file
        self._ledger = ledger

    async def fetch(
        self, row: type[Row], query: LiteralString, parameters: dict[str, Any] | None = None
    ) -> list[Row]:
        """Run one statement and return its rows; it counts as one of the request's queries."""
        begun_ns = time.monotonic_ns()
        try:
            columns, found = self._file.run(spelt(query), parameters or {})
            return [row(**dict(zip(columns, values, strict=True))) for values in found]
        finally:
            self._ledger.database_ns += time.monotonic_ns() - begun_ns
            self._ledger.round_trips += 1


class FarLite:
    """The primary's file, from another region."""

    def __init__(self, settings: LiteSettings) -> None:
        self._file = FarFile(settings.place)
        self.distance = Distance()
        self.ready = True

    def open(self) -> None:
        """Nothing is opened before it is asked for."""

    async def close(self) -> None:
        """Close every connection."""
        self._file.close()

    @asynccontextmanager
    async def session(self, ledger: Ledger) -> AsyncIterator[FarLiteSession]:
        """Lend the file."""
        yield FarLiteSession(self._file, ledger, self.distance)


class FarLiteSession:
    """One request's use of the primary's file, from another region."""

    def __init__(self, file: FarFile, ledger: Ledger, distance: Distance) -> None:
        self._file, self._ledger, self._distance = file, ledger, distance

    async def fetch(
        self, row: type[Row], query: LiteralString, parameters: dict[str, Any] | None = None
    ) -> list[Row]:
        """Run one statement in one round trip and return its rows."""
        begun_ns = time.monotonic_ns()
        try:
            columns, found = await self._file.run(spelt(query), parameters or {})
            self._ledger.away_ns += self._distance.note(time.monotonic_ns() - begun_ns)
            return [row(**dict(zip(columns, values, strict=True))) for values in found]
        finally:
            self._ledger.database_ns += time.monotonic_ns() - begun_ns
            self._ledger.round_trips += 1


@functools.cache
def spelt(query: str) -> str:
    """Return one of our statements for PostgreSQL as SQLite spells it."""
    return _PARAMETER.sub(r":\1", _ANY_CASE.sub(r"LIKE \1 ESCAPE '\\'", query))
