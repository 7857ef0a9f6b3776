"""Servers that do exactly what a test says, byte by byte, and a client to meet them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Self

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.sample import RequestSample

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Handler = Callable[[socket.socket, int], None]


class ScriptServer:
    """
    A threaded server; ``handler(connection, index)`` runs for each connection it accepts.

    Args:
        handler: Speaks on the socket; the socket is closed when it returns.
        host: Address to listen on.
        tls: Server-side context, if the connections are TLS.
    """

    def __init__(
        self, handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self._handler, self._tls, self._host = handler, tls, host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._live: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(20)
            index, self.accepted = self.accepted, self.accepted + 1
            self._live.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection, index), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, index: int) -> None:
        raw = connection
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(raw, server_side=True)
            self._handler(connection, index)
        except OSError:
            pass  # the client left, which many tests want it to
        finally:
            self._live.discard(raw)
            connection.close()
            raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._live):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


def read_request(connection: socket.socket) -> bytes:
    """Read one request, head and body; raises ConnectionError at the end of the stream."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            while len(body) < int(value):
                body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("end of stream")
    return data


def answering(*answers: bytes, then_close: bool = False) -> Handler:
    """A handler that gives each request its next answer, the last one for ever."""

    def handler(connection: socket.socket, _: int) -> None:
        for count in range(1_000_000):
            read_request(connection)
            connection.sendall(answers[min(count, len(answers) - 1)])
            if then_close and count >= len(answers) - 1:
                return

    return handler


@contextlib.contextmanager
def client_of(url: str, **options: Any) -> Iterator[tuple[TTFBClient, list[RequestSample]]]:
    """A client of a URL and the samples it records; options are those of Limits, or of it."""
    ca_file, headers = options.pop("ca_file", ""), options.pop("headers", None)
    samples: list[RequestSample] = []
    http = options.pop("http", "auto")
    host = options.pop("host", "")
    others = {key: options.pop(key) for key in ("resolver", "tls", "known_as") if key in options}
    target = SimpleNamespace(url=url, host=host, ca_file=ca_file, http=http)
    limits = Limits(**options)
    client = TTFBClient(target, samples.append, limits=limits, headers=headers, **others)
    try:
        yield client, samples
    finally:
        client.close()
