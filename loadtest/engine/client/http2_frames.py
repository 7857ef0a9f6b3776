"""
Streams of requests that have no body, frame by frame: the quick way through a connection.

Nine requests of ten are a GET.  Their streams are one HEADERS frame out, HEADERS and DATA in, which
costs a fifth of what the library's state machine does for any stream.  The connection itself
(settings, pings, farewells, windows of request bodies) stays the library's.

Source: RFC 9113, sections 5.1 (a stream's states), 6 (frames), 8.1 (an answer's frames).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from loadtest.engine.client.http2_heads import HeadReader, packer_of
from loadtest.engine.client.http2_stream import Http2Stream

DATA, HEADERS, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
_OF_CONNECTION: Final = frozenset((SETTINGS, PING, GOAWAY))
END_STREAM, END_HEADERS = 0x1, 0x4
_PADDED, _PRIORITY = 0x8, 0x20
FRAME_HEAD: Final = 9
LARGEST_FRAME: Final = 16_384


def new_connection(*, head_bytes: int, window: int) -> H2Connection:
    """
    Return the client's end of a connection that has said what it is like.

    Args:
        head_bytes: Bytes of header fields that an answer may have.
        window: Bytes of an answer that a server may send before it is told that they were read.
    """
    connection = H2Connection(
        H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_inbound_headers=False,  # `checked` does, as tolerant as browsers are
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    connection.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_FRAME_SIZE: LARGEST_FRAME,
            SettingCodes.MAX_HEADER_LIST_SIZE: head_bytes,
        },
    )
    connection.decoder.max_header_list_size = head_bytes
    connection.initiate_connection()
    connection.increment_flow_control_window(window)
    return connection


class QuickStreams:
    """
    Those streams, as many at a time as there are.

    Args:
        h2: The connection, which numbers streams.
        scheme: ``http`` or ``https``.
        streams: Those under way, the library's among them, by number.
        ended: Called with each that is over.
        window: Bytes that the server may send before it is told that they were read.
        most: Bytes that a field block may have.

    Attributes:
        out: Frames to be sent.
        in_fields: Stream whose field block goes on in the next frame; 0 for none.
    """

    def __init__(
        self,
        h2: H2Connection,
        scheme: bytes,
        streams: dict[int, Http2Stream],
        ended: Callable[[Http2Stream], None],
        *,
        window: int,
        most: int,
    ) -> None:
        self.out = bytearray()
        self.in_fields = 0
        self.heads = HeadReader(h2.decoder)
        self.requests = packer_of(scheme)
        self._h2 = h2
        self._streams = streams
        self._ended = ended
        self._most = most
        self._worth_telling = window // 2
        self._unsaid = 0
        self._block = b""
        self._ends = False

    def begin(self, block: bytes, stream: Http2Stream) -> None:
        """Ask, with a block of fields, for what a stream is to bring."""
        h2 = self._h2
        number = h2.get_next_available_stream_id()
        h2.highest_outbound_stream_id = number
        stream.number = number
        self._streams[number] = stream
        self.out += h2.data_to_send()  # what comes first stays first: the preface, settings
        self.out += _frame(HEADERS, END_STREAM | END_HEADERS, number, block)

    def fits(self, block: bytes) -> bool:
        """Tell whether a request can be asked this way now."""
        h2 = self._h2
        return len(block) <= h2.max_outbound_frame_size and bool(
            h2.remote_settings.max_concurrent_streams
        )

    def cancel(self, stream: Http2Stream) -> None:
        """Give up a stream; what still comes on it is passed over."""
        code = int(ErrorCodes.CANCEL).to_bytes(4, "big")
        self.out += self._h2.data_to_send()
        self.out += _frame(RESET, 0, stream.number, code)

    def catch_up(self, stream: Http2Stream) -> None:
        """Tell the server that what a held stream brought was read, where that is worth a frame."""
        if stream.unsaid >= self._worth_telling and not stream.done:
            self._tell(stream.number, stream.unsaid)
            stream.unsaid = 0

    def take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """
        Take a frame of a stream that is not the library's.

        Raises:
            ValueError: It has no place there.
            HPACKError: A head cannot be unpacked.
            ProtocolError: A head breaks a rule of the library's.
        """
        if self.in_fields and (kind != CONTINUATION or number != self.in_fields):
            raise ValueError("a frame in the midst of a head")
        if number > self._h2.highest_outbound_stream_id or not number & 1:
            raise ValueError(f"a frame of stream {number}, which nobody has begun")
        if kind == DATA:
            self._on_data(flags, self._streams.get(number), payload)
        elif kind == HEADERS:
            self._block = _bare(flags, payload, priority=True)
            self._ends = bool(flags & END_STREAM)
            self._on_fields(flags, number)
        elif kind == CONTINUATION:
            if not self.in_fields:
                raise ValueError("a CONTINUATION frame of nothing")
            self._block += payload
            self._on_fields(flags, number)
        elif kind == RESET:
            if len(payload) != 4:
                raise ValueError("a RST_STREAM frame that is none")
            if (stream := self._streams.get(number)) is not None:
                stream.take_reset(int.from_bytes(payload, "big"))
                self._ended(stream)
        elif kind == PUSH or kind in _OF_CONNECTION:
            raise ValueError(f"a frame of type {kind} on a stream")

    def _on_fields(self, flags: int, number: int) -> None:
        if len(self._block) > self._most:
            raise OverflowError
        self.in_fields = 0 if flags & END_HEADERS else number
        if self.in_fields:
            return
        block, self._block = self._block, b""
        stream = self._streams.get(number)
        if stream is None:
            self.heads.pass_over(block)
            return
        if stream.head_done:
            if not self._ends:
                raise ValueError("trailers that do not end the stream")
            stream.take_trailers(self.heads.read_trailers(block))
        else:
            head = self.heads.read(block)
            if head.status >= 200:
                if not stream.bodiless and head.status not in (204, 304):
                    stream.left = head.length
            elif self._ends:
                raise ValueError("an interim answer that ends the stream")
            stream.take_head(head)
        if self._ends:
            self._end(stream)

    def _on_data(self, flags: int, stream: Http2Stream | None, payload: bytes) -> None:
        size = len(payload)
        self._unsaid += size
        if self._unsaid >= self._worth_telling:
            self._tell(0, self._unsaid)
            self._unsaid = 0
        if stream is None:
            return
        if not stream.head_done:
            raise ValueError("a body before its head")
        data = _bare(flags, payload, priority=False)
        if stream.left is not None:
            stream.left -= len(data)
            if stream.left < 0:
                raise ValueError("more of a body than its content-length")
        if data:
            stream.take_data(data)
        if flags & END_STREAM:
            self._end(stream)
            return
        stream.unsaid += size
        if not stream.held:
            self.catch_up(stream)

    def _end(self, stream: Http2Stream) -> None:
        if stream.left:
            raise ValueError(f"{stream.left} bytes less of a body than its content-length")
        stream.done = True
        self._ended(stream)

    def _tell(self, number: int, size: int) -> None:
        self.out += _frame(WINDOW, 0, number, size.to_bytes(4, "big"))


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    head = (len(payload) << 48 | kind << 40 | flags << 32 | number).to_bytes(FRAME_HEAD, "big")
    return head + payload


def _bare(flags: int, payload: bytes, *, priority: bool) -> bytes:
    """Return a payload without its padding and priority."""
    if not flags & (_PADDED | _PRIORITY):
        return payload
    begin, end = 0, len(payload)
    if flags & _PADDED:
        begin, end = 1, end - (payload[0] if payload else 0)
    if priority and flags & _PRIORITY:
        begin += 5
    if begin > end:
        raise ValueError("padding beyond its frame")
    return payload[begin:end]
