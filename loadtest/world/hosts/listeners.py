"""
Which ports the programs of a host listen on, as its kernel tells.

Source: proc_pid_net(5), /proc/PID/net/tcp and tcp6.
"""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path

_LISTEN = "0A"
_ANY4, _ANY6 = "0.0.0.0", "::"  # noqa: S104 - read, not bound


def listeners(pid: int) -> dict[int, str]:
    """
    Return every port that is listened on in the network of a process, with an address to dial.

    Programs listen on all addresses, on loopback alone, or on one of the machine's own; whichever
    it is, connections made inside its network reach the address returned.
    """
    found: dict[int, str] = {}
    for name in ("tcp6", "tcp"):  # IPv4 last: where both are there it is what edges dial
        try:
            text = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii")
        except OSError:
            continue
        for address, port in parse(text):
            dialled = {_ANY4: "127.0.0.1", _ANY6: "::1"}.get(address, address)
            if port not in found or dialled in ("127.0.0.1", "::1"):
                found[port] = dialled
    return found


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
