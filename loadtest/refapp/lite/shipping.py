"""
Carries a database file's transactions to its copies, and statements of others to the file.

    FOLLOW                  -> IMAGE <number> <database>
                            -> CHANGE <number> <size> <checksum> <page> <content> ...
    RUN <statement> <JSON>  -> ROWS <number> <JSON: columns, rows>, or ERROR <why>

On the private network alone: who can reach it may write.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable
from typing import Final

from loadtest.refapp.lite.files import PrimaryFile, Rows, Values
from loadtest.refapp.lite.wal import PageSet, WalError
from loadtest.refapp.resp import ProtocolError, command, read_command

BROKEN: Final = (OSError, EOFError, ProtocolError, ValueError)
LIMIT: Final = 1024 * 1024
_MOST_WAITING: Final = 10_000
_logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """The primary's database refused a statement."""


class FileServer:
    """The primary's side; `file` is there before it serves."""

    def __init__(self) -> None:
        self.file: PrimaryFile | None = None
        self._followers: set[asyncio.Queue[PageSet]] = set()

    def ship(self, change: PageSet) -> None:
        """Give a change to every copy; one that does not keep up begins anew."""
        for queue in list(self._followers):
            if queue.full():
                self._followers.discard(queue)
            else:
                queue.put_nowait(change)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until it ends."""
        try:
            while True:
                words, _ = await read_command(reader)
                match words:
                    case (b"FOLLOW",):
                        await self._feed(writer)
                        return
                    case (b"RUN", statement, values):
                        writer.write(self._run(statement.decode(), json.loads(values)))
                        await writer.drain()
                    case _:
                        raise ProtocolError(f"expected FOLLOW or RUN, not {words[:1]!r}")
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # it went away, or the app ends
        except BROKEN as error:
            _logger.warning("a copy was let go: %s", error)
        finally:
            writer.close()

    def _run(self, statement: str, values: Values) -> bytes:
        assert self.file is not None
        try:
            columns, rows = self.file.run(statement, values)
        except sqlite3.Error as error:
            return command(["ERROR", str(error)])
        return command(["ROWS", self.file.number, json.dumps([columns, rows])])

    async def _feed(self, writer: asyncio.StreamWriter) -> None:
        assert self.file is not None
        changes: asyncio.Queue[PageSet] = asyncio.Queue(_MOST_WAITING)
        self._followers.add(changes)  # before the image: what comes after it is in the queue
        try:
            number, image = self.file.image()
            writer.write(command(["IMAGE", number, image]))
            await writer.drain()
            while changes in self._followers:
                change = await changes.get()
                words: list[bytes | int] = [change.number, change.size, change.checksum]
                for page, content in change.pages:
                    words += [page, content]
                writer.write(command(["CHANGE", *words]))
                await writer.drain()
        finally:
            self._followers.discard(changes)


async def follow(
    place: tuple[str, int], image: Callable[[bytes], None], change: Callable[[PageSet], None]
) -> None:
    """
    Follow the primary until the connection breaks.

    Args:
        place: Where it listens: host and port.
        image: Takes the whole database.
        change: Takes each change after it.

    Raises:
        OSError: It is not there, or went away.
        EOFError: It ended the connection.
        ProtocolError: It sent what cannot be.
        WalError: A change is not the next one, or not whole.
    """
    reader, writer = await asyncio.open_connection(*place, limit=LIMIT)
    try:
        writer.write(command(["FOLLOW"]))
        words, _ = await read_command(reader)
        if len(words) != 3 or words[0] != b"IMAGE":
            raise ProtocolError(f"expected an image, not {words[:1]!r}")
        image(words[2])
        while True:
            words, _ = await read_command(reader)
            change(_change(words))
    finally:
        writer.close()


def _change(words: tuple[bytes, ...]) -> PageSet:
    if len(words) < 6 or len(words) % 2 or words[0] != b"CHANGE":
        raise ProtocolError(f"expected a change, not {words[:1]!r}")
    number, size, checksum = map(int, words[1:4])
    pages = tuple((int(p), c) for p, c in zip(words[4::2], words[5::2], strict=True))
    change = PageSet(number, size, pages)
    if change.checksum != checksum:
        raise WalError(f"change {number} did not come whole")
    return change


class FarFile:
    """The primary's file, as another region reaches it: a round trip a statement."""

    def __init__(self, place: tuple[str, int]) -> None:
        self._place = place
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def run(self, statement: str, values: Values) -> tuple[tuple[str, ...], Rows]:
        """
        Run a statement there and return its columns and rows.

        Raises:
            RefusedError: The database refused it.
            OSError: The primary is not there, or went away.
        """
        if not self._idle:
            self._idle.append(await asyncio.open_connection(*self._place, limit=LIMIT))
        reader, writer = self._idle.pop()
        try:
            writer.write(command(["RUN", statement, json.dumps(dict(values))]))
            words, _ = await read_command(reader)
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        if len(words) != 3 or words[0] != b"ROWS":
            raise RefusedError(b" ".join(words[1:2]).decode(errors="replace"))
        columns, rows = json.loads(words[2])
        return tuple(columns), [tuple(row) for row in rows]

    def close(self) -> None:
        """Close every connection."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
