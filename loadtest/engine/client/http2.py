"""
One HTTP/2 connection as bytes in and bytes out: requests become frames, frames become answers.

The protocol is the ``h2`` library's, but for the streams of `http2_frames`; no socket is touched
here.  Frames are looked at before the library gets them also because the first byte of an answer is
the first byte of its HEADERS frame, in whichever piece that came, and because a GOAWAY must not end
the streams that it lets finish.

Source: RFC 9113, sections 4.1 (frames), 6.8 (GOAWAY), 8.1 (messages), 8.7 (what may be resent).
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, H2Error
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hyperframe.exceptions import HyperframeError

from loadtest.engine.client.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    FRAME_HEAD,
    GOAWAY,
    HEADERS,
    LARGEST_FRAME,
    QuickStreams,
    new_connection,
)
from loadtest.engine.client.http2_heads import Fields, Pieces, ReadHead
from loadtest.engine.client.tolerant import FramingError, interim_fault
from loadtest.engine.hub.wait import Failure
from loadtest.text import one_line

_WINDOW: Final = 1 << 20
"""Bytes of an answer that a server may send before it is told that they were read."""
_SIGN_OF_LIFE: Final = b"loadtest"
_SAFE_TO_RESEND: Final = frozenset((ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED))
_FOREIGN: Final = (H2Error, HPACKError, HyperframeError, ValueError, LookupError)


class Http2Framer:
    """
    Follows one stream after another on one connection; the counterpart of ``ResponseFramer``.

    Args:
        secure: The connection is TLS.
        head_bytes: Bytes of header fields that an answer may have.
        keep_bytes: Bytes of an answer that are kept.
    """

    def __init__(self, *, secure: bool, head_bytes: int, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._h2 = new_connection(head_bytes=head_bytes, window=_WINDOW)
        scheme = b"https" if secure else b"http"
        self._quick = QuickStreams(self._h2, scheme, self, window=_WINDOW, most=head_bytes)
        self._head_bytes = head_bytes
        self._waiting = b""
        self._body = memoryview(b"")
        self._stream = 0
        self._slow = 0
        """The stream under way, where it is the library's."""
        self._leaving = False
        self._in_fields = False
        self.asked_for_life = False
        """A ping is under way that a stream was given up with."""
        self.start(bodiless=False)

    def start(self, *, bodiless: bool) -> None:
        """Expect the answer to the next request."""
        self._bodiless = bodiless
        self._stream = self._slow = 0
        self._interim = 0
        self.pieces = Pieces()
        self.received = 0
        """Bytes of the frames that carried the answer."""
        self.begun = 0
        self.began_before = False
        """The latest head began in an earlier piece than the one that completed its frame."""
        self.split_here = False
        """The latest piece ends with the beginning of a frame."""
        self.head_done = self.done = self.surplus = False
        self.keep_alive = False
        self.failure: Failure | None = None
        self.status = 0
        self.region = self.timing = b""
        self.cookies: list[bytes] | None = None

    @property
    def handed_over(self) -> bool:
        """Whether every byte of the request was given to ``outgoing``."""
        return not self._body

    @property
    def leaving(self) -> bool:
        """Whether the server takes no more requests on this connection."""
        return self._leaving

    def request(self, request: bytes) -> None:
        """
        Begin a stream for a request; what is to be sent is in ``outgoing``.

        Args:
            request: Head and body as HTTP/1.1 has them.

        Raises:
            FramingError: The connection takes no more streams.
        """
        head, _, body = request.partition(b"\r\n\r\n")
        try:
            if not body and self._quick.fits(block := self._quick.requests.block(head)):
                self._stream = self._quick.begin(block, bodiless=self._bodiless)
                return
            self._stream = self._slow = self._h2.get_next_available_stream_id()
            fields = self._quick.requests.fields(head)
            self._h2.send_headers(self._stream, fields, end_stream=not body)
            self._body = memoryview(body)
            self._push_body()
        except _FOREIGN as error:
            raise FramingError(_words(error)) from None

    def outgoing(self) -> bytes:
        """Return what is to be sent now: frames of the request, acknowledgements, replies."""
        data: bytes = self._h2.data_to_send()
        if self._quick.out:
            data = bytes(self._quick.out) + data
            self._quick.out.clear()
        return data

    def cancel(self) -> None:
        """Give up the stream under way, and ask for a sign of life of the connection."""
        if self._slow:
            self._body = memoryview(b"")
            with contextlib.suppress(H2Error):  # it is over already
                self._h2.reset_stream(self._slow, ErrorCodes.CANCEL)
        else:
            self._quick.cancel()
        self._stream = self._slow = 0
        self.asked_for_life = True
        self._h2.ping(_SIGN_OF_LIFE)

    def feed(self, data: bytes) -> bool:
        """
        Take the next bytes.

        Returns:
            True when the stream is over: with an answer, or with ``failure``.

        Raises:
            FramingError: They cannot belong to an HTTP/2 connection.
        """
        old = len(self._waiting)
        if old:
            data = self._waiting + data
        try:
            taken = self._take_frames(data, old)
        except (DenialOfServiceError, OversizedHeaderListError, OverflowError):
            self.failure = Failure("too-large", f"head of more than {self._head_bytes} bytes")
            self.done, self._leaving = True, True
            return True
        except _FOREIGN as error:
            self._leaving = True
            raise FramingError(_words(error)) from None
        self.split_here = len(data) > taken and (taken > 0 or old == 0)
        self._waiting = data[taken:]
        self.keep_alive = self.done and not self._leaving
        return self.done

    def end_of_stream(self) -> bool:
        """Return False: the end of a connection is never the end of an answer."""
        return self.done and self.failure is None

    def dispose(self) -> None:
        """Let go of what is kept."""
        self._waiting = b""

    def _take_frames(self, data: bytes, old: int) -> int:
        """Hand whole frames to whom they are for; return how many bytes they were."""
        quick, size = self._quick, len(data)
        begin = end = 0
        while size - end >= FRAME_HEAD:
            head = int.from_bytes(data[end : end + FRAME_HEAD], "big")
            length = head >> 48
            if length > LARGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes, where {LARGEST_FRAME} are allowed")
            after = end + FRAME_HEAD + length
            if after > size:
                break
            kind, flags, stream = head >> 40 & 0xFF, head >> 32 & 0xFF, head & 0x7FFF_FFFF
            own = stream and stream != self._slow
            if own or kind == HEADERS:  # what came before it counts before it
                self._give(data, begin, end)
                begin = end
            if stream and stream == self._stream and kind in (DATA, HEADERS, CONTINUATION):
                self.received += after - end
                if kind == HEADERS and not self.head_done:
                    self.begun += 1
                    self.began_before = end < old
            if own:
                if self._in_fields:
                    raise ValueError("a frame in the midst of a head")
                quick.take(kind, flags, stream, data[end + FRAME_HEAD : after])
                begin = after
            elif quick.in_fields:
                raise ValueError("a frame in the midst of a head")
            elif kind in (HEADERS, CONTINUATION):
                self._in_fields = not flags & END_HEADERS
                quick.heads.forget()
            elif kind == GOAWAY and not self._in_fields:
                self._give(data, begin, end)
                begin = after
                self._on_goaway(stream, data[end + FRAME_HEAD : after])
            end = after
        self._give(data, begin, end)
        return end

    def _give(self, data: bytes, begin: int, end: int) -> None:
        if begin == end:
            return
        for event in self._h2.receive_data(data[begin:end]):
            handle = _HANDLERS.get(type(event))
            if handle is not None:
                handle(self, event)

    def _push_body(self) -> None:
        """Send as much of the body as the server's windows allow."""
        while self._body:
            room = min(
                self._h2.local_flow_control_window(self._stream),
                self._h2.max_outbound_frame_size,
            )
            if room <= 0:
                return
            part, self._body = bytes(self._body[:room]), self._body[room:]
            self._h2.send_data(self._stream, part, end_stream=not self._body)

    def _on_goaway(self, stream: int, payload: bytes) -> None:
        if stream or len(payload) < 8:
            raise ValueError("a GOAWAY frame that is none")
        self._leaving = True
        last = int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
        if self._stream > last:
            code = _error_name(int.from_bytes(payload[4:8], "big"))
            self._fail("closed-early", f"GOAWAY before the request was taken: {code}", fresh=True)

    def _fail(self, kind: str, detail: str, *, fresh: bool = False) -> None:
        if not self.done:
            self.failure = Failure(kind, detail, unanswered=fresh and not self.head_done)
            self.done = True

    # What comes on the stream under way, whoever read the frames.

    def take_head(self, head: ReadHead) -> None:
        """Take a head, of an interim answer or the final one."""
        if head.status < 200:
            self._interim += 1
            if fault := interim_fault(head.status, self._interim):
                raise ValueError(fault)
            return
        self.head_done = True
        self.status, self.region, self.timing = head.status, head.region, head.timing
        self.cookies = head.cookies
        self.pieces.fields += head.fields

    def take_data(self, data: bytes) -> None:
        """Take part of the body."""
        if self.received <= self._keep_bytes:
            self.pieces.append(data)

    def take_trailers(self, fields: Fields) -> None:
        """Take the fields behind the body."""
        self.pieces.fields += fields

    def take_end(self) -> None:
        """Take the end of the stream."""
        self.done = True

    def take_reset(self, code: int) -> None:
        """Take the server's giving the stream up."""
        self._body = memoryview(b"")
        text = f"the server reset the stream: {_error_name(code)}"
        self._fail("closed-early", text, fresh=code in _SAFE_TO_RESEND)

    # Events of the library, of streams that are its own and of the connection.

    def _on_head(self, event: Any) -> None:
        if event.stream_id == self._slow:
            self.take_head(ReadHead.of([(name, value) for name, value in event.headers]))

    def _on_data(self, event: Any) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if event.stream_id == self._slow:
            self.take_data(bytes(event.data))

    def _on_trailers(self, event: Any) -> None:
        if event.stream_id == self._slow:
            self.take_trailers([(name, value) for name, value in event.headers])

    def _on_ended(self, event: Any) -> None:
        if event.stream_id == self._slow:
            self.take_end()
            if self._body:  # answered before it was asked in full: the rest is not sent
                self._body = memoryview(b"")
                self._h2.reset_stream(self._slow, ErrorCodes.CANCEL)

    def _on_reset(self, event: Any) -> None:
        if event.stream_id == self._slow:
            self.take_reset(event.error_code)

    def _on_room(self, _event: Any) -> None:
        if self._body and not self.done:
            self._push_body()

    def _on_alive(self, event: Any) -> None:
        if event.ping_data == _SIGN_OF_LIFE:
            self.asked_for_life = False


_HANDLERS: Final[dict[type, Any]] = {
    events.ResponseReceived: Http2Framer._on_head,
    events.InformationalResponseReceived: Http2Framer._on_head,
    events.DataReceived: Http2Framer._on_data,
    events.TrailersReceived: Http2Framer._on_trailers,
    events.StreamEnded: Http2Framer._on_ended,
    events.StreamReset: Http2Framer._on_reset,
    events.WindowUpdated: Http2Framer._on_room,
    events.RemoteSettingsChanged: Http2Framer._on_room,
    events.PingAckReceived: Http2Framer._on_alive,
}


def _error_name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"


def _words(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
