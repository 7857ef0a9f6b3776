"""
One request on an HTTP/2 connection and what its answer has said so far.

Source: RFC 9113, sections 8.1 (messages) and 8.7 (what may be resent).
"""

from __future__ import annotations

from typing import Final

from h2.errors import ErrorCodes

from loadtest.engine.client.http2_heads import Fields, Pieces, ReadHead
from loadtest.engine.client.tolerant import interim_fault
from loadtest.engine.hub.wait import Failure

_SAFE_TO_RESEND: Final = frozenset((ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED))
_NOTHING: Final = memoryview(b"")


class Http2Stream:
    """
    A stream, from its request to its end.

    Args:
        bodiless: The request is a HEAD.
        keep_bytes: Bytes of the answer that are kept.
        held: The body is read piece by piece: the server sends on when what it sent was read.

    Attributes:
        number: Its number; 0 until it is begun.
        quick: It is read frame by frame, not by the library.
        body: What is still to be sent.
        received: Bytes of the frames that carried the answer.
        begun: Heads begun, interim ones included.
        began_before: The latest head began in an earlier piece than the one that completed its
            frame.
        left: Bytes of the body still to come, where that is known.
        unsaid: Bytes that the server was not told to have been read.
    """

    # what most requests never change stays with the class: making a stream is cheap
    number = 0
    quick = True
    body: memoryview = _NOTHING
    received = begun = interim = unsaid = status = 0
    began_before = head_done = done = False
    left: int | None = None
    failure: Failure | None = None
    region = timing = b""
    cookies: list[bytes] | None = None

    def __init__(self, *, bodiless: bool, keep_bytes: int, held: bool = False) -> None:
        self.bodiless, self.keep_bytes, self.held = bodiless, keep_bytes, held
        self.pieces = Pieces()

    def take_head(self, head: ReadHead) -> None:
        """
        Take a head, of an interim answer or the final one.

        Raises:
            ValueError: An interim answer that nobody asked for, or one too many.
        """
        if head.status < 200:
            self.interim += 1
            if fault := interim_fault(head.status, self.interim):
                raise ValueError(fault)
            return
        self.head_done = True
        self.status, self.region, self.timing = head.status, head.region, head.timing
        self.cookies = head.cookies
        self.pieces.fields += head.fields

    def take_data(self, data: bytes) -> None:
        """Take part of the body."""
        if self.received <= self.keep_bytes or self.held:
            self.pieces.append(data)

    def take_trailers(self, fields: Fields) -> None:
        """Take the fields behind the body."""
        self.pieces.fields += fields

    def take_reset(self, code: int) -> None:
        """Take the server's giving the stream up."""
        text = f"the server reset the stream: {error_name(code)}"
        self.fail("closed-early", text, fresh=code in _SAFE_TO_RESEND)

    def fail(self, kind: str, detail: str, *, fresh: bool = False) -> None:
        """
        End it without an answer.

        Args:
            kind: One of ``records.kinds.ERROR_KINDS``.
            detail: A sentence for a person.
            fresh: The server has not looked at it.
        """
        if not self.done:
            self.failure = Failure(kind, detail, unanswered=fresh and not self.head_done)
            self.done = True
            self.body = _NOTHING


def error_name(code: int) -> str:
    """Return the name of an error of RFC 9113, section 7."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"
