"""One socket of a relayed connection, and what is being waited for on it."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from loadtest.world.links.wait import READ, WRITE, StampClock

_RESET = struct.pack("ii", 1, 0)


class Watching(Protocol):
    """Whoever waits for sockets: the relay."""

    clock: StampClock

    def watch(self, fd: int, mask: int, handler: Callable[[int], None] | None = None) -> None:
        """Call ``handler`` on what ``mask`` says of ``fd``; mask 0 stops, the handler stays."""
        ...

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``, which is about to be closed."""
        ...


class Side:
    """
    A socket that never blocks, sends at once and stamps what arrives.

    Args:
        sock: The socket.
        host: Watches it.
    """

    __slots__ = ("_host", "at_end", "connecting", "fd", "gone", "reading", "sock", "writing")

    def __init__(self, sock: socket.socket, host: Watching) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host.clock.enable(sock)
        self.sock = sock
        self.fd = sock.fileno()
        self._host = host
        self.connecting = False
        self.reading = True
        self.writing = False
        self.at_end = False
        self.gone = False

    def watch(self) -> None:
        """Wait for what is wanted of it now."""
        if not self.gone:
            mask = (READ if self.reading else 0) | (WRITE if self.writing else 0)
            self._host.watch(self.fd, mask)

    def close(self, *, reset: bool = False) -> None:
        """Close it, once; with ``reset`` the peer sees a reset, not an end of stream."""
        if self.gone:
            return
        self.gone = True
        self._host.forget(self.fd)
        if reset:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()
