"""
One HTTP/2 connection as bytes in and bytes out: requests become frames, frames become answers.

The protocol is the ``h2`` library's, but for the streams of `http2_frames`; no socket is touched
here.  Frames are looked at before the library gets them also because the first byte of an answer is
the first byte of its HEADERS frame, in whichever piece that came, and because a GOAWAY must not end
the streams that it lets finish.

Source: RFC 9113, sections 4.1 (frames), 6.8 (GOAWAY).
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
from loadtest.engine.client.http2_heads import HEAD, TRAILER, ReadHead, checked
from loadtest.engine.client.http2_stream import Http2Stream, error_name
from loadtest.engine.client.tolerant import FramingError
from loadtest.text import one_line

_WINDOW: Final = 1 << 20
"""Bytes of an answer that a server may send before it is told that they were read."""
_WORTH_TELLING: Final = _WINDOW // 2
_SIGN_OF_LIFE: Final = b"loadtest"
_FOREIGN: Final = (H2Error, HPACKError, HyperframeError, ValueError, LookupError)
_UNANSWERED: Final = "before any response byte"
_OF_ANSWERS: Final = (DATA, HEADERS, CONTINUATION)


class Http2Framer:
    """
    Follows the streams of one connection.

    Args:
        secure: The connection is TLS.
        head_bytes: Bytes of header fields that an answer may have.

    Attributes:
        streams: Those under way, by number.
        touched: Streams that the latest piece brought something of; one may be there twice.
        begun: Those among them of which a head began.
        over: Those that are over since the piece before.
        split_here: The latest piece ends with the beginning of a frame.
        leaving: The server takes no more requests on this connection.
        asked_for_life: A ping is under way that a stream was given up with.
    """

    def __init__(self, *, secure: bool, head_bytes: int) -> None:
        self._h2 = new_connection(head_bytes=head_bytes, window=_WINDOW)
        self.streams: dict[int, Http2Stream] = {}
        self.touched: list[Http2Stream] = []
        self.begun: list[Http2Stream] = []
        self.over: list[Http2Stream] = []
        self._quick = QuickStreams(
            self._h2,
            b"https" if secure else b"http",
            self.streams,
            self._end,
            window=_WINDOW,
            most=head_bytes,
        )
        self._head_bytes = head_bytes
        self._waiting = b""
        self._in_fields = False
        self._at = 0
        """The stream of the frame that is being read."""
        self.split_here = self.leaving = self.asked_for_life = False

    @property
    def has_room(self) -> bool:
        """Whether the server takes one more stream at the same time."""
        streams = len(self.streams)
        return not streams or streams < self._h2.remote_settings.max_concurrent_streams

    def request(self, stream: Http2Stream, request: bytes) -> None:
        """
        Begin a stream for a request; what is to be sent is in ``outgoing``.

        Args:
            stream: Gets the answer.
            request: Head and body as HTTP/1.1 has them.

        Raises:
            FramingError: The connection takes no more streams.
        """
        head, _, body = request.partition(b"\r\n\r\n")
        quick, h2 = self._quick, self._h2
        try:
            if not body and quick.fits(block := quick.requests.block(head)):
                quick.begin(block, stream)
                return
            number = h2.get_next_available_stream_id()
            h2.send_headers(number, quick.requests.fields(head), end_stream=not body)
            stream.number, stream.quick, stream.body = number, False, memoryview(body)
            self.streams[number] = stream
            self._push_body(stream)
        except _FOREIGN as error:
            raise FramingError(_words(error)) from None

    def outgoing(self) -> bytes:
        """Return what is to be sent now: frames of requests, acknowledgements, replies."""
        data: bytes = self._h2.data_to_send()
        if self._quick.out:
            data = bytes(self._quick.out) + data
            self._quick.out.clear()
        return data

    def cancel(self, stream: Http2Stream, *, doubtful: bool = False) -> None:
        """
        Give up a stream.

        Args:
            stream: Nothing more is taken on it.
            doubtful: The connection may be dead: a sign of life is asked for.
        """
        if self.streams.pop(stream.number, None) is not None:
            if stream.quick:
                self._quick.cancel(stream)
            else:
                with contextlib.suppress(H2Error):  # it is over already
                    self._h2.reset_stream(stream.number, ErrorCodes.CANCEL)
        if doubtful:
            self.asked_for_life = True
            self._h2.ping(_SIGN_OF_LIFE)

    def catch_up(self, stream: Http2Stream) -> None:
        """Note that everything that a held stream brought was read."""
        if stream.quick:
            self._quick.catch_up(stream)
        elif stream.unsaid >= _WORTH_TELLING and not stream.done:
            self._h2.increment_flow_control_window(stream.unsaid, stream.number)
            stream.unsaid = 0

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes; what they brought is in ``touched``, ``begun`` and ``over``.

        Raises:
            FramingError: They cannot belong to an HTTP/2 connection.
        """
        self.touched, self.begun, self.over = [], [], []
        old = len(self._waiting)
        if old:
            data = self._waiting + data
        try:
            taken = self._take_frames(data, old)
        except (DenialOfServiceError, OversizedHeaderListError, OverflowError):
            self._too_large()
            return
        except _FOREIGN as error:
            self.leaving = True
            raise FramingError(_words(error)) from None
        self.split_here = len(data) > taken and (taken > 0 or old == 0)
        self._waiting = data[taken:]

    def end_all(self, kind: str, detail: str) -> list[Http2Stream]:
        """
        End every stream without an answer, as the connection has ended.

        Args:
            kind: Why, of ``records.kinds.ERROR_KINDS``.
            detail: The same, for a person.

        Returns:
            The streams.
        """
        ended = list(self.streams.values())
        for stream in ended:
            text, fresh = detail, not stream.received and kind in ("closed-early", "send")
            if kind == "closed-early":
                got = f"after {stream.received} bytes" if stream.received else _UNANSWERED
                text = f"{got}: {detail}"
            stream.fail(kind, text, fresh=fresh)
            self._end(stream)
        return ended

    def _take_frames(self, data: bytes, old: int) -> int:
        """Hand whole frames to whom they are for; return how many bytes they were."""
        quick, streams, size = self._quick, self.streams, len(data)
        touched, begun, latest = self.touched, self.begun, None
        begin = end = 0
        while size - end >= FRAME_HEAD:
            head = int.from_bytes(data[end : end + FRAME_HEAD], "big")
            length = head >> 48
            if length > LARGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes, where {LARGEST_FRAME} are allowed")
            after = end + FRAME_HEAD + length
            if after > size:
                break
            kind, flags, number = head >> 40 & 0xFF, head >> 32 & 0xFF, head & 0x7FFF_FFFF
            self._at = number
            stream = streams.get(number)
            own = number and (stream is None or stream.quick)
            if own or kind == HEADERS:  # what came before it counts before it
                self._give(data, begin, end)
                begin = end
            if stream is not None and kind in _OF_ANSWERS:
                stream.received += after - end
                if kind == HEADERS and not stream.head_done:
                    stream.begun += 1
                    stream.began_before = end < old
                    begun.append(stream)
                if stream is not latest:
                    touched.append(stream)
                    latest = stream
            if own:
                if self._in_fields:
                    raise ValueError("a frame in the midst of a head")
                quick.take(kind, flags, number, data[end + FRAME_HEAD : after])
                begin = after
            elif quick.in_fields:
                raise ValueError("a frame in the midst of a head")
            elif kind in (HEADERS, CONTINUATION):
                self._in_fields = not flags & END_HEADERS
                quick.heads.forget()
            elif kind == GOAWAY and not self._in_fields:
                self._give(data, begin, end)
                begin = after
                self._on_goaway(number, data[end + FRAME_HEAD : after])
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

    def _push_body(self, stream: Http2Stream) -> None:
        """Send as much of a body as the server's windows allow."""
        while stream.body:
            room = min(
                self._h2.local_flow_control_window(stream.number),
                self._h2.max_outbound_frame_size,
            )
            if room <= 0:
                return
            part, stream.body = bytes(stream.body[:room]), stream.body[room:]
            self._h2.send_data(stream.number, part, end_stream=not stream.body)

    def _on_goaway(self, number: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise ValueError("a GOAWAY frame that is none")
        self.leaving = True
        last = int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
        code = error_name(int.from_bytes(payload[4:8], "big"))
        for stream in [one for one in self.streams.values() if one.number > last]:
            text = f"GOAWAY before the request was taken: {code}"
            stream.fail("closed-early", text, fresh=True)
            self._end(stream)

    def _too_large(self) -> None:
        """End the stream with a head beyond the limit, and with it those that share the table."""
        self.leaving = True
        if (stream := self.streams.get(self._at)) is not None:
            stream.fail("too-large", f"head of more than {self._head_bytes} bytes")
            self._end(stream)
        self.end_all("closed-early", "the head of another stream was too large")

    def _end(self, stream: Http2Stream) -> None:
        del self.streams[stream.number]
        self.over.append(stream)

    # Events of the library, of streams that are its own and of the connection.

    def _on_head(self, event: Any) -> None:
        if (stream := self.streams.get(event.stream_id)) is not None:
            stream.take_head(ReadHead.of(checked(event.headers, HEAD)))

    def _on_data(self, event: Any) -> None:
        h2, size, stream = self._h2, event.flow_controlled_length, self.streams.get(event.stream_id)
        if stream is None or not stream.held:
            h2.acknowledge_received_data(size, event.stream_id)
        elif size:  # its own window opens when it is read, that of the connection for others now
            h2.increment_flow_control_window(size)
            stream.unsaid += size
        if stream is not None:
            stream.take_data(bytes(event.data))

    def _on_trailers(self, event: Any) -> None:
        if (stream := self.streams.get(event.stream_id)) is not None:
            stream.take_trailers(checked(event.headers, TRAILER))

    def _on_ended(self, event: Any) -> None:
        if (stream := self.streams.get(event.stream_id)) is None:
            return
        stream.done = True
        self._end(stream)
        if stream.body:  # answered before it was asked in full: the rest is not sent
            stream.body = memoryview(b"")
            with contextlib.suppress(H2Error):  # the server may have reset it in the same breath
                self._h2.reset_stream(stream.number, ErrorCodes.CANCEL)

    def _on_reset(self, event: Any) -> None:
        if (stream := self.streams.get(event.stream_id)) is not None:
            stream.take_reset(event.error_code)
            self._end(stream)

    def _on_room(self, _event: Any) -> None:
        for stream in list(self.streams.values()):
            self._push_body(stream)

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


def _words(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
