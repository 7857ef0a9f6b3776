"""What is to be sent on a socket by nobody in particular, and waits until the socket takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadtest.engine.client.dial import Tls
from loadtest.engine.hub.wait import WRITE


class Outbox:
    """
    Bytes on their way out.

    Args:
        loop: The hub's.
        sock: A non-blocking socket.
        tls: Its session; None where it is plain.
        moved: Called in the hub when the socket took some that had waited.
        failed: Called with the error that the socket answered with.
    """

    def __init__(
        self,
        loop: Any,
        sock: Any,
        tls: Tls | None,
        moved: Callable[[], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self.left = bytearray()
        """What the socket has not taken."""
        self._loop, self._socket, self._tls = loop, sock, tls
        self._moved, self._failed = moved, failed
        self._watcher: Any = None

    def send(self, data: bytes) -> None:
        """Send bytes, or keep what the socket does not take."""
        if not data:
            return
        if self._tls is not None:
            self._tls.session.write(data)
            data = self._tls.outgoing.read()
        self.left += data
        if self._watcher is None:
            self._flush()

    def _flush(self) -> None:
        left = self.left
        try:
            del left[: self._socket.send(left)]
        except BlockingIOError:
            pass
        except OSError as error:
            left.clear()
            self.close()
            self._failed(error)
            return
        if left and self._watcher is None:
            self._watcher = self._loop.io(self._socket.fileno(), WRITE)
            self._watcher.start(self._on_writable)
        elif not left:
            self.close()

    def _on_writable(self) -> None:
        self._flush()
        self._moved()

    def close(self) -> None:
        """Watch the socket no more."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
