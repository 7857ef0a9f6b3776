"""Health checks: asks a machine's own port, often until it first answers, then at its interval."""

from __future__ import annotations

import asyncio
import os
import socket

from loadtest.fly.machines import MachineConfig
from loadtest.fly.services import MachineCheck
from loadtest.kernel.namespaces import SocketMaker
from loadtest.world.links.address import LinkAddress

_EAGER_S = 0.1
_CHUNK = 4_096


def named_checks(config: MachineConfig) -> dict[str, tuple[MachineCheck, int, bool]]:
    """
    Return a machine's checks by name.

    Returns:
        For each the check, the internal port it asks, and whether edges heed it: on Fly only
        checks of services do.
    """
    found: dict[str, tuple[MachineCheck, int, bool]] = {}
    for service in config.services:
        for number, check in enumerate(service.checks):
            port = check.port or service.internal_port
            found[f"servicecheck-{number:02d}-{check.type}-{port}"] = (check, port, True)
    first = config.services[0].internal_port if config.services else 0
    for name, check in config.checks.items():
        found[name] = (check, check.port or first, False)
    return found


async def probe(check: MachineCheck, address: LinkAddress, sockets: SocketMaker) -> str:
    """
    Ask once.

    Args:
        check: What to ask.
        address: Where the machine listens.
        sockets: Makes the socket in the network that the address is meant in.

    Returns:
        Empty when the check passes, else what was wrong.
    """
    try:
        async with asyncio.timeout(check.timeout_s):
            reader, writer = await asyncio.open_connection(sock=await _connect(address, sockets))
            try:
                return "" if check.type == "tcp" else await _ask(check, reader, writer)
            finally:
                writer.close()
    except TimeoutError:
        return f"no answer within {check.timeout_s:g} s"
    except OSError as error:
        # asyncio puts its own words in place of the system's
        return f"connection failed: {os.strerror(error.errno) if error.errno else error}"


async def _connect(address: LinkAddress, sockets: SocketMaker) -> socket.socket:
    sock = sockets.make(address.place, address.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address[:2])
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask(
    check: MachineCheck, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> str:
    extra = "".join(f"{name}: {value}\r\n" for name, value in check.headers.items())
    head = (
        f"{check.method} {check.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"user-agent: Consul Health MachineCheck\r\nconnection: close\r\n{extra}\r\n"
    )
    writer.write(head.encode("latin-1"))
    try:
        line = await reader.readline()  # it may come in many packets
    except ValueError:  # and never end
        line = b""
    words = line.decode("latin-1").split()
    is_http = len(words) > 1 and words[0].startswith("HTTP/") and words[1].isdecimal()
    if not is_http:
        return f"{check.method} {check.path} was answered with something that is not HTTP"
    if (status := words[1]).startswith("2"):
        return ""
    rest = b"\r\n" + await reader.read(_CHUNK)  # the line's own end, where there are no fields
    body = rest.partition(b"\r\n\r\n")[2][:200].decode("utf-8", "replace").strip()
    return f"{check.method} {check.path} answered {status}" + (f": {body}" if body else "")


def pause_s(check: MachineCheck, *, passed: bool) -> float:
    """Return seconds until the next probe: few while the machine is still coming up."""
    return check.interval_s if passed else _EAGER_S
