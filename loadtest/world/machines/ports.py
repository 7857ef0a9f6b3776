"""Free ports on loopback, handed out once each."""

from __future__ import annotations

import random
import socket

from loadtest.errors import WorldError

# Below the range that systems take ports of outgoing connections from, so that nobody's
# connection takes a port between the moment it is found free and the moment a machine listens.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 2_000


class PortPool:
    """Ports of one world; a port is free for others again once it is given back."""

    def __init__(self, seed: int | None = None) -> None:
        self._taken: set[int] = set()
        self._random = random.Random(seed)

    def take(self) -> int:
        """
        Return a port that nothing listens on.

        Raises:
            WorldError: There is none.
        """
        for _ in range(_TRIES):
            port = self._random.randrange(_FIRST, _LAST)
            if port not in self._taken and _is_free(port):
                self._taken.add(port)
                return port
        raise WorldError(f"no free port on 127.0.0.1 between {_FIRST} and {_LAST}")

    def give_back(self, port: int) -> None:
        """Allow a port to be handed out again."""
        self._taken.discard(port)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
