"""
A client's connection to an edge that speaks HTTP/2: frames in, streams out.

The protocol is the ``h2`` library's.  Source: RFC 9113.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Any, Final, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from loadtest.world.edge.doors import caller_of
from loadtest.world.edge.hop import EdgeContext
from loadtest.world.edge.http import Caller, Headers, RequestHead
from loadtest.world.edge.packing import BlockReader, FieldPacker
from loadtest.world.edge.stream import EdgeStream

_WINDOW: Final = 1 << 20
_MOST_STREAMS: Final = 128
_LINGER_S: Final = 2.0


class Http2Client(asyncio.Protocol):
    """
    One client, whose requests are answered side by side.

    Args:
        context: The edge and the app that was called.
        on_lost: Called with this connection when it is gone.
    """

    def __init__(self, context: EdgeContext, on_lost: Callable[[Http2Client], None]) -> None:
        self.caller: Caller
        self.deadline_s = math.inf
        self._context = context
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._streams: dict[int, EdgeStream] = {}
        self._full = False  # the socket takes nothing more for now
        self._gone = False
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: _MOST_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: context.settings.head_bytes,
            },
        )
        self._h2.decoder = BlockReader(context.settings.head_bytes)
        self._h2.encoder = FieldPacker()

    # -- asyncio -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport and say what this side is like."""
        # uvloop's transports have the methods but not the base class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.caller = caller_of(transport, self._context.region, secure=True)
        self.deadline_s = self._loop.time() + self._context.settings.head_timeout_s
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        try:
            found = self._h2.receive_data(data)
        except ProtocolError:
            self._context.tally.errors += 1
            self.flush()  # its GOAWAY says why
            self._end()
            return
        for event in found:
            handle = _HANDLERS.get(type(event))
            if handle is not None:
                handle(self, event)
        self.flush()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Give up what was under way."""
        self._gone = True
        self._end()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Keep what is sent from now on."""
        self._full = True

    def resume_writing(self) -> None:
        """Send what was kept."""
        self._full = False
        self._push_all()

    def abort(self) -> None:
        """Break the connection."""
        self._transport.abort()

    # -- what a stream needs (see FrameSender) -----------------------------------------------

    def send_head(self, number: int, fields: Headers, *, last: bool) -> None:
        """Send a HEADERS frame, unless the client has ended the stream meanwhile."""
        with contextlib.suppress(ProtocolError):
            self._h2.send_headers(number, fields, end_stream=last)

    def send_data(self, number: int, data: bytes, *, last: bool) -> int:
        """Send as much as the client's windows allow; return how many bytes that was."""
        sent = 0
        with contextlib.suppress(ProtocolError):  # the client has ended the stream meanwhile
            while not self._full:
                room = min(
                    self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size
                )
                part = data[sent : sent + room] if room > 0 else b""
                over = last and sent + len(part) == len(data)
                if not part and not over:
                    return sent
                self._h2.send_data(number, part, end_stream=over)
                sent += len(part)
                if over:
                    return sent
            return sent
        return len(data)

    def took(self, number: int, size: int) -> None:
        """Let the client send as many bytes more."""
        with contextlib.suppress(ProtocolError):
            self._h2.acknowledge_received_data(size, number)
        self.flush()

    def reset(self, number: int, *, failed: bool) -> None:
        """End a stream."""
        with contextlib.suppress(ProtocolError):
            code = ErrorCodes.INTERNAL_ERROR if failed else ErrorCodes.NO_ERROR
            self._h2.reset_stream(number, code)
        self.flush()

    def flush(self) -> None:
        """Hand what was sent to the socket."""
        data = self._h2.data_to_send()
        if data and not self._gone and not self._transport.is_closing():
            self._transport.write(data)

    def stream_over(self, number: int) -> None:
        """Forget a stream."""
        self._streams.pop(number, None)
        if not self._streams:
            self.deadline_s = self._loop.time() + self._context.settings.client_idle_s

    # -- events of the library ---------------------------------------------------------------

    def _on_request(self, event: Any) -> None:
        head, fault = request_head(event.headers, ended=event.stream_ended is not None)
        stream = self._streams[event.stream_id] = EdgeStream(
            self._context, self, event.stream_id, head
        )
        self.deadline_s = math.inf
        if fault:
            self._context.tally.errors += 1
            self._h2.reset_stream(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
            self.stream_over(event.stream_id)
        else:
            stream.begin()

    def _on_data(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:  # answered already: what still comes is counted and left
            self.took(event.stream_id, event.flow_controlled_length)
        else:
            stream.feed(event.data, event.flow_controlled_length)

    def _on_ended(self, event: Any) -> None:
        if (stream := self._streams.get(event.stream_id)) is not None:
            stream.finish()

    def _on_reset(self, event: Any) -> None:
        if (stream := self._streams.get(event.stream_id)) is not None:
            stream.cancel()
            self.stream_over(event.stream_id)

    def _on_room(self, event: Any) -> None:
        stream = self._streams.get(getattr(event, "stream_id", 0))
        if stream is None:
            self._push_all()
        else:
            stream.push()

    def _on_leaving(self, _event: Any) -> None:
        if not self._streams:
            self._end()

    # -- inside ------------------------------------------------------------------------------

    def _push_all(self) -> None:
        for stream in list(self._streams.values()):
            stream.push()
        self.flush()

    def _end(self) -> None:
        for stream in list(self._streams.values()):
            stream.cancel()
        self._streams.clear()
        if not self._gone:
            self._transport.close()
            self.deadline_s = self._loop.time() + _LINGER_S


_HANDLERS: Final[dict[type, Any]] = {
    events.RequestReceived: Http2Client._on_request,
    events.DataReceived: Http2Client._on_data,
    events.StreamEnded: Http2Client._on_ended,
    events.StreamReset: Http2Client._on_reset,
    events.WindowUpdated: Http2Client._on_room,
    events.RemoteSettingsChanged: Http2Client._on_room,
    events.ConnectionTerminated: Http2Client._on_leaving,
}


def request_head(fields: Headers, *, ended: bool) -> tuple[RequestHead, str]:
    """
    Return what a stream asks for as HTTP/1.1 says it, and what is wrong with it or nothing.

    Args:
        fields: As the library has checked them (RFC 9113, 8.3.1).
        ended: No body follows.
    """
    pseudo = {name: value for name, value in fields if name[:1] == b":"}
    headers = [pair for pair in fields if pair[0][:1] != b":" and pair[0] != b"cookie"]
    if crumbs := [value for name, value in fields if name == b"cookie"]:
        headers.append((b"cookie", b"; ".join(crumbs)))  # RFC 9113, 8.2.3
    names = {name for name, _ in headers}
    if b"host" not in names and (authority := pseudo.get(b":authority")):
        headers.insert(0, (b"host", authority))
    if not ended and b"content-length" not in names:
        headers.append((b"transfer-encoding", b"chunked"))
    head = RequestHead(
        method=pseudo.get(b":method", b""),
        target=pseudo.get(b":path", b""),
        version="2",
        headers=headers,
        keep_alive=True,
    )
    if head.method == b"CONNECT" or not head.target:
        return head, "an edge does not tunnel"
    return head, "" if b"host" in {name for name, _ in headers} else "there is no :authority"
