"""
Reads an answer that llhttp gives up, where curl, Go's net/http and urllib3 read it alike.

Slow and rarely needed: the framer turns to it when its parser refuses bytes.  What those three read
differently, and so might frame differently, is an error here too.

Source: RFC 9112, sections 2.2, 4, 5.2 (obs-fold), 6.3, 7.1; RFC 9110, 2.5 (minor versions) and 8.6.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

MAX_INTERIM: Final = 100  # interim (1xx) responses before a final one; more is an attack
SWITCHED: Final = "the server switched protocols, which nobody asked for"

_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) +([0-9]{3})(?: .*)?", re.DOTALL)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-][!#$%&'*+.^_`|~0-9A-Za-z -]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)
_LINE_BYTES: Final = 64 * 1024
_TRAILERS: Final = 256
_BLANK: Final = (0x20, 0x09)


class FramingError(Exception):
    """
    The bytes are not an HTTP/1 response.

    The message says what is wrong with them.
    """


class _At(Enum):
    STATUS = auto()
    FIELDS = auto()
    BODY = auto()
    SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    STREAM = auto()
    END = auto()


def interim_fault(status: int, begun: int) -> str:
    """Return what is wrong with an interim status, the ``begun``-th head; empty for nothing."""
    if status < 100:
        return f"status {status} is none; a status has three digits from 100"
    if status == 101:
        return SWITCHED
    if begun > MAX_INTERIM:
        return f"more than {MAX_INTERIM} interim responses before a final one"
    return ""


class TolerantReader:
    """
    Follows the bytes of one response, interim ones before it included.

    Args:
        bodiless: The request is a HEAD: whatever the headers say, no body follows.
        collect: Keep the body.
    """

    def __init__(self, *, bodiless: bool, collect: bool = False) -> None:
        self.status = 0
        self.begun = 0
        """Heads begun, interim ones too."""
        self.fields: list[tuple[bytes, bytes]] = []
        """Headers of the final response."""
        self.head_done = self.done = False
        self.keep_alive = False
        self.surplus = False
        """Bytes came after the end of the response."""
        self.body: list[bytes] = []
        self._bodiless, self._collect = bodiless, collect
        self._at = _At.STATUS
        self._buffer = bytearray()
        self._searched = 0
        self._left = self._trailers = 0
        self._minor = 1
        self._heads = 0

    @property
    def ends_with_stream(self) -> bool:
        """Whether the peer's closing is what ends the body."""
        return self._at is _At.STREAM

    def feed(self, data: bytes) -> bool:
        """
        Take the next bytes.

        Returns:
            True when the response is complete.

        Raises:
            FramingError: They cannot belong to a response that others read alike.
        """
        self._buffer += data
        while not self.done and self._step():
            pass
        if self.done and self._buffer.strip(b"\r\n"):
            self.surplus = True
        return self.done

    def _step(self) -> bool:
        """Go one step further; False when more bytes are needed for it."""
        if self._at in (_At.BODY, _At.CHUNK, _At.STREAM):
            return self._take_body()
        if self._at is _At.CHUNK_END:
            if len(self._buffer) < 2:
                return False
            if self._buffer[:2] != b"\r\n":
                raise FramingError("Expected LF after chunk data")
            del self._buffer[:2]
            self._at = _At.SIZE
            return True
        line = self._line()
        if line is None:
            return False
        if self._at is _At.STATUS:
            self._begin(line)
        elif self._at is _At.FIELDS:
            self._take_field(line)
        elif self._at is _At.SIZE:
            self._take_size(line)
        else:
            self._take_trailer(line)
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._at in (_At.SIZE, _At.TRAILER) and self._searched > _LINE_BYTES:
                raise FramingError("a line between the chunks has no end")
            if self._at is _At.STATUS and self._buffer.strip(b"\r\n"):
                self.begun = self._heads + 1
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        if self._at is _At.SIZE and not line.endswith(b"\r"):
            raise FramingError("Expected CR before LF after chunk size")
        line = line.removesuffix(b"\r")
        if b"\r" in line or b"\0" in line:
            raise FramingError("a line holds a bare CR or a zero byte")
        return line

    def _begin(self, line: bytes) -> None:
        if not line:
            return
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise FramingError("Expected HTTP/1.x and a status of three digits")
        self._heads += 1
        self.begun = self._heads
        self._minor, self.status = int(found[1]), int(found[2])
        self.fields = []
        self._at = _At.FIELDS

    def _take_field(self, line: bytes) -> None:
        if not line:
            self._end_head()
        elif line[0] in _BLANK:
            if not self.fields:
                raise FramingError("a folded line with none before it")
            name, value = self.fields[-1]
            self.fields[-1] = (name, (value + b" " + line.strip(b" \t")).strip())
        else:
            self.fields.append(_field(line))

    def _end_head(self) -> None:
        if self.status < 200:
            if fault := interim_fault(self.status, self.begun):
                raise FramingError(fault)
            self._at = _At.STATUS
            return
        self.head_done = True
        connection = [token.strip().lower() for token in self._list(b"connection")]
        persistent = b"close" not in connection and (self._minor > 0 or b"keep-alive" in connection)
        codings = [coding.strip().lower() for coding in self._list(b"transfer-encoding")]
        lengths = self._lengths()
        self.keep_alive = persistent
        if self._bodiless or self.status in (204, 304):
            self._end()
        elif codings:
            # who sends a length beside may be an attacker: nothing more from it (RFC 9112, 6.3)
            chunked = codings[-1] == b"chunked"
            self.keep_alive = persistent and chunked and not lengths
            self._at = _At.SIZE if chunked else _At.STREAM
        elif not lengths:
            self.keep_alive, self._at = False, _At.STREAM
        else:
            self._left = lengths.pop()
            self._at = _At.BODY
            if not self._left:
                self._end()

    def _list(self, name: bytes) -> list[bytes]:
        values = [value for field, value in self.fields if field.lower() == name]
        return b",".join(values).split(b",") if values else []

    def _lengths(self) -> set[int]:
        """Return no length, or the one that is said, however often."""
        said = [length.strip(b" \t") for length in self._list(b"content-length")]
        if not all(_LENGTH.fullmatch(length) for length in said):
            raise FramingError("Invalid character in Content-Length")
        if len(lengths := {int(length) for length in said}) > 1:
            raise FramingError("Duplicate Content-Length")
        return lengths

    def _take_body(self) -> bool:
        if not self._buffer:
            return False
        size = len(self._buffer)
        if self._at is not _At.STREAM:
            size = min(size, self._left)
            self._left -= size
        if self._collect:
            self.body.append(bytes(self._buffer[:size]))
        del self._buffer[:size]
        if self._at is _At.BODY and not self._left:
            self._end()
        elif self._at is _At.CHUNK and not self._left:
            self._at = _At.CHUNK_END
        return True

    def _take_size(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise FramingError("Invalid character in chunk size")
        self._left = int(found[1], 16)
        self._at = _At.CHUNK if self._left else _At.TRAILER

    def _take_trailer(self, line: bytes) -> None:
        self._trailers += 1
        if self._trailers > _TRAILERS:
            raise FramingError(f"more than {_TRAILERS} trailers")
        if not line:
            self._end()
        elif line[0] not in _BLANK or self._trailers == 1:
            _field(line)

    def _end(self) -> None:
        self._at, self.done = _At.END, True


def _field(line: bytes) -> tuple[bytes, bytes]:
    """
    Return name and value of a header line.

    A blank in a name makes another name of it, as curl, Go and urllib3 see it: what looks like a
    length or a coding is none.
    """
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        raise FramingError("Invalid header token")
    return name, value.strip(b" \t")
