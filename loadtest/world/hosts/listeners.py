"""
Which ports the programs of a host listen on, as its kernel tells.

The kernel is asked over netlink for listening sockets alone: 0.04 ms.  The tables below /proc walk
all the buckets that connections could be in, 10 ms for an empty one, and are for where netlink does
not answer.

Source: sock_diag(7); linux/inet_diag.h; proc_pid_net(5), /proc/PID/net/tcp and tcp6.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

from loadtest.kernel.namespaces import SocketMaker

_LISTEN = "0A"
_ANY4, _ANY6 = "0.0.0.0", "::"  # noqa: S104 - read, not bound


_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_LISTENING: Final = 1 << 10  # TCP_LISTEN, as a set of states
_HEADER: Final = struct.Struct("=IHHII")
_QUESTION: Final = struct.Struct("=BBBBI48x")  # inet_diag_req_v2, any socket
_PATIENCE_S: Final = 1.0


class ListenerTable:
    """
    The ports that are listened on in the network of a program.

    Args:
        sockets: Makes sockets in other networks.
        place: The network, as for `SocketMaker.make`.
        pid: A process in it, for where netlink does not answer.
    """

    def __init__(self, sockets: SocketMaker, place: str, pid: int) -> None:
        self._pid = pid
        self._netlink: socket.socket | None = None
        try:
            family = socket.AddressFamily(getattr(socket, "AF_NETLINK", 16))
            self._netlink = sockets.make(place, family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
            self._netlink.settimeout(_PATIENCE_S)
        except OSError:
            self.close()

    @property
    def by_netlink(self) -> bool:
        """Whether the kernel is asked over netlink."""
        return self._netlink is not None

    def ports(self) -> dict[int, str]:
        """
        Return every port that is listened on, with an address to dial.

        Programs listen on all addresses, on loopback alone, or on one of the machine's own;
        whichever it is, connections made inside its network reach the address returned.
        """
        if self._netlink is not None:
            try:
                # IPv4 last: where both are there it is what edges dial
                families = (socket.AF_INET6, socket.AF_INET)
                return _dialled([pair for one in families for pair in _asked(self._netlink, one)])
            except OSError:
                self.close()
        found = []
        for name in ("tcp6", "tcp"):
            try:
                text = Path(f"/proc/{self._pid}/net/{name}").read_text(encoding="ascii")
            except OSError:
                continue
            found += parse(text)
        return _dialled(found)

    def close(self) -> None:
        """Let go of the socket."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None


def _dialled(listening: list[tuple[str, int]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for address, port in listening:
        dialled = {_ANY4: "127.0.0.1", _ANY6: "::1"}.get(address, address)
        if port not in found or dialled in ("127.0.0.1", "::1"):
            found[port] = dialled
    return found


def _asked(netlink: socket.socket, family: socket.AddressFamily) -> list[tuple[str, int]]:
    """
    Return the address and port of every listening socket of a family.

    Raises:
        OSError: The kernel does not answer that.
    """
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, _LISTENING)
    size = _HEADER.size + len(question)
    netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + question)
    found: list[tuple[str, int]] = []
    while True:
        more, pairs = parse_answer(netlink.recv(1 << 16))
        found += pairs
        if not more:
            return found


def parse_answer(data: bytes) -> tuple[bool, list[tuple[str, int]]]:
    """
    Return whether more is to come, and the sockets of one datagram of the kernel's.

    Raises:
        OSError: It is a refusal, or no whole message.
    """
    found: list[tuple[str, int]] = []
    while data:
        if len(data) < _HEADER.size:
            raise OSError("a message of netlink's is cut off")
        size, kind, *_ = _HEADER.unpack_from(data)
        if kind == _DONE:
            return False, found
        if kind == _ERROR or size < _HEADER.size + 40 or size > len(data):
            raise OSError("the kernel does not tell of its sockets")
        message = data[_HEADER.size : size]
        length = 4 if message[0] == socket.AF_INET else 16
        (port,) = struct.unpack_from(">H", message, 4)
        found.append((str(ipaddress.ip_address(message[8 : 8 + length])), port))
        data = data[(size + 3) & ~3 :]
    return True, found


def parse(text: str) -> list[tuple[str, int]]:
    """Return the address and port of every listening socket in a table of the kernel's."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4 or fields[3] != _LISTEN:
            continue
        digits, _, port = fields[1].rpartition(":")
        words = struct.unpack(f">{len(digits) // 8}I", bytes.fromhex(digits))
        packed = struct.pack(f"={len(words)}I", *words)  # each word stands in the host's order
        address = str(ipaddress.ip_address(packed))
        found.append((address, int(port, 16)))
    return found
