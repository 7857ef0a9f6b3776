"""
Where a response begins and ends: framing on top of llhttp (httptools), as tolerant as a browser.

Bodies are not collected here.  The connection keeps the raw bytes, and `apart` reads headers and
body out of them when a scenario asks: an answer nobody looks at costs neither.

Source: RFC 9112, section 6.3 (message body length) and 9.6 (tear-down).
"""

from __future__ import annotations

import re
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from loadtest.engine.client.tolerant import SWITCHED, FramingError, TolerantReader, interim_fault

__all__ = ["FramingError", "OddName", "ResponseFramer", "new_parser"]

_KNOWN_NAMES = 512
_REREAD_BYTES: Final = 1 << 20  # of an answer are at hand, should the parser refuse it
BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_BARE_CR = re.compile(rb"\r[^\n]")

_IGNORED, _REGION, _TIMING, _COOKIE, _SIZE, _CODING, _CONNECTION = range(7)
_KINDS: Final = {
    b"fly-region": _REGION,
    b"server-timing": _TIMING,
    b"set-cookie": _COOKIE,
    b"content-length": _SIZE,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
}


def _may_be_odd(data: bytes) -> bool:
    """Tell whether bytes of a head may hold what the parser lets pass; bodies are seldom read."""
    end = data.find(b"\r\n\r\n")
    bare = _BARE_CR.search(data, 0, end + 2) if end >= 0 else _BARE_CR.search(data)
    return bare is not None or b"\0" in data


def new_parser(callbacks: object) -> Any:
    """
    Return a parser that reads what browsers, curl, Go and urllib3 read alike.

    What two readers would frame differently stays an error: lengths that differ, bytes that are no
    head, chunks without their end.  Of what else it refuses ``TolerantReader`` reads some.
    """
    parser: Any = HttpResponseParser(callbacks)
    parser.set_dangerous_leniencies(
        lenient_headers=True,  # obs-fold (RFC 9112, 5.2), characters out of range
        lenient_chunked_length=True,  # beside a length, chunks win (RFC 9112, 6.3)
        lenient_optional_cr_before_lf=True,
        lenient_spaces_after_chunk_size=True,
    )
    return parser


class ResponseFramer:
    """
    Follows the bytes of one response after another on one connection.

    ``start`` before each request, ``feed`` for each piece that arrives.  Interim responses (1xx)
    are passed over: ``begun`` counts response heads begun, so a caller sees which piece brought
    the first byte of the head that turned out to be the final one.
    """

    __slots__ = (
        "_at_hand",
        "_bodiless",
        "_chunked",
        "_connection",
        "_doubly_framed",
        "_head_done",
        "_parser",
        "_pieces",
        "_sized",
        "_tolerant",
        "begun",
        "cookies",
        "done",
        "fault",
        "keep_alive",
        "region",
        "status",
        "surplus",
        "timing",
    )

    # spelling of a name as it came -> what it is; servers spell the same few names over and over
    _spellings: Final[dict[bytes, int]] = dict(_KINDS)
    _collects = False

    def __init__(self) -> None:
        self._parser: Any = new_parser(self)
        self._tolerant: TolerantReader | None = None
        self.start(bodiless=False)

    def start(self, *, bodiless: bool) -> None:
        """
        Expect the response to the next request.

        Args:
            bodiless: The request is a HEAD: whatever the headers say, no body follows.
        """
        self._bodiless = bodiless
        self._head_done = False
        self._sized = self._chunked = False
        self._connection = b""
        self._doubly_framed = False
        self._pieces: list[bytes] = []
        self._at_hand = 0
        if self._tolerant is not None:  # the parser gave up on the answer before
            self._tolerant = None
            self._parser = new_parser(self)
        self.begun = 0
        self.done = False
        self.keep_alive = False
        self.surplus = False
        """Bytes came after the end of the response: the connection is spoilt."""
        self.status = 0
        self.fault = ""
        self.region = b""
        self.timing = b""
        self.cookies: list[bytes] | None = None

    @property
    def head_done(self) -> bool:
        """Whether the head of the final response is complete."""
        return self._head_done

    def feed(self, data: bytes) -> bool:
        """
        Take the next bytes.

        Returns:
            True when the response is complete.

        Raises:
            FramingError: They cannot belong to an HTTP/1 response.
        """
        if self._tolerant is not None:
            return self._feed_tolerant(self._tolerant, data)
        if self._bodiless:
            return self._feed_bodiless(data)
        if not self._head_done:
            if self._pieces and self._pieces[-1][-1:] == b"\r" and data[:1] != b"\n":
                # in one piece the parser refuses it; cut here, it takes it for the end of the head
                raise FramingError("a line of the head holds a bare CR")
            self._pieces.append(data)
            if _may_be_odd(data):
                self._refuse_odd()
        elif self._chunked and self._at_hand <= _REREAD_BYTES:
            self._at_hand += len(data)
            self._pieces.append(data)
        if (error := self._unread(data)) is not None:
            return self._read_anew(error)
        if self.fault:
            raise FramingError(self.fault)
        return self.done

    def end_of_stream(self) -> bool:
        """Return True if the peer's closing is how this response ends (a body without a length)."""
        if not self.done and self._head_done and not self._sized:
            self.done = True
            self.keep_alive = False
        return self.done

    def dispose(self) -> None:
        """Let go of the parser, which holds this object: no work for the garbage collector."""
        self._parser = None

    def _refuse_odd(self) -> None:
        """Refuse what the parser lets pass in a head; a body may hold any."""
        raw = b"".join(self._pieces)
        end = BLANK_LINE.search(raw)
        head = raw[: end.start() + 1] if end is not None else raw
        if b"\0" in head:
            raise FramingError("a header holds a zero byte")
        if _BARE_CR.search(head):
            raise FramingError("a line of the head holds a bare CR")

    def _unread(self, data: bytes) -> HttpParserError | None:
        """Give the parser bytes; return why the response cannot be read on, None if it can."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise FramingError(SWITCHED) from None
        except HttpParserError as error:
            if not self.done:
                return error
            self.surplus = True
        return None

    def _read_anew(self, error: HttpParserError) -> bool:
        """Have what the parser refuses read by the reader that is as tolerant as others are."""
        if self.fault or self._at_hand > _REREAD_BYTES:
            raise FramingError(self.fault or str(error))
        self._tolerant = TolerantReader(bodiless=self._bodiless, collect=self._collects)
        self._head_done = False
        return self._feed_tolerant(self._tolerant, b"".join(self._pieces))

    def _feed_tolerant(self, reader: TolerantReader, data: bytes) -> bool:
        self._pieces = []
        self.done = reader.feed(data)
        self.begun, self.surplus = reader.begun, reader.surplus
        if reader.head_done and not self._head_done:
            self._forget_head()
            for name, value in reader.fields:
                self.on_header(name, value)
            self._head_done = True
            self.status = reader.status
            self._sized = not reader.ends_with_stream
            self.keep_alive = reader.keep_alive
        return self.done

    def _forget_head(self) -> None:
        self.region = self.timing = self._connection = b""
        self.cookies = None
        self._sized = self._chunked = False

    def _feed_bodiless(self, data: bytes) -> bool:
        """Feed a response that ends with its head, which llhttp cannot be told beforehand."""
        self._pieces.append(data)
        if _may_be_odd(data):
            self._refuse_odd()
        if (error := self._unread(data)) is not None:
            return self._read_anew(error)
        if self.fault:
            raise FramingError(self.fault)
        if self.done:
            heads = BLANK_LINE.split(b"".join(self._pieces), self.begun)
            self.surplus = heads[-1] != b""
            self._parser = new_parser(self)  # the old one waits for a body
        return self.done

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Parser: the first byte of a response head."""
        if self.done:
            self.surplus = True
            return
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: one header line, or a trailer, which says nothing that a row needs."""
        if self._head_done:
            return
        kind = self._spellings.get(name)
        if kind is None:
            if b" " in name:
                if self._tolerant is not None:
                    return
                raise OddName  # the parser takes it for what it would be without the blank
            kind = _KINDS.get(name.lower(), _IGNORED)
            if len(self._spellings) < _KNOWN_NAMES:
                self._spellings[name] = kind
        if kind:
            self._note(kind, value)

    def _note(self, kind: int, value: bytes) -> None:
        if kind == _REGION:
            self.region = value
        elif kind == _TIMING:
            self.timing = self.timing + b"," + value if self.timing else value
        elif kind == _SIZE:
            self._doubly_framed = self._chunked
            self._sized = True
        elif kind == _COOKIE:
            if self.cookies is None:
                self.cookies = []
            self.cookies.append(value)
        elif kind == _CODING:
            self._doubly_framed = self._sized
            self._sized = self._chunked = value.rpartition(b",")[2].strip().lower() == b"chunked"
        else:
            self._connection += b"," + value.lower()

    def on_headers_complete(self) -> None:
        """Parser: the blank line after a head."""
        if self._head_done:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.fault = interim_fault(status, self.begun)
            return
        self.status = status
        self._head_done = True
        if self._bodiless:
            self.done = True
            self.keep_alive = self._persists()
            raise _EndOfHead

    def _persists(self) -> bool:
        tokens = [token.strip() for token in self._connection.split(b",")]
        if b"close" in tokens:
            return False
        return self._parser.get_http_version() == "1.1" or b"keep-alive" in tokens

    def on_message_complete(self) -> None:
        """Parser: the last byte of a response."""
        if self.done:
            return
        if not self._head_done:  # an interim response: what follows is the one that counts
            self._forget_head()
            return
        self.done = True
        # who sent a length beside chunks may be an attacker: nothing more from it (RFC 9112, 6.3)
        self.keep_alive = self._parser.should_keep_alive() and not self._doubly_framed


class _EndOfHead(Exception):  # noqa: N818 - a signal to the parser to stop, no error
    """Stops the parser at the end of a head."""


class OddName(Exception):  # noqa: N818 - a signal to the parser to stop, no error
    """Stops the parser at a header whose name holds a blank."""
