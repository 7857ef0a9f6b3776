"""Headers and body out of the raw bytes of a framed response, when a scenario asks for them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from httptools import HttpParserError

from loadtest.engine.client.parser import BLANK_LINE, OddName, new_parser
from loadtest.engine.client.tolerant import FramingError, TolerantReader

_FOLD = re.compile(rb"\n[ \t]")


class _Collector:
    """Collects headers and body of the last response in a run of raw bytes."""

    def __init__(self) -> None:
        self.parser = new_parser(self)
        self.headers: list[tuple[str, str]] = []
        self.body: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if b" " in name:
            raise OddName
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


def take_apart(
    pieces: Sequence[bytes], *, bodiless: bool = False
) -> tuple[list[tuple[str, str]], bytes]:
    """
    Return headers and body out of the raw bytes of one framed response.

    Args:
        pieces: The bytes as they arrived; bytes beyond the response are passed over.
        bodiless: It answers a HEAD: what follows the head is no body.

    Returns:
        Headers in their order (trailers of a chunked body last), and the body as sent, undecoded.
    """
    collector = _Collector()
    try:
        if bodiless or _is_folded(pieces):
            return _read_tolerantly(pieces, bodiless)
        for piece in pieces:
            collector.parser.feed_data(piece)
    except HttpParserError:
        if not collector.complete:
            return _read_tolerantly(pieces, bodiless)
    except FramingError:
        pass
    return collector.headers, b"".join(collector.body)


def _is_folded(pieces: Sequence[bytes]) -> bool:
    """Tell whether a header may go on in a second line, which the parser joins without a blank."""
    if not pieces:
        return False
    raw = pieces[0]
    end = BLANK_LINE.search(raw)
    if end is None:
        raw = b"".join(pieces)
        end = BLANK_LINE.search(raw)
    return _FOLD.search(raw, 0, end.start() if end else len(raw)) is not None


def _read_tolerantly(
    pieces: Sequence[bytes], bodiless: bool
) -> tuple[list[tuple[str, str]], bytes]:
    reader = TolerantReader(bodiless=bodiless, collect=True)
    # the response was framed already: what came before a fault stands
    with contextlib.suppress(FramingError):
        for piece in pieces:
            reader.feed(piece)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in reader.fields]
    return headers if reader.head_done else [], b"".join(reader.body)
