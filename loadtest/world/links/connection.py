"""
One relayed connection: two sockets, two flows, and every way in which they can end.

A relay ends TCP on both sides, so what TCP does over a long way is charged here: a new connection
waits for its handshake, a large answer for its windows, an end of stream and a reset travel as
long as the bytes before them.  A backhaul is a connection that has long been open between two
proxies: what is new is the connection that the far one makes beside its target.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import socket
import time
from dataclasses import dataclass, field
from typing import Protocol

from loadtest.kernel.namespaces import SocketMaker
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.flow import CAPACITY, Flow, Mark, Window
from loadtest.world.links.road import Road, next_try_ns
from loadtest.world.links.side import Side, Watching
from loadtest.world.links.wait import BROKEN, READ, WRITE

_READ_BYTES = 65_536
_ANCILLARY_BYTES = socket.CMSG_SPACE(16)
_TIMED_NS = 200_000  # below this a delivery waits for no timer and tells nothing about it


@dataclass(slots=True, eq=False)
class Link:
    """A way from a listener of ours to a target, there and back, and what has passed over it."""

    listener: socket.socket
    target: LinkAddress | None
    one_way_ns: int
    windowed: bool
    backhaul: bool
    there: Road
    back: Road
    live: set[RelayedConnection] = field(default_factory=set)
    connections: int = 0
    flights: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


_NOWHERE = LinkAddress("127.0.0.1", 0)


class Host(Watching, Protocol):
    """What a connection needs of the relay it belongs to."""

    sockets: SocketMaker

    def schedule(self, flow: RelayFlow) -> None:
        """Deliver ``flow`` when its next piece is due."""
        ...

    def lead_of(self, flow: RelayFlow) -> int:
        """Return by how much deliveries of ``flow`` are brought forward."""
        ...

    def delivered(self, late_ns: int) -> None:
        """Learn by how much a delivery missed its due time."""
        ...


class RelayFlow(Flow):
    """A flow between two sides: what is read from ``source`` is written to ``sink``."""

    __slots__ = ("blocked", "connection", "ended", "parked", "scheduled", "sink", "source", "way")

    def __init__(
        self,
        connection: RelayedConnection,
        source: Side,
        sink: Side,
        one_way_ns: int,
        floor_ns: int,
        *,
        road: Road,
    ) -> None:
        windowed = connection.link.windowed
        super().__init__(
            one_way_ns,
            floor_ns=floor_ns,
            window=Window(2 * one_way_ns) if windowed else None,
            capacity=CAPACITY if windowed else 8 * CAPACITY,
            road=road,
        )
        self.way = road
        self.connection = connection
        self.source = source
        self.sink = sink
        self.scheduled = False  # stands in the relay's heap
        self.blocked = False  # the sink takes no more for now
        self.parked = False  # due, but the link is cut or the sink not connected yet
        self.ended = False  # nothing more is to be delivered


class RelayedConnection:
    """
    A client of a link, and the connection to the link's target made for it.

    Args:
        host: The relay.
        link: The link that was called.
        sock: The accepted socket.

    Raises:
        OSError: No descriptor is left for the other side; the caller closes ``sock``.
    """

    __slots__ = (
        "_accepted_ns",
        "_client",
        "_dialled",
        "_down",
        "_host",
        "_server",
        "_up",
        "_upward",
        "link",
        "target",
    )

    def __init__(self, host: Host, link: Link, sock: socket.socket) -> None:
        self.link = link
        self._host = host
        self._upward = False
        self._accepted_ns = time.monotonic_ns()
        self.target = target = link.target
        far = target or _NOWHERE
        self._server = Side(host.sockets.make(far.place, far.family, socket.SOCK_STREAM), host)
        self._client = Side(sock, host)
        # The client may speak one round trip after it called; to the server the call is complete
        # one way later still.
        one_way, there, back = link.one_way_ns, link.there, link.back
        spoken_ns = self._accepted_ns
        if not link.backhaul:
            spoken_ns += 2 * one_way
            if not (there.healthy and back.healthy):
                spoken_ns += there.handshake_ns() + back.handshake_ns()
        self._up = RelayFlow(self, self._client, self._server, one_way, spoken_ns, road=there)
        self._down = RelayFlow(
            self, self._server, self._client, one_way, spoken_ns + one_way, road=back
        )
        link.live.add(self)
        link.connections += 1
        host.watch(self._client.fd, READ, functools.partial(self._on_side, self._up, self._down))
        self._dialled = False
        if not link.backhaul:
            self._dial()

    def unpark(self, healed_ns: int = 0) -> None:
        """
        Deliver what waited for the target to answer, or for a road to heal.

        Args:
            healed_ns: When a road healed: its senders notice with their next try.
        """
        for flow in (self._up, self._down):
            if flow.parked:
                first_ns = flow.due_ns()
                if healed_ns and first_ns is not None:
                    flow.postpone(next_try_ns(first_ns, healed_ns, 2 * flow.delay_ns))
                flow.parked = False
                self._host.schedule(flow)

    def close(self, *, reset: bool = False) -> None:
        """Close both sockets; with ``reset`` both peers see a reset, not an end of stream."""
        self.link.live.discard(self)
        for side in (self._client, self._server):
            side.close(reset=reset)
        for flow in (self._up, self._down):
            flow.ended = True
            flow.clear()
            with contextlib.suppress(AttributeError):
                del flow.connection  # opens the ring: the collector of this process is off

    def deliver(self, flow: RelayFlow) -> None:
        """Write to the sink of ``flow`` all that is due, as far as the sink takes it."""
        if not (self._dialled or flow.way.cut):
            self._dial()
        if flow.way.cut or flow.sink.connecting:
            flow.parked = True
            return
        due_ns = flow.due_ns()
        horizon_ns = time.monotonic_ns() + self._host.lead_of(flow)
        while (piece := flow.take(horizon_ns)) is not None:
            if isinstance(piece, bytes):
                if not self._write(flow, piece):
                    break
            elif not self._mark(flow, piece):
                return
        if due_ns and flow.delay_ns >= _TIMED_NS and not flow.blocked:
            self._host.delivered(time.monotonic_ns() - due_ns)
        self._host.schedule(flow)
        source = flow.source
        if not source.reading and not source.at_end and not source.gone and flow.roomy:
            source.reading = True
            source.watch()

    def _write(self, flow: RelayFlow, piece: bytes) -> bool:
        sink = flow.sink
        try:
            sent = sink.sock.send(piece)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._broken(sink, self._down if flow is self._up else self._up)
            return False
        if sent == len(piece):
            return True
        flow.put_back(piece[sent:])
        flow.blocked = sink.writing = True
        sink.watch()
        return False

    def _mark(self, flow: RelayFlow, mark: Mark) -> bool:
        if mark is Mark.ABORT:
            self.close(reset=True)
            return False
        flow.ended = True
        with contextlib.suppress(OSError):
            flow.sink.sock.shutdown(socket.SHUT_WR)
        if self._up.ended and self._down.ended:
            self.close()
            return False
        return True

    # -- events ------------------------------------------------------------------------------

    def _on_side(self, flow: RelayFlow, back: RelayFlow, mask: int) -> None:
        side = flow.source
        if side.connecting:
            self._connected()
            return
        if mask & (READ | BROKEN) and side.reading:
            self._read(side, flow)
        if mask & (WRITE | BROKEN) and side.writing and not side.gone:
            side.writing = back.blocked = False
            side.watch()
            self.deliver(back)

    def _read(self, side: Side, flow: RelayFlow) -> None:
        try:
            data, ancillary, _, _ = side.sock.recvmsg(_READ_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._broken(side, flow)
            return
        now_ns = time.monotonic_ns()
        if data:
            flow.feed(data, self._host.clock.arrival_ns(ancillary, now_ns))
            self._count(flow is self._up, len(data))
            if flow.full:
                side.reading = False
                side.watch()
        else:
            side.at_end, side.reading = True, False
            side.watch()
            flow.finish(now_ns)
        self._host.schedule(flow)

    def _count(self, upward: bool, size: int) -> None:
        link = self.link
        if upward:
            link.bytes_out += size
            if not self._upward:
                link.flights += 1
        else:
            link.bytes_in += size
        self._upward = upward

    def _broken(self, side: Side, flow: RelayFlow) -> None:
        """Send the reset of ``side`` on its way behind what ``side`` sent before (``flow``)."""
        side.close()
        back = self._down if flow is self._up else self._up
        back.clear()
        back.ended = True
        other = flow.sink
        if other.gone:
            self.close()
            return
        other.reading, other.at_end = False, True  # nobody is left to read for
        if not other.connecting:
            other.watch()
        flow.ended = False
        flow.abort(time.monotonic_ns())
        self._host.schedule(flow)

    # -- the target --------------------------------------------------------------------------

    def _dial(self) -> None:
        self._dialled = True
        failure = errno.ECONNREFUSED
        if self.target is not None:
            with contextlib.suppress(OSError):
                failure = self._server.sock.connect_ex(self.target[:2])
        if failure in (0, errno.EINPROGRESS):
            self._server.connecting = True
            back = functools.partial(self._on_side, self._down, self._up)
            self._host.watch(self._server.fd, WRITE, back)
        else:
            self._refuse()

    def _connected(self) -> None:
        server = self._server
        if server.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._refuse()
            return
        server.connecting = False
        server.watch()
        if self._client.gone:
            self._up.parked = False
            self._host.schedule(self._up)
        else:
            self.unpark()

    def _refuse(self) -> None:
        # The caller learns of it when the answer to its call would have come back.
        self._server.connecting = False
        if self._client.gone:
            self.close()
            return
        self._server.close()
        self._client.reading, self._client.at_end = False, True
        self._client.watch()
        self._up.clear()
        self._up.ended = True
        called_ns = self._accepted_ns + self.link.one_way_ns
        self._down.abort(time.monotonic_ns() if self.link.backhaul else called_ns)
        self._host.schedule(self._down)
