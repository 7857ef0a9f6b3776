"""
Heads of HTTP/2 requests and answers, packed and unpacked once for many that are the same.

Source: RFC 7541 (HPACK); RFC 9113, section 8 (what a head must be like).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Decoder, Encoder

Fields = list[tuple[bytes, bytes]]

_KNOWN_HEADS: Final = 256
_PACKED_HEADS: Final = 4_096
_OF_CONNECTION: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)  # RFC 9113, 8.2.2
HEAD: Final = HeaderValidationFlags(
    is_client=True, is_trailer=False, is_response_header=True, is_push_promise=False
)
TRAILER: Final = HEAD._replace(is_trailer=True, is_response_header=False)


class Pieces(list[bytes]):
    """An answer's body as it came, and its header fields, trailers last."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: Fields = []

    def take_apart(self) -> tuple[list[tuple[str, str]], bytes]:
        """Return headers and body, as ``parser.take_apart`` does."""
        named = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.fields
            if name[:1] != b":"
        ]
        return named, b"".join(self)


class HeadPacker:
    """
    Packs the heads of requests.

    Nothing is put into the server's table: a block so means the same at any time and on every
    connection, and is packed once for all requests of a process that have it.

    Args:
        scheme: ``http`` or ``https``.
    """

    def __init__(self, scheme: bytes) -> None:
        self._scheme = scheme
        self._encoder = Encoder()
        self._blocks: dict[bytes, bytes] = {}

    def block(self, head: bytes) -> bytes:
        """
        Return the field block of a request's head.

        Args:
            head: As HTTP/1.1 has it, without the blank line.
        """
        found = self._blocks.get(head)
        if found is None:
            if len(self._blocks) >= _PACKED_HEADS:
                self._blocks.clear()
            fields = [(name, value, True) for name, value in self.fields(head)]
            found = self._blocks[head] = self._encoder.encode(fields)
        return found

    def fields(self, head: bytes) -> Fields:
        """Return the fields of the same head."""
        return fields_of(head, self._scheme)


@lru_cache(maxsize=2)
def packer_of(scheme: bytes) -> HeadPacker:
    """Return the one packer of a scheme."""
    return HeadPacker(scheme)


@dataclass(frozen=True, slots=True)
class ReadHead:
    """
    What the head of an answer says.

    Args:
        fields: All of it, the status first.
        status: As a number.
        region: Value of ``fly-region``.
        timing: Values of ``server-timing``, joined.
        cookies: Values of ``set-cookie``; None for none.
        length: Bytes of the body that it announces; None where it does not.
    """

    fields: Fields
    status: int
    region: bytes
    timing: bytes
    cookies: list[bytes] | None
    length: int | None

    @classmethod
    def of(cls, fields: Fields) -> ReadHead:
        """
        Read the fields of a head.

        Raises:
            ValueError: They have no status, or lengths that are none or differ.
        """
        status, region, timings, cookies, lengths = b"", b"", [], [], set()
        for name, value in fields:
            if name == b":status":
                status = value
            elif name == b"fly-region":
                region = value
            elif name == b"server-timing":
                timings.append(value)
            elif name == b"set-cookie":
                cookies.append(value)
            elif name == b"content-length":
                lengths.add(value)
        if len(status) != 3 or not status.isdigit() or status < b"100":
            raise ValueError(f"status {status!r} is none")
        if len(lengths) > 1 or not all(value.isdigit() for value in lengths):
            raise ValueError(f"content-length {b', '.join(sorted(lengths))!r} is none")
        length = int(lengths.pop()) if lengths else None
        return cls(fields, int(status), region, b",".join(timings), cookies or None, length)


class HeadReader:
    """
    Unpacks the heads of answers.

    A block that leaves the table as it is means the same until the table changes.

    Args:
        decoder: The connection's.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._known: dict[bytes, ReadHead] = {}

    def read(self, block: bytes) -> ReadHead:
        """
        Return what a head says.

        Raises:
            ValueError: It is none (RFC 9113, 8.3.2).
            HPACKError: It cannot be unpacked.
            ProtocolError: It breaks a rule of the library's.
        """
        found = self._known.get(block)
        if found is None:
            before = self._state()
            found = ReadHead.of(self._fields(block, HEAD))
            after = self._state()
            if after[0] is not before[0] or after[1:] != before[1:]:
                self._known.clear()
            elif len(self._known) < _KNOWN_HEADS:
                self._known[block] = found
        return found

    def read_trailers(self, block: bytes) -> Fields:
        """Return the fields that follow a body; errors as those of `read`."""
        self._known.clear()
        return self._fields(block, TRAILER)

    def pass_over(self, block: bytes) -> None:
        """Keep the table right for a head that nobody wants; errors as those of `read`."""
        self._known.clear()
        self._decoder.decode(block, raw=True)

    def forget(self) -> None:
        """Note that somebody else has used the decoder."""
        self._known.clear()

    def _fields(self, block: bytes, rules: HeaderValidationFlags) -> Fields:
        return checked(self._decoder.decode(block, raw=True), rules)

    def _state(self) -> tuple[object, int, int]:
        """Return what any change of the table changes: newest entry, number of entries, size."""
        entries = self._decoder.header_table.dynamic_entries
        return entries[0] if entries else None, len(entries), self._decoder.header_table_size


def checked(fields: Iterable[tuple[bytes, bytes]], rules: HeaderValidationFlags) -> Fields:
    """
    Return the fields of a head; blanks around a value, which browsers and curl pass over, are gone.

    Raises:
        ProtocolError: They break a rule of RFC 9113, 8.2 or 8.3.
    """
    bare = [(name, value.strip(b" \t")) for name, value in fields]
    return [(name, value) for name, value in validate_headers(bare, rules)]


def fields_of(head: bytes, scheme: bytes) -> Fields:
    """
    Return the header fields that HTTP/2 sends for a request's head (RFC 9113, 8.3.1).

    Args:
        head: As HTTP/1.1 has it, without the blank line.
        scheme: ``http`` or ``https``.
    """
    first, *lines = head.split(b"\r\n")
    method, path, _ = first.split(b" ", 2)
    named = [line.partition(b": ") for line in lines]
    plain = [(name.lower(), value) for name, _, value in named]
    host = next((value for name, value in plain if name == b"host"), b"")
    pseudo = [
        (b":method", method),
        (b":authority", host),
        (b":scheme", scheme),
        (b":path", path),
    ]
    kept = [
        (name, value) for name, value in plain if name != b"host" and name not in _OF_CONNECTION
    ]
    return pseudo + [pair for pair in kept if pair[0] != b"te" or pair[1] == b"trailers"]
