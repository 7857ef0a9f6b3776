"""The address of an end of a link, and the network it is meant in."""

from __future__ import annotations

import socket
from typing import NamedTuple


class LinkAddress(NamedTuple):
    """
    An address to dial or to listen on.

    Args:
        host: IPv4 or IPv6 address.
        port: TCP port; 0 for any that is free.
        place: File that a network namespace is bound to, in which the address is meant; empty for
            this process's own.
    """

    host: str
    port: int
    place: str = ""

    @property
    def family(self) -> socket.AddressFamily:
        """Return the address family."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET
