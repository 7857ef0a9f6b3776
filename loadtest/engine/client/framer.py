"""What a connection asks of whatever follows the bytes of its answers, in either version."""

from __future__ import annotations

from typing import Protocol


class Framer(Protocol):
    """Follows one answer after another on one connection."""

    begun: int
    """Heads begun since ``start``, interim ones included."""
    cookies: list[bytes] | None
    keep_alive: bool
    region: bytes
    status: int
    surplus: bool
    """Bytes came that belong to nothing: the connection is spoilt."""
    timing: bytes

    @property
    def head_done(self) -> bool:
        """Whether the head of the final response is complete."""
        ...

    def start(self, *, bodiless: bool) -> None:
        """Expect the response to the next request; to a HEAD it has no body."""
        ...

    def feed(self, data: bytes) -> bool:
        """Take bytes; True when the answer is complete."""
        ...

    def end_of_stream(self) -> bool:
        """Return True if the peer's closing is how this response ends."""
        ...

    def dispose(self) -> None:
        """Let go of what is kept."""
        ...
