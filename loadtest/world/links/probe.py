"""
Measures links from outside the relay: ``python -m loadtest.world.links.probe``.

It plays both ends: a client that pings over the link, and the echo behind it.  A round trip counts
from the client's write to the kernel's stamp on the answer, less what the echo itself took, so the
figure is the way's alone and not this process's own waking up.

It writes ``{"echo_port": n}`` first, so that the links can be pointed at it, and reads its job.

To measure once it reads ``{"ports": [...], "pings": n, "timeout_s": x}`` and writes
``{"round_trips_ns": [[...], ...]}``.  To ride along with a load (``ride`` on the command line) it
reads ``{"ports": [...], "every_ms": n}`` and writes every second
``{"pings": [[link, sent_ns, round_trip_ns], ...]}`` until standard input ends, and then those that
never came back, with -1 for a round trip.
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

from loadtest.world.links.wait import READ, StampClock, new_waiter, sharpen

RIDE = "ride"
"""The word on the command line that asks for pings beside a load."""

MISSING = -1
"""Round trip of a ping that never came back."""

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_NUMBER_BYTES = 4
_ANCILLARY_BYTES = 64
_STAGGER_NS = 1_000_000
_SPREAD_NS = 150_000_000
"""Over how long the first pings are spread: a moment's trouble must not meet them all."""
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
        self._pings, self._spacing_ns = 0, _SPACING_NS
        self.echo_port = int(self._listener.getsockname()[1])

    def measure(
        self, ports: list[int], pings: int, timeout_s: float, lifeline: int | None = None
    ) -> list[list[int]]:
        """
        Ping over every connection, one after the other's answer, all connections side by side.

        Args:
            ports: Loopback ports of links that lead to :attr:`echo_port`; a connection for each,
                so a port may stand there more than once.
            pings: Round trips to count over each connection.
            timeout_s: Give up after this long.
            lifeline: Descriptor that becomes readable when nobody waits for the result any more.

        Returns:
            For each port its round-trip times in nanoseconds; fewer than ``pings`` when the time
            ran out or the link broke.
        """
        self._pings = pings
        stagger_ns = max(_STAGGER_NS, _SPREAD_NS // max(1, len(ports)))
        order = self._open(ports, stagger_ns, lifeline)
        end_ns = time.monotonic_ns() + int(timeout_s * _NS_PER_S)
        while self._pingers and time.monotonic_ns() < end_ns:
            if not self._step(end_ns, lifeline):
                return []
        return [pinger.round_trips_ns for pinger in order]

    def _open(self, ports: list[int], stagger_ns: int, lifeline: int | None) -> list[Pinger]:
        """Connect to every link and let the pings begin one after the other."""
        self._waiter.watch(self._listener.fileno(), READ)
        if lifeline is not None:
            self._waiter.watch(lifeline, READ)
        now_ns = time.monotonic_ns()
        order = []
        for index, port in enumerate(ports):
            sock = self._prepare(socket.create_connection(("127.0.0.1", port)))
            number = index.to_bytes(_NUMBER_BYTES, "big")
            pinger = Pinger(sock, number, now_ns + index * stagger_ns)
            self._pingers[sock.fileno()] = pinger
            self._waiter.watch(sock.fileno(), READ)
            order.append(pinger)
            self._await_start(pinger)
        return order

    def _step(self, end_ns: int, lifeline: int | None) -> bool:
        """Send what is due and take what came until ``end_ns``; tell whether anybody waits."""
        now_ns = time.monotonic_ns()
        while self._starts and self._starts[0][0] <= now_ns:
            started = self._pingers.get(heapq.heappop(self._starts)[1])
            if started is not None:  # its link may have broken meanwhile
                self._ping(started)
        deadline = min(end_ns, self._starts[0][0]) if self._starts else end_ns
        events = self._waiter.wait(deadline)
        self._clock.resample(time.monotonic_ns())
        for fd, _ in events:
            if fd == lifeline:
                return False
            self._on_readable(fd)
        return True

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

    def _on_readable(self, fd: int) -> None:
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
        self._on_answer(fd, arrival_ns)

    def _on_answer(self, fd: int, arrival_ns: int) -> None:
        pinger = self._pingers[fd]
        round_trip_ns = arrival_ns - pinger.sent_ns - self._held_ns.pop(pinger.number, 0)
        if pinger.warm:  # the first answer carries the handshake
            self._keep(pinger, round_trip_ns)
        pinger.warm = True
        if len(pinger.round_trips_ns) < self._pings:
            # On a short way, a moment's trouble on this machine must not meet all pings at once.
            pinger.start_ns = max(time.monotonic_ns(), pinger.sent_ns + self._spacing_ns)
            self._await_start(pinger)
        else:
            self._waiter.watch(fd, 0)
            del self._pingers[fd]

    def _keep(self, pinger: Pinger, round_trip_ns: int) -> None:
        pinger.round_trips_ns.append(round_trip_ns)


class Patrol(Probe):
    """Pings that ride along with a load, slowly and for as long as somebody listens."""

    def __init__(self) -> None:
        super().__init__()
        self._told: list[tuple[int, int, int]] = []

    def ride(self, ports: list[int], every_ms: int, lifeline: int) -> None:
        """
        Ping every link again and again; write every second what came back.

        Args:
            ports: As for `measure`.
            every_ms: Pause between two pings of a link, from start to start.
            lifeline: Descriptor that becomes readable when it is enough.
        """
        self._pings, self._spacing_ns = sys.maxsize, every_ms * _NS_PER_MS
        pingers = self._open(ports, self._spacing_ns // max(1, len(ports)), lifeline)
        listened = True
        while listened:
            second_ns = time.monotonic_ns() + _NS_PER_S
            while listened and time.monotonic_ns() < second_ns:
                listened = self._step(second_ns, lifeline)
            if not listened:
                self._tell_missing(pingers)
            _write({"pings": self._told})
            self._told = []

    def _keep(self, pinger: Pinger, round_trip_ns: int) -> None:
        self._told.append((int.from_bytes(pinger.number, "big"), pinger.sent_ns, round_trip_ns))

    def _tell_missing(self, pingers: list[Pinger]) -> None:
        waiting = {fd for _, fd in self._starts}
        for number, pinger in enumerate(pingers):
            fd = pinger.sock.fileno()
            if pinger.sent_ns and (fd not in self._pingers or fd not in waiting):
                self._told.append((number, pinger.sent_ns, MISSING))


def _write(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure once, or ride along, as standard input says."""
    gc.disable()
    sharpen()
    patrol = Patrol() if RIDE in sys.argv[1:] else None
    probe = patrol or Probe()
    _write({"echo_port": probe.echo_port})
    line = sys.stdin.readline()
    if not line:
        return
    job = json.loads(line)
    if patrol is not None:
        patrol.ride(job["ports"], job["every_ms"], sys.stdin.fileno())
        return
    result = probe.measure(job["ports"], job["pings"], job["timeout_s"], sys.stdin.fileno())
    _write({"round_trips_ns": result})


if __name__ == "__main__":
    main()
