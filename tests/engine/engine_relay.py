"""A TCP relay in a thread, to cut the link between workers and coordinator."""

from __future__ import annotations

import contextlib
import select
import socket
import threading


class Relay:
    """
    Forwards connections to a port of this machine.

    ``hold()`` stops delivering while connections stay; ``let_go()`` goes on; ``snap()`` closes all
    of them at once, losing whatever is under way.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._held = threading.Event()
        self._snap = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hold(self) -> None:
        self._held.set()

    def let_go(self) -> None:
        self._held.clear()

    def snap(self) -> None:
        self._snap.set()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._snap.is_set():
                self._drop_all()
                self._snap.clear()
            if self._held.is_set():
                self._stop.wait(0.01)
                continue
            readable, _, _ = select.select([self._listener, *self._pairs], [], [], 0.01)
            for sock in readable:
                if sock is self._listener:
                    self._accept()
                elif sock in self._pairs:
                    self._forward(sock)
        self._drop_all()
        self._listener.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to), timeout=2)
        except OSError:
            near.close()
            return
        self._pairs[near], self._pairs[far] = far, near

    def _forward(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65_536)
            if data:
                self._pairs[sock].sendall(data)
        except OSError:
            data = b""
        if not data:
            other = self._pairs.pop(sock)
            self._pairs.pop(other, None)
            sock.close()
            other.close()

    def _drop_all(self) -> None:
        for sock in list(self._pairs):
            with contextlib.suppress(OSError):
                sock.close()
        self._pairs.clear()
