"""
The target in HTTP/2, plain TCP: answers after the delay that the path names, and tells the truth.

    python http2_target.py PORT      prints "port N"

/d/MICROSECONDS answers with Server-Timing ``app;dur=`` milliseconds from the kernel's receive stamp
of the request to the write of the answer, both on its own clock.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import sys
import time
from pathlib import Path

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loadtest.kernel.stamps import ANCILLARY_BYTES, enable_receive_stamps, receive_stamp_ns

BODY = b"x" * 1024
READ_BYTES = 65_536


class Client:
    """One connection: frames in, answers when they are due."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def take(self) -> list[tuple[int, int, int]]:
        """Read; return stream, arrival and delay of each request, nanoseconds."""
        data, ancillary, _, _ = self.socket.recvmsg(READ_BYTES, ANCILLARY_BYTES)
        if not data:
            raise ConnectionError
        arrival = receive_stamp_ns(ancillary) or time.time_ns()
        found = []
        for event in self.h2.receive_data(data):
            if isinstance(event, events.RequestReceived):
                path = next(value for name, value in event.headers if name == b":path")
                delay = int(path.rpartition(b"/")[2] or 0) if path.startswith(b"/d/") else 0
                found.append((event.stream_id, arrival, delay * 1_000))
        self.flush()
        return found

    def answer(self, stream: int, arrival: int) -> None:
        """Write an answer; its fields need no table, so nothing is computed after the stamp."""
        number = stream.to_bytes(4, "big")
        data = len(BODY).to_bytes(3, "big") + b"\0\1" + number + BODY
        truth = b"app;dur=%.6f" % ((time.time_ns() - arrival) / 1e6)
        block = b"\x88\0\x0dserver-timing" + bytes([len(truth)]) + truth
        head = len(block).to_bytes(3, "big") + b"\1\4" + number
        self.socket.sendall(head + block + data)
        self.h2.send_headers(stream, [(b":status", b"200")], end_stream=True)
        self.h2.data_to_send()  # the library is to know that the stream is over, no more


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print("port", listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    due: list[tuple[int, int, int, int, Client]] = []
    count = itertools.count()
    while True:
        wait = (due[0][0] - time.time_ns()) / 1e9 if due else None
        for key, _ in selector.select(wait if wait is None or wait > 0 else 0):
            if key.data is None:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                enable_receive_stamps(sock)
                selector.register(sock, selectors.EVENT_READ, Client(sock))
                continue
            try:
                for stream, arrival, delay in key.data.take():
                    if not delay:
                        key.data.answer(stream, arrival)
                        continue
                    order = next(count)
                    heapq.heappush(due, (arrival + delay, order, stream, arrival, key.data))
            except (OSError, ProtocolError):
                selector.unregister(key.fileobj)
                key.data.socket.close()
        while due and due[0][0] <= time.time_ns():
            _, _, stream, arrival, client = heapq.heappop(due)
            try:
                client.answer(stream, arrival)
            except (OSError, ProtocolError):
                continue


if __name__ == "__main__":
    main()
