"""
Measures the round trip between two machines: a byte there and back on one open connection.

    python -m loadtest.ping answer PORT PEERS SECONDS   sends back what PEERS connections send
    python -m loadtest.ping ask HOST PORT COUNT         prints COUNT round trips as a JSON list, ns

The first listens at LOADTEST_BIND (default 127.0.0.1) and ends once its peers are gone, or after
SECONDS.  The second waits up to ten seconds for the first.  Standard library only: it runs beside
whatever a machine runs.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time

_PATIENCE_S = 10.0
_RETRY_S = 0.05
_ANSWER_S = 5.0
_USAGE, _FAILED = 2, 1
_BYTE = b"."


def answer(port: int, peers: int, seconds: float, host: str) -> int:
    """
    Send back what comes, byte by byte.

    Args:
        port: Where to listen.
        peers: How many connections there will be.
        seconds: When to end at the latest.
        host: Address to listen at; ``::`` takes IPv4, too.

    Returns:
        How many connections have come.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    end = time.monotonic() + seconds
    threads: list[threading.Thread] = []
    with socket.create_server(
        (host, port), family=family, dualstack_ipv6=host == "::", backlog=peers
    ) as server:
        while len(threads) < peers and (left_s := end - time.monotonic()) > 0:
            server.settimeout(left_s)
            try:
                peer, _ = server.accept()
            except TimeoutError:
                break
            thread = threading.Thread(target=_echo, args=(peer, end), daemon=True)
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return len(threads)


def ask(host: str, port: int, count: int) -> list[int]:
    """
    Return round trips in nanoseconds, after one that is not counted.

    Raises:
        OSError: Nobody answers.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _asked(host, port, count)
        except OSError:  # it is not there yet
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)


def _asked(host: str, port: int, count: int) -> list[int]:
    found = []
    with socket.create_connection((host, port), timeout=_ANSWER_S) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count + 1):
            began_ns = time.perf_counter_ns()
            peer.sendall(_BYTE)
            if not peer.recv(1):
                raise ConnectionResetError("the other end has closed")
            found.append(time.perf_counter_ns() - began_ns)
    return found[1:]


def _echo(peer: socket.socket, end: float) -> None:
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.settimeout(max(0.1, end - time.monotonic()))
        try:
            while content := peer.recv(64):
                peer.sendall(content)
        except OSError:
            return


def main(words: list[str]) -> int:
    """Run one of the two commands."""
    try:
        if words[0] == "answer":
            _, port, peers, seconds = words
            host = os.environ.get("LOADTEST_BIND", "127.0.0.1")
            came = answer(int(port), int(peers), float(seconds), host)
            return 0 if came == int(peers) else _FAILED
        _, host, port, count = words
        sys.stdout.write(json.dumps(ask(host, int(port), int(count))) + "\n")
    except (ValueError, IndexError):
        sys.stderr.write(f"{__doc__}\n")
        return _USAGE
    except OSError as error:
        sys.stderr.write(f"ping: {' '.join(words)}: {error.strerror or error}\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
