"""
Network interfaces, addresses and routes of the calling thread's network namespace.

Source: rtnetlink(7), veth(4), and the kernel's linux/if_link.h, rtnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, Literal

LOCAL_TABLE: Final = 255
MAIN_TABLE: Final = 254

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_REQUEST, _ACKNOWLEDGE, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR = 2
_UP = 0x1
_LINK_NAME, _LINK_INFO, _LINK_NETWORK = 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_ADDRESS, _ADDRESS_LOCAL, _WITHOUT_DUPLICATE_CHECK = 1, 2, 0x02
_ROUTE_TARGET, _ROUTE_INTERFACE, _ROUTE_GATEWAY = 1, 4, 5
_STATIC = 4
_SCOPES = {"local": 254, "link": 253, "gateway": 0}
_KINDS = {"local": 2, "link": 1, "gateway": 1}
_NO_LINK = struct.pack("BxHiII", 0, 0, 0, 0, 0)


def add_cable(name: str, peer: str, network: int) -> None:
    """
    Make a pair of interfaces that hand packets to each other.

    Args:
        name: The end in this namespace.
        peer: The other end.
        network: Descriptor of the network namespace that the other end is in.

    Raises:
        OSError: The kernel refused, or has no such interfaces.
    """
    there = _attribute(_LINK_NAME, peer.encode() + b"\0")
    there += _attribute(_LINK_NETWORK, struct.pack("I", network))
    data = _attribute(_INFO_DATA, _attribute(_VETH_PEER, _NO_LINK + there))
    info = _attribute(_LINK_INFO, _attribute(_INFO_KIND, b"veth") + data)
    name_of_this = _attribute(_LINK_NAME, name.encode() + b"\0")
    _request(_NEW_LINK, _CREATE | _EXCLUSIVE, _NO_LINK + name_of_this + info)


def bring_up(name: str, *addresses: str) -> None:
    """
    Bring an interface up, with addresses that are its alone and usable at once.

    Raises:
        OSError: There is no such interface, or the kernel refused.
    """
    index = socket.if_nametoindex(name)
    _request(_NEW_LINK, 0, struct.pack("BxHiII", 0, 0, index, _UP, _UP))
    for address in addresses:
        family, packed = _packed(address)
        # the check for duplicates would keep an IPv6 address unusable for a second
        head = struct.pack("BBBBI", family, 8 * len(packed), _WITHOUT_DUPLICATE_CHECK, 0, index)
        both = _attribute(_ADDRESS_LOCAL, packed) + _attribute(_ADDRESS, packed)
        _request(_NEW_ADDRESS, _CREATE | _EXCLUSIVE, head + both)


def add_route(
    network: str,
    name: str,
    *,
    kind: Literal["local", "link", "gateway"],
    gateway: str = "",
    table: int = MAIN_TABLE,
) -> None:
    """
    Tell where packets for a block of addresses go.

    Args:
        network: The block, ``fdaa::/16``.
        name: The interface.
        kind: ``local``: every address of the block is this machine's own; ``link``: they are
            neighbours; ``gateway``: another machine passes them on.
        gateway: Address of that machine.
        table: Routing table; the local one is asked first.

    Raises:
        OSError: The kernel refused.
    """
    address, _, bits = network.partition("/")
    family, packed = _packed(address)
    index = socket.if_nametoindex(name)
    scope, type_of_route = _SCOPES[kind], _KINDS[kind]
    numbers = (family, int(bits), 0, 0, table, _STATIC, scope, type_of_route, 0)
    rest = _attribute(_ROUTE_TARGET, packed)
    rest += _attribute(_ROUTE_INTERFACE, struct.pack("I", index))
    if gateway:
        rest += _attribute(_ROUTE_GATEWAY, _packed(gateway)[1])
    _request(_NEW_ROUTE, _CREATE | _EXCLUSIVE, struct.pack("BBBBBBBBI", *numbers) + rest)


def _packed(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def _request(kind: int, flags: int, body: bytes) -> None:
    """Send one request and wait for its acknowledgement."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        head = (16 + len(body), kind, flags | _REQUEST | _ACKNOWLEDGE, 1, 0)
        sock.send(struct.pack("IHHII", *head) + body)
        answer = sock.recv(4_096)
    answered, number = struct.unpack_from("H", answer, 4)[0], struct.unpack_from("i", answer, 16)[0]
    if answered != _ERROR or number:
        raise OSError(-number, f"rtnetlink request {kind}: {os.strerror(-number)}")
