"""
Reads what a transaction changed out of SQLite's write-ahead log, and lays it over a copy.

A database in WAL mode appends the pages that a transaction changed to a file beside it; the last
one's frame says that it is committed, and how many pages the database has then.  A copy elsewhere
that is given these pages is the same database again.

Source: https://www.sqlite.org/fileformat2.html, sections 1.3 (database header) and 4 (the WAL).
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = (0x377F0682, 0x377F0683)
_JOURNALED: Final = b"\x01\x01"
"""A file that is changed in place: nobody but us writes to a copy, and it has no log beside it."""
_COUNTER: Final = struct.Struct(">I")
_COUNTER_AT: Final = (24, 92)
_PAGE_SIZE_AT: Final = 16


class WalError(Exception):
    """The log or what was sent of it is not what SQLite writes; a copy has to be made anew."""


@dataclass(frozen=True, slots=True)
class PageSet:
    """
    What one or more transactions have changed.

    Args:
        number: Of the last of them.
        size: Pages that the database has then.
        pages: Each changed page and its content, in order.
    """

    number: int
    size: int
    pages: tuple[tuple[int, bytes], ...]

    @property
    def checksum(self) -> int:
        """Return what tells whether it came whole."""
        found = zlib.crc32(b"%d %d" % (self.number, self.size))
        for number, content in self.pages:
            found = zlib.crc32(content, zlib.crc32(b"%d" % number, found))
        return found


def read_wal(log: bytes, start: int, number: int) -> tuple[PageSet | None, int]:
    """
    Return what was committed from an offset on, and the offset where the next comes.

    Args:
        log: The whole file.
        start: Where to begin: 0, or what an earlier call returned.
        number: Number of the transaction.

    Raises:
        WalError: It is no log.
    """
    if len(log) < _HEADER.size:
        return None, start
    magic, _, page_size, _, *salts, _, _ = _HEADER.unpack_from(log)
    if magic not in _MAGIC:
        raise WalError(f"a log begins with {magic:#x}: that is none of SQLite's")
    page_size = page_size or 65_536
    at = committed = max(start, _HEADER.size)
    size, pages, waiting = 0, dict[int, bytes](), dict[int, bytes]()
    while at + _FRAME.size + page_size <= len(log):
        page, after, *rest = _FRAME.unpack_from(log, at)
        if rest[:2] != salts:  # a frame of an earlier round, not yet written over
            break
        at += _FRAME.size + page_size
        waiting[page] = log[at - page_size : at]
        if after:
            pages |= waiting
            waiting.clear()
            size, committed = after, at
    if not pages:
        return None, committed
    return PageSet(number, size, tuple(sorted(pages.items()))), committed


class Copy:
    """
    A database file that is a copy of another, and is laid over with what changed there.

    Its file stays open as long as it lives: closing one would let go of every lock that SQLite
    holds on it in this process.

    Args:
        path: The file.
        image: The other database, whole.

    Raises:
        WalError: It is no database.
    """

    def __init__(self, path: str, image: bytes) -> None:
        if not image.startswith(b"SQLite format 3\0"):
            raise WalError("what was sent is no database")
        self.page_size = int.from_bytes(image[_PAGE_SIZE_AT : _PAGE_SIZE_AT + 2], "big")
        if self.page_size == 1:
            self.page_size = 65_536
        self._counter = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.overwrite(image)

    def overwrite(self, image: bytes) -> None:
        """Become another image."""
        os.pwrite(self._file, self._first(image[: self.page_size]) + image[self.page_size :], 0)
        os.ftruncate(self._file, len(image))

    def lay_over(self, change: PageSet) -> None:
        """
        Write a change into the file; the caller holds SQLite's exclusive lock.

        Raises:
            WalError: It is not whole.
        """
        if not change.pages or change.pages[0][0] != 1:
            raise WalError(f"change {change.number} does not have the first page")
        for page, content in change.pages:
            if len(content) != self.page_size or page < 1:
                raise WalError(f"change {change.number} has a page of {len(content)} bytes")
            whole = self._first(content) if page == 1 else content
            os.pwrite(self._file, whole, (page - 1) * self.page_size)
        os.ftruncate(self._file, change.size * self.page_size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _first(self, page: bytes) -> bytes:
        """Return the first page as a copy has it: its counter tells readers that it has changed."""
        self._counter += 1
        counter = _COUNTER.pack(self._counter)
        first = bytearray(page)
        first[18:20] = _JOURNALED
        for at in _COUNTER_AT:
            first[at : at + 4] = counter
        return bytes(first)
