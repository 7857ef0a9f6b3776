"""
The protocol that Redis-compatible servers speak, as far as a replica needs it.

Source: https://valkey.io/topics/protocol (RESP2), and for PSYNC
https://valkey.io/topics/replication and the server's replication.c.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

MOST_WORDS: Final = 1_000_000
MOST_BYTES: Final = 512 * 1024 * 1024


class ProtocolError(Exception):
    """The other side sent what cannot be; the connection is of no more use."""


def command(words: Iterable[bytes | str | int]) -> bytes:
    """Return a command as it is sent."""
    encoded = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    parts = [b"*%d\r\n" % len(encoded)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
    return b"".join(parts)


async def read_line(reader: asyncio.StreamReader) -> bytes:
    """
    Return a line without its end.

    Raises:
        ProtocolError: It has no end.
        asyncio.IncompleteReadError: The connection ended.
    """
    try:
        return (await reader.readuntil(b"\n")).rstrip(b"\r\n")
    except asyncio.LimitOverrunError as error:
        raise ProtocolError("a line does not end") from error


async def read_command(reader: asyncio.StreamReader) -> tuple[tuple[bytes, ...], int]:
    """
    Return the next command, and how many bytes it took.

    Raises:
        ProtocolError: It is none.
        asyncio.IncompleteReadError: The connection ended.
    """
    line = await read_line(reader)
    if not line:  # a bare line end keeps a silent connection alive
        return (), 1
    size = len(line) + 2
    words = []
    for _ in range(_number(line, b"*", MOST_WORDS)):
        head = await read_line(reader)
        length = _number(head, b"$", MOST_BYTES)
        words.append((await reader.readexactly(length + 2))[:-2])
        size += len(head) + 2 + length + 2
    return tuple(words), size


async def read_number(reader: asyncio.StreamReader) -> int:
    """
    Return the next answer, a number.

    Raises:
        ProtocolError: It is none.
        asyncio.IncompleteReadError: The connection ended.
    """
    return _number(await read_line(reader), b":", 2**63)


def _number(line: bytes, kind: bytes, most: int) -> int:
    text = line[1:]
    if line[:1] != kind or not text.isdigit() or len(text) > 19 or int(text) > most:
        raise ProtocolError(f"expected {kind.decode()} and a number, not {line[:40]!r}")
    return int(text)
