"""
A server with known delays: what a worker's client is checked against before load.

``python -I -S selfcheck_server.py`` listens on loopback, prints its port, answers each request
after the delay that its path names in microseconds, and says in ``X-Sent-Ns`` when
(CLOCK_MONOTONIC) it handed the first byte over.  It ends when its standard input does.  Standard
library only, no site packages: it starts in a few hundredths of a second and needs 8 MB.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

_NS_PER_US = 1_000
_SPIN_NS = 150_000  # the last stretch is spun: a sleeping process wakes late


def wait_until(moment_ns: int) -> None:
    """Return at a monotonic moment, within a microsecond or two on an idle machine."""
    while (left_ns := moment_ns - time.monotonic_ns()) > 0:
        if left_ns > _SPIN_NS:
            time.sleep((left_ns - _SPIN_NS) / 1e9)


def answer(connection: socket.socket, request: bytes) -> None:
    """Answer one request after the delay that it asks for."""
    delay_us = int(request.split(b" ", 2)[1].strip(b"/"))
    wait_until(time.monotonic_ns() + delay_us * _NS_PER_US)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Sent-Ns: %d\r\n\r\nok"
    connection.sendall(head % time.monotonic_ns())


def serve(listener: socket.socket) -> None:
    """Serve one connection after another until standard input ends."""
    connection: socket.socket | None = None
    while True:
        watched = [sys.stdin.fileno(), listener] + ([connection] if connection else [])
        readable, _, _ = select.select(watched, [], [])
        if sys.stdin.fileno() in readable and not os.read(sys.stdin.fileno(), 64):
            return
        if listener in readable:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        elif connection is not None and connection in readable:
            request = connection.recv(65_536)
            if request:
                answer(connection, request)
            else:
                connection.close()
                connection = None


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as server:
        sys.stdout.write(f"{server.getsockname()[1]}\n")
        sys.stdout.flush()
        serve(server)
