"""
Where a response begins and ends: framing on top of llhttp (httptools), as tolerant as a browser.

Bodies are not collected here.  The connection keeps the raw bytes, and ``take_apart`` reads
headers and body out of them when a scenario asks: an answer nobody looks at costs neither.

Source: RFC 9112, section 6.3 (message body length) and 9.6 (tear-down).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_MAX_INTERIM = 16  # interim (1xx) responses before a final one; more is an attack, not an answer
_KNOWN_NAMES = 512
_SWITCHED: Final = "the server switched protocols, which nobody asked for"
_REPEATED: Final = "Duplicate Content-Length"  # llhttp's words
_MENDED_BYTES: Final = 1 << 18
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(
    rb"\r?\n[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]:[ \t]*(\d+)[ \t]*(?=\r?\n|$)"
)

_IGNORED, _REGION, _TIMING, _COOKIE, _SIZE, _CODING, _CONNECTION = range(7)
_KINDS: Final = {
    b"fly-region": _REGION,
    b"server-timing": _TIMING,
    b"set-cookie": _COOKIE,
    b"content-length": _SIZE,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
}


class FramingError(Exception):
    """
    The bytes are not an HTTP/1 response.

    The message says what is wrong with them.
    """


def new_parser(callbacks: object) -> Any:
    """
    Return a parser that reads what browsers, curl, Go and urllib3 read alike.

    What two readers would frame differently stays an error: lengths that differ, bytes that are no
    head, chunks without their end.
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
        "_bodiless",
        "_broken",
        "_chunked",
        "_connection",
        "_doubly_framed",
        "_head_done",
        "_mended",
        "_parser",
        "_pieces",
        "_sized",
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

    def __init__(self) -> None:
        self._parser: Any = new_parser(self)
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
        self._mended = False
        self._broken: HttpParserError | None = None
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
        if self._bodiless:
            return self._feed_bodiless(data)
        if not self._head_done:
            self._pieces.append(data)
            if b"\0" in data:
                self._refuse_zero()
        error = self._broken or self._unread(data)
        if error is not None:
            self._feed_mended(error)
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

    def _refuse_zero(self) -> None:
        """Refuse a zero byte in a head, which the parser lets pass; a body may hold any."""
        raw = b"".join(self._pieces)
        end = _BLANK_LINE.search(raw)
        if end is None or raw.index(b"\0") < end.start():
            raise FramingError("a header holds a zero byte")

    def _unread(self, data: bytes) -> HttpParserError | None:
        """Give the parser bytes; return why the response cannot be read on, None if it can."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise FramingError(_SWITCHED) from None
        except HttpParserError as error:
            if not self.done:
                return error
            self.surplus = True
        return None

    def _feed_mended(self, error: HttpParserError) -> None:
        """Feed a head anew without what it says twice, if that is all that is wrong with it."""
        raw = b"".join(self._pieces)
        mendable = str(error) == _REPEATED and not self._head_done and not self.fault
        if not mendable or self._mended or len(raw) > _MENDED_BYTES:
            raise FramingError(self.fault or str(error))
        if len(_BLANK_LINE.findall(raw)) < self.begun:  # the rest of the head is on its way
            self._broken = error
            return
        mended = without_repeated_lengths(raw)
        if mended is None:
            raise FramingError(str(error))
        self._broken, self._mended = None, True
        self._parser = new_parser(self)
        self.begun = 0
        self._forget_head()
        if (still := self._unread(mended)) is not None:
            raise FramingError(self.fault or str(still))

    def _forget_head(self) -> None:
        self.region = self.timing = self._connection = b""
        self.cookies = None
        self._sized = self._chunked = False

    def _feed_bodiless(self, data: bytes) -> bool:
        """Feed a response that ends with its head, which llhttp cannot be told beforehand."""
        self._pieces.append(data)
        if b"\0" in data:
            self._refuse_zero()
        if (error := self._unread(data)) is not None:
            raise FramingError(self.fault or str(error))
        if self.fault:
            raise FramingError(self.fault)
        if self.done:
            heads = _BLANK_LINE.split(b"".join(self._pieces), self.begun)
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
            self._check_interim(status)
            return
        self.status = status
        self._head_done = True
        if self._bodiless:
            self.done = True
            self.keep_alive = self._persists()
            raise _EndOfHead

    def _check_interim(self, status: int) -> None:
        if status < 100:
            self.fault = f"status {status} is none; a status has three digits from 100"
        elif status == 101:
            self.fault = _SWITCHED
        elif self.begun > _MAX_INTERIM:
            self.fault = f"more than {_MAX_INTERIM} interim responses before a final one"

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


def without_repeated_lengths(raw: bytes) -> bytes | None:
    """
    Return a response without the repetitions of one and the same Content-Length.

    llhttp refuses them; RFC 9110, 8.6, allows to take them for one.

    Returns:
        None when nothing is repeated, or the lengths differ.
    """
    match = _BLANK_LINE.search(raw)
    begin = 0
    while match is not None:
        head = raw[begin : match.start()]
        lengths = _LENGTH.findall(head)
        if len(lengths) > 1:
            if len({int(length) for length in lengths}) > 1:
                return None
            first = _LENGTH.search(head)
            assert first is not None
            rest = _LENGTH.sub(b"", head[first.end() :])
            return raw[:begin] + head[: first.end()] + rest + raw[match.start() :]
        begin = match.end()
        match = _BLANK_LINE.search(raw, begin)
    return None


class _EndOfHead(Exception):  # noqa: N818 - a signal to the parser to stop, no error
    """Stops the parser at the end of a head."""


class _Collector:
    """Collects headers and body of the last response in a run of raw bytes."""

    def __init__(self) -> None:
        self.parser = new_parser(self)
        self.headers: list[tuple[str, str]] = []
        self.body: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.body.append(data)

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() < 200:
            self.headers.clear()
        else:
            self.complete = True


def take_apart(pieces: Sequence[bytes]) -> tuple[list[tuple[str, str]], bytes]:
    """
    Return headers and body out of the raw bytes of one framed response.

    Args:
        pieces: The bytes as they arrived; bytes beyond the response are passed over.

    Returns:
        Headers in their order (trailers of a chunked body last), and the body as sent, undecoded.
    """
    collector = _Collector()
    try:
        for piece in pieces:
            collector.parser.feed_data(piece)
    except HttpParserError:
        mended = None if collector.complete else without_repeated_lengths(b"".join(pieces))
        if mended is not None:
            collector = _Collector()
            # the response was framed already: what came before a fault stands
            with contextlib.suppress(HttpParserError):
                collector.parser.feed_data(mended)
    return collector.headers, b"".join(collector.body)
