"""
Measures links from outside the relay: ``python -m loadtest.world.links.probe``.

It plays both ends: a client that pings over the link, and the echo behind it.  A round trip counts
from the client's write to the kernel's stamp on the answer, less what the echo itself took, so the
figure is the way's alone and not this process's own waking up.

It writes ``{"echo_port": n}`` first, so that the links can be pointed at it; reads
``{"ports": [...], "pings": n, "timeout_s": x}``; writes ``{"round_trips_ns": [[...], ...]}``.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import json
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from loadtest.world.links.wait import READ, StampClock, new_waiter, sharpen

_NS_PER_S = 1_000_000_000
_NUMBER_BYTES = 4
_ANCILLARY_BYTES = 64
_STAGGER_NS = 1_000_000
_SPACING_NS = 25_000_000


@dataclass(slots=True)
class Pinger:
    """The client of one link: one ping under way at a time."""

    sock: socket.socket
    number: bytes
    start_ns: int
    sent_ns: int = 0
    warm: bool = False
    round_trips_ns: list[int] = field(default_factory=list)


class Probe:
    """All pingers, their echo, and the loop they share."""

    def __init__(self) -> None:
        self._waiter = new_waiter()
        self._clock = StampClock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
        self._listener.setblocking(False)
        self._echoes: dict[int, socket.socket] = {}
        self._pingers: dict[int, Pinger] = {}
        self._held_ns: dict[bytes, int] = {}
        self._starts: list[tuple[int, int]] = []
        self.echo_port = int(self._listener.getsockname()[1])

    def measure(
        self, ports: list[int], pings: int, timeout_s: float, lifeline: int | None = None
    ) -> list[list[int]]:
        """
        Ping every link, each one after the other's answer, all links side by side.

        Args:
            ports: Loopback ports of links that lead to :attr:`echo_port`.
            pings: Round trips to count on each link.
            timeout_s: Give up after this long.
            lifeline: Descriptor that becomes readable when nobody waits for the result any more.

        Returns:
            For each port its round-trip times in nanoseconds; fewer than ``pings`` when the time
            ran out or the link broke.
        """
        self._waiter.watch(self._listener.fileno(), READ)
        if lifeline is not None:
            self._waiter.watch(lifeline, READ)
        now_ns = time.monotonic_ns()
        order = []
        for index, port in enumerate(ports):
            sock = self._prepare(socket.create_connection(("127.0.0.1", port)))
            number = index.to_bytes(_NUMBER_BYTES, "big")
            pinger = Pinger(sock, number, now_ns + index * _STAGGER_NS)
            self._pingers[sock.fileno()] = pinger
            self._waiter.watch(sock.fileno(), READ)
            order.append(pinger)
            self._await_start(pinger)
        end_ns = now_ns + int(timeout_s * _NS_PER_S)
        while self._pingers and (now_ns := time.monotonic_ns()) < end_ns:
            while self._starts and self._starts[0][0] <= now_ns:
                started = self._pingers.get(heapq.heappop(self._starts)[1])
                if started is not None:  # its link may have broken meanwhile
                    self._ping(started)
            deadline = min(end_ns, self._starts[0][0]) if self._starts else end_ns
            events = self._waiter.wait(deadline)
            self._clock.resample(time.monotonic_ns())
            for fd, _ in events:
                if fd == lifeline:
                    return []
                self._on_readable(fd, pings)
        return [pinger.round_trips_ns for pinger in order]

    def _prepare(self, sock: socket.socket) -> socket.socket:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._clock.enable(sock)
        return sock

    def _await_start(self, pinger: Pinger) -> None:
        heapq.heappush(self._starts, (pinger.start_ns, pinger.sock.fileno()))

    def _ping(self, pinger: Pinger) -> None:
        pinger.sent_ns = time.monotonic_ns()
        with contextlib.suppress(OSError):  # a broken link shows as the end of its stream
            pinger.sock.send(pinger.number)

    def _on_readable(self, fd: int, pings: int) -> None:
        if fd == self._listener.fileno():
            sock = self._prepare(self._listener.accept()[0])
            self._echoes[sock.fileno()] = sock
            self._waiter.watch(sock.fileno(), READ)
            return
        sock = self._echoes.get(fd) or self._pingers[fd].sock
        try:
            data, ancillary, _, _ = sock.recvmsg(_NUMBER_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        now_ns = time.monotonic_ns()
        if not data:
            self._waiter.watch(fd, 0)
            self._pingers.pop(fd, None)
            return
        arrival_ns = self._clock.arrival_ns(ancillary, now_ns)
        if fd in self._echoes:
            self._held_ns[data] = time.monotonic_ns() - arrival_ns
            sock.send(data)
            return
        self._on_answer(fd, arrival_ns, pings)

    def _on_answer(self, fd: int, arrival_ns: int, pings: int) -> None:
        pinger = self._pingers[fd]
        round_trip_ns = arrival_ns - pinger.sent_ns - self._held_ns.pop(pinger.number, 0)
        if pinger.warm:
            pinger.round_trips_ns.append(round_trip_ns)
        pinger.warm = True  # the first answer carries the handshake
        if len(pinger.round_trips_ns) < pings:
            # On a short way, a moment's trouble on this machine must not meet all pings at once.
            pinger.start_ns = max(time.monotonic_ns(), pinger.sent_ns + _SPACING_NS)
            self._await_start(pinger)
        else:
            self._waiter.watch(fd, 0)
            del self._pingers[fd]


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure once, as standard input says."""
    gc.disable()
    sharpen()
    probe = Probe()
    _write({"echo_port": probe.echo_port})
    line = sys.stdin.readline()
    if not line:
        return
    job = json.loads(line)
    result = probe.measure(job["ports"], job["pings"], job["timeout_s"], sys.stdin.fileno())
    _write({"round_trips_ns": result})


if __name__ == "__main__":
    main()
