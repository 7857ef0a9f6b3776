"""
One HTTP/2 connection as bytes in and bytes out: requests become frames, frames become answers.

The protocol is the ``h2`` library's; no socket is touched here.  Frames are looked at before the
library gets them for two reasons: the first byte of an answer is the first byte of its HEADERS
frame, in whichever piece that came, and a GOAWAY must not end the streams that it lets finish.

Source: RFC 9113, sections 4.1 (frames), 6.8 (GOAWAY), 8.1 (messages), 8.7 (what may be resent).
"""

from __future__ import annotations

from typing import Any, Final

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, H2Error
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError

from loadtest.engine.client.tolerant import FramingError, interim_fault
from loadtest.engine.hub.wait import Failure
from loadtest.text import one_line

_FRAME_HEAD: Final = 9
_LARGEST_FRAME: Final = 16_384
_DATA, _HEADERS, _GOAWAY, _CONTINUATION = 0, 1, 7, 9
_WINDOW: Final = 1 << 20
"""Bytes of an answer that a server may send before it is told that they were read."""
_KNOWN_HEADS: Final = 256
_OF_CONNECTION: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)  # RFC 9113, 8.2.2
_SAFE_TO_RESEND: Final = frozenset((ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED))
_FOREIGN: Final = (H2Error, HPACKError, HyperframeError, ValueError, LookupError)


class Pieces(list[bytes]):
    """An answer's body as it came, and its header fields, trailers last."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[tuple[bytes, bytes]] = []

    def take_apart(self) -> tuple[list[tuple[str, str]], bytes]:
        """Return headers and body, as ``parser.take_apart`` does."""
        named = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.fields
            if name[:1] != b":"
        ]
        return named, b"".join(self)


class Http2Framer:
    """
    Follows one stream after another on one connection; the counterpart of ``ResponseFramer``.

    Args:
        secure: The connection is TLS.
        head_bytes: Bytes of header fields that an answer may have.
        keep_bytes: Bytes of an answer that are kept.
    """

    def __init__(self, *, secure: bool, head_bytes: int, keep_bytes: int) -> None:
        self._scheme = b"https" if secure else b"http"
        self._keep_bytes = keep_bytes
        self._h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_FRAME_SIZE: _LARGEST_FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: head_bytes,
            },
        )
        self._h2.decoder.max_header_list_size = head_bytes
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self._head_bytes = head_bytes
        self._heads: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self._waiting = bytearray()
        self._body = memoryview(b"")
        self._stream = 0
        self._leaving = False
        self._in_fields = False
        self.start(bodiless=False)

    def start(self, *, bodiless: bool) -> None:  # noqa: ARG002 - the library sees that it is a HEAD
        """Expect the answer to the next request."""
        self._stream = 0
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
        fields = self._heads.get(head)
        if fields is None:
            if len(self._heads) >= _KNOWN_HEADS:
                self._heads.clear()
            fields = self._heads[head] = fields_of(head, self._scheme)
        try:
            self._stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(self._stream, fields, end_stream=not body)
            self._body = memoryview(body)
            self._push_body()
        except _FOREIGN as error:
            raise FramingError(_words(error)) from None

    def outgoing(self) -> bytes:
        """Return what is to be sent now: frames of the request, acknowledgements, replies."""
        data: bytes = self._h2.data_to_send()
        return data

    def feed(self, data: bytes) -> bool:
        """
        Take the next bytes.

        Returns:
            True when the stream is over: with an answer, or with ``failure``.

        Raises:
            FramingError: They cannot belong to an HTTP/2 connection.
        """
        waiting = self._waiting
        old = len(waiting)
        waiting += data
        try:
            taken = self._take_frames(waiting, old)
        except DenialOfServiceError:
            self.failure = Failure("too-large", f"head of more than {self._head_bytes} bytes")
            self.done, self._leaving = True, True
            return True
        except _FOREIGN as error:
            self._leaving = True
            raise FramingError(_words(error)) from None
        self.split_here = len(waiting) > taken and (taken > 0 or old == 0)
        del waiting[:taken]
        self.keep_alive = self.done and not self._leaving
        return self.done

    def end_of_stream(self) -> bool:
        """Return False: the end of a connection is never the end of an answer."""
        return self.done and self.failure is None

    def dispose(self) -> None:
        """Let go of what is kept."""
        self._waiting.clear()
        self._heads.clear()

    def _take_frames(self, waiting: bytearray, old: int) -> int:
        """Hand whole frames to the library; return how many bytes they were."""
        begin = end = 0
        while len(waiting) - end >= _FRAME_HEAD:
            length = int.from_bytes(waiting[end : end + 3], "big")
            if length > _LARGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes, where {_LARGEST_FRAME} are allowed")
            after = end + _FRAME_HEAD + length
            if after > len(waiting):
                break
            kind, flags = waiting[end + 3], waiting[end + 4]
            stream = int.from_bytes(waiting[end + 5 : end + 9], "big") & 0x7FFF_FFFF
            if stream == self._stream and stream and kind in (_DATA, _HEADERS, _CONTINUATION):
                self.received += after - end
                if kind == _HEADERS:
                    self._give(waiting, begin, end)
                    begin = end
                    if not self.head_done:
                        self.begun += 1
                        self.began_before = end < old
            if kind in (_HEADERS, _CONTINUATION):
                self._in_fields = not flags & 0x4
            elif kind == _GOAWAY and not self._in_fields:
                self._give(waiting, begin, end)
                begin = after
                self._on_goaway(stream, bytes(waiting[end + _FRAME_HEAD : after]))
            end = after
        self._give(waiting, begin, end)
        return end

    def _give(self, waiting: bytearray, begin: int, end: int) -> None:
        if begin == end:
            return
        for event in self._h2.receive_data(bytes(waiting[begin:end])):
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

    # Events of the library.

    def _on_head(self, event: Any) -> None:
        if event.stream_id != self._stream:
            return
        fields = list(event.headers)
        status = next((value for name, value in fields if name == b":status"), b"")
        if len(status) != 3 or not status.isdigit() or status < b"200":
            raise ValueError(f"status {status!r} is none")
        self.status = int(status)
        self.head_done = True
        self.pieces.fields += fields
        for name, value in fields:
            if name == b"fly-region":
                self.region = value
            elif name == b"server-timing":
                self.timing = self.timing + b"," + value if self.timing else value
            elif name == b"set-cookie":
                self.cookies = [*(self.cookies or ()), value]

    def _on_interim(self, event: Any) -> None:
        if event.stream_id != self._stream:
            return
        self._interim += 1
        status = dict(event.headers).get(b":status", b"")
        if fault := interim_fault(int(status), self._interim):
            raise ValueError(fault)

    def _on_data(self, event: Any) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if event.stream_id == self._stream and self.received <= self._keep_bytes:
            self.pieces.append(bytes(event.data))

    def _on_trailers(self, event: Any) -> None:
        if event.stream_id == self._stream:
            self.pieces.fields += event.headers

    def _on_ended(self, event: Any) -> None:
        if event.stream_id == self._stream:
            self.done = True
            if self._body:  # answered before it was asked in full: the rest is not sent
                self._body = memoryview(b"")
                self._h2.reset_stream(self._stream, ErrorCodes.CANCEL)

    def _on_reset(self, event: Any) -> None:
        if event.stream_id != self._stream:
            return
        self._body = memoryview(b"")
        code = event.error_code
        text = f"the server reset the stream: {_error_name(code)}"
        self._fail("closed-early", text, fresh=code in _SAFE_TO_RESEND)

    def _on_room(self, _event: Any) -> None:
        if self._body and not self.done:
            self._push_body()


_HANDLERS: Final[dict[type, Any]] = {
    events.ResponseReceived: Http2Framer._on_head,
    events.InformationalResponseReceived: Http2Framer._on_interim,
    events.DataReceived: Http2Framer._on_data,
    events.TrailersReceived: Http2Framer._on_trailers,
    events.StreamEnded: Http2Framer._on_ended,
    events.StreamReset: Http2Framer._on_reset,
    events.WindowUpdated: Http2Framer._on_room,
    events.RemoteSettingsChanged: Http2Framer._on_room,
}


def fields_of(head: bytes, scheme: bytes) -> list[tuple[bytes, bytes]]:
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


def _error_name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"


def _words(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
