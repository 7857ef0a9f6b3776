"""A small HTTP/2 server in a thread, by ``h2``: it answers as paths say, and notes requests."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError


class Http2Server:
    """
    Serves connections of port ``port`` until closed.

    Args:
        context: Of TLS; None for plain TCP.
        most: Streams that it takes at once on a connection.
    """

    def __init__(self, context: ssl.SSLContext | None = None, most: int = 100) -> None:
        self._most = most
        self.listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://localhost:{self.listener.getsockname()[1]}"
        self.connections = 0
        self.seen: list[dict[bytes, bytes]] = []
        self.bodies: list[int] = []
        self._context = context
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for sock in (self.listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        peer = ServerSide(_3=self._most)
        with contextlib.suppress(OSError, ProtocolError):
            sock.sendall(peer.take())
            while data := sock.recv(65_536):
                peer.receive(data)
                self.seen += peer.seen
                self.bodies += peer.bodies
                peer.seen, peer.bodies = [], []
                sock.sendall(peer.take())
                if peer.over:
                    sock.shutdown(socket.SHUT_RDWR)
                    return


class ServerSide:
    """The server's end of a connection, bytes in and bytes out."""

    def __init__(self, **settings: int) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({int(key[1:]): value for key, value in settings.items()})
        self.seen: list[dict[bytes, bytes]] = []
        self.bodies: list[int] = []
        self.over = False
        self._asked: dict[int, dict[bytes, bytes]] = {}
        self._bodies: dict[int, int] = {}
        self._left: dict[int, bytes] = {}

    def take(self) -> bytes:
        data: bytes = self.h2.data_to_send()
        return data

    def receive(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, events.RequestReceived):
                self._asked[event.stream_id] = dict(event.headers)
                self._bodies[event.stream_id] = 0
            elif isinstance(event, events.DataReceived):
                self._bodies[event.stream_id] += len(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, events.StreamEnded):
                self.seen.append(self._asked[event.stream_id])
                self.bodies.append(self._bodies[event.stream_id])
                self.answer(event.stream_id, self._asked[event.stream_id])
            elif isinstance(event, events.WindowUpdated):
                self._push()

    def answer(self, stream: int, asked: dict[bytes, bytes]) -> None:
        """Answer a request as its path says."""
        path, h2 = asked[b":path"], self.h2
        ok: list[Any] = [(b":status", b"200"), (b"fly-region", b"cdg"), (b"x-odd", b"\xe9")]
        if path == b"/refuse":
            h2.reset_stream(stream, 7)
        elif path == b"/reset":
            h2.send_headers(stream, ok)
            h2.reset_stream(stream, 2)
        elif path == b"/bye":
            h2.send_headers(stream, ok, end_stream=True)
            h2.close_connection(0, last_stream_id=stream)
            self.over = True
        elif path == b"/hang":
            pass
        elif path == b"/slam":
            self.over = True
        elif path == b"/early":
            h2.send_headers(stream, [(b":status", b"103"), (b"link", b"</a>")])
            h2.send_headers(stream, [*ok, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
            h2.send_data(stream, b"body")
            h2.send_headers(stream, [(b"x-check", b"sum")], end_stream=True)
        elif path.startswith(b"/big/"):
            h2.send_headers(stream, ok)
            self._left[stream] = b"x" * int(path[5:])
            self._push()
        else:
            h2.ping(b"12345678")
            h2.send_headers(stream, [*ok, (b"content-length", b"5")])
            h2.send_data(stream, b"" if asked[b":method"] == b"HEAD" else b"hello", end_stream=True)

    def _push(self) -> None:
        for stream, body in list(self._left.items()):
            rest = memoryview(body)
            while rest:
                room = self.h2.local_flow_control_window(stream)
                size = min(room, self.h2.max_outbound_frame_size, len(rest))
                if size <= 0:
                    break
                self.h2.send_data(stream, bytes(rest[:size]), end_stream=size == len(rest))
                rest = rest[size:]
            self._left[stream] = bytes(rest)
            if not rest:
                del self._left[stream]


@contextlib.contextmanager
def http2_server(context: ssl.SSLContext | None = None, most: int = 100) -> Iterator[Http2Server]:
    """A server that is gone when the block ends."""
    server = Http2Server(context, most)
    try:
        yield server
    finally:
        server.close()
