"""
HPACK for an edge, which sees the same fields again and again: each is packed and unpacked once.

An edge in Python would otherwise add a tenth of a millisecond more to HTTP/2 than to HTTP/1.1, and
Fly's do not.  Source: RFC 7541, 6.2.3 (literals that leave the table as it is).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpack import Decoder, Encoder, HeaderTuple

_KNOWN = 512


class FieldPacker(Encoder):
    """Packs each field by itself, and puts none into the client's table."""

    def __init__(self) -> None:
        super().__init__()
        self._fields: dict[tuple[bytes, bytes], bytes] = {}

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        """Return the block of a head, a list of names and values."""
        known = self._fields
        if self.header_table.resized:  # to be told of at the head of the next block
            known.clear()
            return super().encode([(name, value, True) for name, value in headers], huffman)
        parts = []
        for field in headers:
            packed = known.get(field)
            if packed is None:
                packed = self.add(field, True)
                if len(known) >= _KNOWN:
                    known.clear()
                known[field] = packed
            parts.append(packed)
        return b"".join(parts)


class BlockReader(Decoder):
    """Unpacks a block that leaves the table as it is once, until something changes the table."""

    def __init__(self, max_header_list_size: int) -> None:
        super().__init__(max_header_list_size)
        self._blocks: dict[bytes, list[HeaderTuple]] = {}

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """Return the fields of a block; errors as those of the library."""
        found = self._blocks.get(data) if raw else None
        if found is not None:
            return found
        entries = self.header_table.dynamic_entries
        newest, number, size = entries[0] if entries else None, len(entries), self.header_table_size
        fields = list(super().decode(data, raw))
        now = entries[0] if entries else None
        if now is not newest or (len(entries), self.header_table_size) != (number, size):
            self._blocks.clear()
        elif raw:
            if len(self._blocks) >= _KNOWN:
                self._blocks.clear()
            self._blocks[bytes(data)] = fields
        return fields
