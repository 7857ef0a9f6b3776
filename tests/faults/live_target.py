"""A server that answers well until it is told to do something else."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def head(status: str, more: str = "", body: bytes = b"hello") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionError


def hang(_: socket.socket) -> None:
    time.sleep(3_600)


def end(_: socket.socket) -> None:
    raise ConnectionError


def sends(*pieces: bytes, then: Callable[[socket.socket], None] = lambda _: None,
          pause_s: float = 0.0) -> Callable[[socket.socket], None]:  # fmt: skip
    def behave(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        then(connection)

    return behave


def stalls(connection: socket.socket) -> None:
    """Stand still in 1 of 4 seconds, all connections alike."""
    if time.time() % 4 < 1:
        time.sleep(1 - time.time() % 4)
    connection.sendall(GOOD)


def stalls_in_eight(connection: socket.socket) -> None:
    """Stand still in 1 of 8 seconds, all connections alike."""
    if time.time() % 8 < 1:
        time.sleep(1 - time.time() % 8)
    connection.sendall(GOOD)


def frozen(every_s: float, length_s: float) -> Callable[[socket.socket], None]:
    """Stand still for a while in every so many seconds, all connections alike."""

    def behave(connection: socket.socket) -> None:
        if (at_s := time.time() % every_s) < length_s:
            time.sleep(length_s - at_s)
        connection.sendall(GOOD)

    return behave


def in_turn(*modes: str) -> Callable[[socket.socket], None]:
    """Answer in one way after the other, whoever asks."""
    turn = itertools.cycle(modes)

    def behave(connection: socket.socket) -> None:
        MODES[next(turn)](connection)

    return behave


def late(first: bytes, rest: bytes) -> Callable[[socket.socket], None]:
    """Send something at once, and the rest 0.3 s later."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(first)
        time.sleep(0.3)
        connection.sendall(rest)

    return behave


def leaks() -> Callable[[socket.socket], None]:
    """Answer later and later, half a millisecond a request."""
    answered = itertools.count()

    def behave(connection: socket.socket) -> None:
        time.sleep(next(answered) * 0.0005)
        connection.sendall(GOOD)

    return behave


def slow(connection: socket.socket) -> None:
    time.sleep(0.4)
    connection.sendall(GOOD)


MODES: dict[str, Callable[[socket.socket], None]] = {
    "good": sends(GOOD),
    "500": sends(head("500 Oops")),
    "503": sends(head("503 Busy", "Retry-After: 1\r\n")),
    "404": sends(head("404 Not Found")),
    "401": sends(head("401 Unauthorized", "WWW-Authenticate: Basic\r\n")),
    "301": sends(head("301 Moved", "Location: /elsewhere\r\n")),
    "302": sends(head("302 Found", "Location: http://127.0.0.1:1/\r\n")),
    "no status": sends(b"hello\r\n\r\n", then=end),
    "garbage": sends(bytes(range(256)) * 4, then=end),
    "status 999": sends(head("999 What")),
    "hangs": hang,
    "resets": reset,
    "closes unasked": end,
    "closes after each": sends(head("200 OK", "Connection: close\r\n"), then=end),
    "body cut short": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel", then=end),
    "head cut short": sends(b"HTTP/1.1 200 OK\r\nContent-Le", then=end),
    "body that hangs": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel", then=hang),
    "length that lies": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello"),
    "length below zero": sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello", then=end),
    "bad chunks": sends(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nh\r\n", then=end
    ),
    "bad gzip": sends(head("200 OK", "Content-Encoding: gzip\r\n", b"no gzip at all")),
    "endless head": sends(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, then=end),
    "only 100s": sends(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, then=hang),
    "trickles": sends(*[bytes([b]) for b in GOOD], pause_s=0.05),
    "stalls": stalls,
    "stalls 1 s in 8": stalls_in_eight,
    "leaks": leaks(),
    "another page": sends(head("200 OK", body=b"sorry, come again" * 40)),
    "slow": slow,
    "odd charset": sends(
        head("200 OK", "Content-Type: text/html; charset=punycode\r\n", b"-" * 90_000)
    ),
    "odd timing": sends(head("200 OK", 'Server-Timing: db;dur=nan;desc="-7", app;dur=1e999\r\n')),
    "frozen 0.3 s in 2": frozen(2.0, 0.3),
    "frozen 1 s in 8": frozen(8.0, 1.0),
    "429": sends(head("429 Too Many Requests", "Retry-After: 2\r\n")),
    "200, 301, 429": in_turn("good", "301", "429"),
    "half 500": in_turn("good", "500"),
    "nothing, 200": sends(head("200 OK", body=b"")),
    "HTTP/1.0": sends(b"HTTP/1.0 200 OK\r\n\r\nhello", then=end),
    "early hints": late(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", GOOD),
    "body is late": late(GOOD[:-5], GOOD[-5:]),
    "head is late but for a byte": late(GOOD[:1], GOOD[1:]),
    "closes soon": sends(GOOD, then=end, pause_s=0.1),
    "302 elsewhere": sends(head("302 Found", "Location: http://192.0.2.1/x\r\n")),
    "long status": sends(head("500 " + "x" * 20_000)),
    "status of a terminal": sends(
        b"HTTP/1.1 500 \x1b[2J\xff<script>\r\nServer: \x1b[31m<b>\xff\r\nContent-Length: 0\r\n\r\n"
    ),
    "odd region": sends(b"HTTP/1.1 200 OK\r\nFly-Region: \x1b[2J\xff\r\nContent-Length: 0\r\n\r\n"),
}  # fmt: skip


@dataclass
class Target:
    """The server: answers ``after`` requests well, then as ``mode`` says."""

    mode: str = "good"
    after: int = 0
    port: int = 0
    asked: int = 0
    beside: Target | None = None
    _listener: socket.socket | None = None
    _open: list[socket.socket] = field(default_factory=list)

    def serve(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._speak, args=(connection,), daemon=True).start()

    def _speak(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    if not (data := connection.recv(65_536)):
                        return
                    pending += data
                pending = pending.partition(b"\r\n\r\n")[2]
                self.asked += 1
                good = self.asked <= self.after
                (MODES["good"] if good else MODES[self.mode])(connection)

    def listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1_024)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def die(self) -> None:
        """Stop listening, and cut every connection."""
        assert self._listener is not None
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def target(mode: str = "good", after: int = 0) -> Iterator[Target]:
    found = Target(mode, after)
    found.listen()
    try:
        yield found
    finally:
        found.die()
