"""How a client's connection begins: who it is, and which protocol it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from loadtest.world.edge.http import Caller

Entrance = Callable[[], asyncio.Protocol]


class SecureDoor(asyncio.Protocol):
    """
    Takes a connection whose TLS handshake is done and gives it to who speaks its protocol.

    Args:
        old: Makes what speaks HTTP/1.1.
        new: Makes what speaks HTTP/2.

    Source: RFC 7301 (a client that offers nothing speaks HTTP/1.1); RFC 9113, section 3.2.
    """

    def __init__(self, old: Entrance, new: Entrance) -> None:
        self._old = old
        self._new = new

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask what was agreed to, and step aside."""
        session = transport.get_extra_info("ssl_object")
        wanted = self._new if session.selected_alpn_protocol() == "h2" else self._old
        protocol = wanted()
        # uvloop's transports have the methods but not the base class of asyncio's.
        cast("asyncio.Transport", transport).set_protocol(protocol)
        protocol.connection_made(transport)


def caller_of(transport: asyncio.BaseTransport, region: str, *, secure: bool) -> Caller:
    """
    Return who is at the other end of a client's connection.

    Args:
        transport: The connection.
        region: Region of the edge.
        secure: It is TLS.
    """
    client = transport.get_extra_info("peername") or ("", 0)
    local = transport.get_extra_info("sockname") or ("", 0)
    return Caller(
        client=str(client[0]).encode(),
        local=str(local[0]).encode(),
        port=int(local[1]),
        secure=secure,
        region=region.encode(),
    )
