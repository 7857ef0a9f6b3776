"""
Follows a cache's writes, as a replica does that keeps nothing of them.

Source: https://valkey.io/topics/replication: REPLCONF, PSYNC, a snapshot, then every write.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from loadtest.refapp.mirror.merge import Effect, Stamp, Words, plain
from loadtest.refapp.resp import ProtocolError, command, read_command, read_line

CHANNEL: Final = b"mirror"
"""What a write of another cache is published on, in one transaction with it, as its stamp."""

_ACK_S: Final = 1.0
_LIMIT: Final = 1024 * 1024
_PIECE: Final = 65_536
_SILENT: Final = frozenset({b"PING", b"REPLCONF", b"SELECT", b"MULTI", b"EXEC"})


@dataclass(frozen=True, slots=True)
class Told:
    """
    What a cache tells of: writes made here, or one of another cache that was applied here.

    Args:
        writes: Database and command of each write made here.
        applied: The write of another cache; None for writes made here.
    """

    writes: tuple[tuple[int, Words], ...] = ()
    applied: Effect | None = None


class Follower:
    """
    A connection that a cache tells its writes on.

    Args:
        url: ``redis://host:6379``
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._offset = 0
        self._database = 0

    @contextlib.asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[Told]]:
        """
        Open the connection and pass over the snapshot; what follows are writes.

        Raises:
            OSError: The cache is not there, or went away.
            ProtocolError: It will not have a replica.
            asyncio.IncompleteReadError: The connection ended.
        """
        host, port = self._parts.hostname or "localhost", self._parts.port or 6379
        reader, writer = await asyncio.open_connection(host, port, limit=_LIMIT)
        acking: asyncio.Task[None] | None = None
        try:
            if self._parts.password:
                words = [w for w in (self._parts.username, self._parts.password) if w]
                await _ask(reader, writer, "AUTH", *map(unquote, words))
            await _ask(reader, writer, "REPLCONF", "capa", "psync2")
            told = await _ask(reader, writer, "PSYNC", "?", -1)
            if not told.startswith(b"+FULLRESYNC "):
                raise ProtocolError(f"the cache will not have a replica: {told[:80]!r}")
            self._offset, self._database = int(told.split()[2]), 0
            await _pass_over_snapshot(reader)
            acking = asyncio.create_task(self._acknowledge(writer))
            yield self._blocks(reader)
        finally:
            if acking is not None:
                acking.cancel()
            writer.close()

    async def _blocks(self, reader: asyncio.StreamReader) -> AsyncIterator[Told]:
        block: list[tuple[int, Words]] | None = None
        while True:
            words, size = await read_command(reader)
            self._offset += size
            name = words[0].upper() if words else b""
            if name == b"SELECT":
                self._database = int(words[1])
            elif name == b"MULTI":
                block = []
            elif name == b"EXEC":
                told, block = told_by(block or ()), None
                if told is not None:
                    yield told
            elif words and name not in _SILENT:
                write = (self._database, (name, *words[1:]))
                if block is not None:
                    block.append(write)
                elif (told := told_by([write])) is not None:
                    yield told

    async def _acknowledge(self, writer: asyncio.StreamWriter) -> None:
        """Say how far we are: a replica that says nothing for a minute is let go."""
        while True:
            await asyncio.sleep(_ACK_S)
            writer.write(command(["REPLCONF", "ACK", self._offset]))


def told_by(block: Sequence[tuple[int, Words]]) -> Told | None:
    """
    Return what a transaction of a cache's stream tells; None where it tells nothing.

    A write of another cache that changed nothing, such as the end of a key that was not there, has
    left its mark alone.
    """
    if not block or block[-1][1][:2] != (b"PUBLISH", CHANNEL):
        return Told(tuple(block)) if block else None
    time_ns, _, origin = block[-1][1][2].partition(b" ")
    if len(block) == 1 or not time_ns.isdigit():
        return None
    database, words = block[-2]  # what expired on the way stands before it
    stamp = Stamp(int(time_ns), origin.decode(errors="replace"))
    return Told(applied=Effect(stamp, database, plain(words)[0]))


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *words: str | int
) -> bytes:
    """Send a command and return its answer, one line."""
    writer.write(command(words))
    answer = await read_line(reader)
    if answer.startswith(b"-"):
        raise ProtocolError(answer[1:].decode(errors="replace"))
    return answer


async def _pass_over_snapshot(reader: asyncio.StreamReader) -> None:
    line = b""
    while not line:  # the cache sends line ends while it makes the snapshot
        line = await read_line(reader)
    if line[:1] != b"$" or not line[1:].isdigit():
        raise ProtocolError(f"expected a snapshot, not {line[:40]!r}")
    left = int(line[1:])
    while left:
        piece = await reader.read(min(left, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
