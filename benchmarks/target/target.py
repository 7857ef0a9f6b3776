"""
The target of the benchmarks where no C compiler is found; it speaks like target.c, only slower.

    python target.py PORT
"""

from __future__ import annotations

import heapq
import json
import os
import select
import socket
import struct
import sys
import time

SO_TIMESTAMPNS = 35
BODY = b"x" * 1024
TIMESPEC = struct.Struct("@ll")


class Target:
    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        for source in (self.listener, sys.stdin):
            self.poll.register(source, select.EPOLLIN)
        self.peers: dict[int, socket.socket] = {}
        self.partial: dict[int, bytes] = {}
        self.due: list[tuple[int, int, socket.socket]] = []
        self.truths: list[int] = []
        print(f"port {self.listener.getsockname()[1]}", flush=True)

    def run(self) -> None:
        while True:
            wait_s = (self.due[0][0] - time.time_ns()) / 1e9 if self.due else -1
            if self.due and wait_s < 0.001:
                wait_s = 0  # the last millisecond is spun: epoll sleeps in whole ones
            for fd, _ in self.poll.poll(wait_s):
                if fd == sys.stdin.fileno():
                    if not os.read(fd, 64):
                        return
                elif fd == self.listener.fileno():
                    self.welcome()
                else:
                    self.take(self.peers[fd])
            while self.due and self.due[0][0] <= time.time_ns():
                _, arrived, peer = heapq.heappop(self.due)
                self.give(peer, arrived)

    def welcome(self) -> None:
        peer, _ = self.listener.accept()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.peers[peer.fileno()] = peer
        self.poll.register(peer, select.EPOLLIN)

    def hang_up(self, peer: socket.socket) -> None:
        if self.peers.pop(peer.fileno(), None) is not None:
            self.partial.pop(peer.fileno(), None)
            peer.close()

    def take(self, peer: socket.socket) -> None:
        try:
            data, ancillary, _, _ = peer.recvmsg(4096, 64)
        except OSError:
            data = b""
        if not data:
            self.hang_up(peer)
            return
        arrived = time.time_ns()
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = TIMESPEC.unpack(value)
                arrived = seconds * 10**9 + nanoseconds
        data = self.partial.pop(peer.fileno(), b"") + data
        if b"\r\n\r\n" in data:
            self.handle(peer, data.split()[1], arrived)
        else:
            self.partial[peer.fileno()] = data

    def handle(self, peer: socket.socket, path: bytes, arrived: int) -> None:
        if path.startswith(b"/d/"):
            heapq.heappush(self.due, (arrived + 1000 * int(path[3:]), arrived, peer))
        elif path == b"/truth":
            ordered = sorted(self.truths) or [0]
            ranks = {f"p{p:g}_ns": ordered[int(len(ordered) * p / 100)] for p in (50, 99, 99.9)}
            self.send(peer, b"", json.dumps({"n": len(self.truths), **ranks}).encode())
        else:
            self.truths.clear()
            self.send(peer, b"", b"")

    def give(self, peer: socket.socket, arrived: int) -> None:
        if self.peers.get(peer.fileno()) is not peer:
            return
        took = time.time_ns() - arrived
        self.truths.append(took)
        self.send(peer, b"Server-Timing: app;dur=%.6f\r\n" % (took / 1e6), BODY)

    def send(self, peer: socket.socket, header: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (header, len(body))
        try:
            peer.sendall(head + body)
        except OSError:
            self.hang_up(peer)


if __name__ == "__main__":
    Target(int(sys.argv[1]) if len(sys.argv) > 1 else 0).run()
