"""The relay: every link a listener, one heap of due times, one loop that delivers on time."""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import os
import socket
import time
from collections.abc import Callable

from loadtest.faults import RoadCondition
from loadtest.kernel.namespaces import SocketMaker, listen_anywhere
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.connection import Link, RelayedConnection, RelayFlow
from loadtest.world.links.lateness import Lateness
from loadtest.world.links.road import Road
from loadtest.world.links.wait import READ, StampClock, new_waiter

LEAD_START_NS = 45_000
"""What a delivery is late by on an idle machine, before the relay knows better."""

LEAD_CEILING_NS = 250_000
"""Most that a delivery is brought forward, however late this machine is."""

ANY_PORT = LinkAddress("127.0.0.1", 0)
"""Any free port of loopback."""

_LEAD_STEPS_NS = (2_000, 200)
_LEAD_SETTLED = 200
_BACKLOG = 1_024
_ACCEPTS = 32


class Relay:
    """
    All links of a world, in one thread that blocks nowhere but in :meth:`run`.

    The relay corrects itself: it watches by how much its deliveries miss their due time and brings
    the timer forward by the running median of it (``lead_ns``), within bounds, so that waking up
    late does not make every way longer than configured.
    """

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self._roads: dict[tuple[str, str], Road] = {}
        self.lead_ns = LEAD_START_NS
        self.deliveries = 0
        self.lateness = Lateness()
        self.clock = StampClock()
        self.sockets = SocketMaker()
        self._waiter = new_waiter()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._heap: list[tuple[int, int, RelayFlow]] = []
        self._ticket = itertools.count()
        self._running = True
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def open(
        self,
        link_id: str,
        target: LinkAddress | None,
        one_way_ns: int,
        kind: str,
        *,
        listen: LinkAddress = ANY_PORT,
        ends: tuple[str, str] | None = None,
    ) -> int:
        """
        Listen for ``link_id``.

        Args:
            link_id: Name of the link, not in use.
            target: Where its connections go; None refuses them.
            one_way_ns: Delay of each direction.
            kind: ``stream`` models handshake and slow start, ``backhaul`` no handshake, ``bulk`` no
                slow start.
            listen: Where; a free port of loopback if nothing is said.
            ends: Regions of who calls and of the target, whose roads it takes; without, nothing
                bad happens on it.

        Returns:
            The port.
        """
        listener = self.sockets.make(listen.place, listen.family, socket.SOCK_STREAM)
        try:
            if listen.place:
                listen_anywhere(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(listen[:2])
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        roads = self._roads_of(ends)
        link = Link(listener, target, one_way_ns, kind != "bulk", kind == "backhaul", *roads)
        self.links[link_id] = link
        self.watch(listener.fileno(), READ, lambda _mask: self._accept(link))
        return int(listener.getsockname()[1])

    def close(self, link_id: str) -> None:
        """Stop listening and reset every connection of the link."""
        link = self.links.pop(link_id)
        self.forget(link.listener.fileno())
        link.listener.close()
        for connection in list(link.live):
            connection.close(reset=True)

    def settle(self, link_id: str, *, whole: bool) -> int:
        """
        Reset connections of a link that lead elsewhere than the link does by now.

        Args:
            link_id: The link.
            whole: Reset those too that lead where the link does.

        Returns:
            How many were reset.
        """
        link = self.links[link_id]
        strays = [c for c in link.live if whole or (link.target and c.target != link.target)]
        for connection in strays:
            connection.close(reset=True)
        return len(strays)

    def strays(self, link_id: str, *, whole: bool) -> list[LinkAddress]:
        """
        Return where connections of a link lead that lead elsewhere than the link does by now.

        Args:
            link_id: The link.
            whole: Name every connection, also those that lead where the link does.
        """
        link = self.links[link_id]
        return [
            c.target
            for c in link.live
            if c.target is not None and (whole or (link.target and c.target != link.target))
        ]

    def lead(
        self,
        link_id: str,
        target: LinkAddress | None,
        one_way_ns: int | None,
        ends: tuple[str, str] | None,
    ) -> None:
        """Lead new connections of a link elsewhere; None keeps its delay, or its roads."""
        link = self.links[link_id]
        link.target = target
        if one_way_ns is not None:
            link.one_way_ns = one_way_ns
        if ends is not None:
            link.there, link.back = self._roads_of(ends)

    def set_road(self, road: tuple[str, str], condition: RoadCondition, seed: str) -> None:
        """
        Let a road be bad, or heal it, for all links that take it, now and later.

        Args:
            road: Region that sends, region that receives.
            condition: What it does from now on; a cut holds bytes and keeps connections.
            seed: Of what is drawn from then on, where the road was in order.
        """
        found = self._roads.setdefault(road, Road())
        if found.healthy:
            found.sow(f"{seed} {road[0]}>{road[1]}")
        healed = found.cut and not condition.cut
        found.set(condition)
        now_ns = time.monotonic_ns()
        for link in self.links.values() if healed else ():
            if found in (link.there, link.back):
                for connection in list(link.live):
                    connection.unpark(now_ns)

    def _roads_of(self, ends: tuple[str, str] | None) -> tuple[Road, Road]:
        if ends is None:
            return Road(), Road()
        there, back = ends, ends[::-1]
        return self._roads.setdefault(there, Road()), self._roads.setdefault(back, Road())

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        heap = self._heap
        while self._running:
            events = self._waiter.wait(heap[0][0] if heap else None)
            if heap:
                self._release()
            if not events:
                continue
            self.clock.resample(time.monotonic_ns())
            for fd, mask in events:
                # A handler may close a descriptor that stands later in the list.
                if (handler := self._handlers.get(fd)) is not None:
                    handler(mask)
            if heap:
                self._release()

    def stop(self) -> None:
        """Leave :meth:`run` after the events at hand."""
        self._running = False

    def shut(self) -> None:
        """Close every socket."""
        for link_id in list(self.links):
            self.close(link_id)
        self._waiter.close()
        self.clock.close()
        self.sockets.close()
        os.close(self._spare)

    # -- what connections need (see Host) ----------------------------------------------------

    def watch(self, fd: int, mask: int, handler: Callable[[int], None] | None = None) -> None:
        """Call ``handler`` on what ``mask`` says of ``fd``; mask 0 stops, the handler stays."""
        if handler is not None:
            self._handlers[fd] = handler
        self._waiter.watch(fd, mask)

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``, which is about to be closed."""
        self._waiter.watch(fd, 0)
        self._handlers.pop(fd, None)

    def schedule(self, flow: RelayFlow) -> None:
        """Deliver ``flow`` when its next piece is due."""
        if flow.scheduled or flow.blocked or flow.parked or flow.ended:
            return
        due_ns = flow.due_ns()
        if due_ns is not None:
            flow.scheduled = True
            entry = (due_ns - self.lead_of(flow), next(self._ticket), flow)
            heapq.heappush(self._heap, entry)

    def lead_of(self, flow: RelayFlow) -> int:
        """Return by how much deliveries of ``flow`` are brought forward: never much of its way."""
        return min(self.lead_ns, flow.delay_ns >> 2)

    def delivered(self, late_ns: int) -> None:
        """Learn by how much a delivery missed its due time, and correct the lead by a step."""
        self.deliveries += 1
        self.lateness.add(late_ns)
        step = _LEAD_STEPS_NS[self.deliveries > _LEAD_SETTLED]
        lead = self.lead_ns + (step if late_ns > 0 else -step)
        self.lead_ns = min(max(lead, 0), LEAD_CEILING_NS)

    def _release(self) -> None:
        heap = self._heap
        while heap and heap[0][0] <= time.monotonic_ns():
            flow = heapq.heappop(heap)[2]
            flow.scheduled = False
            if not flow.ended:
                flow.connection.deliver(flow)

    # -- listeners ---------------------------------------------------------------------------

    def _accept(self, link: Link) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, _ = link.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._turn_away(link)
                return
            try:
                RelayedConnection(self, link, sock)
            except OSError:
                sock.close()

    def _turn_away(self, link: Link) -> None:
        # Out of descriptors: a call left in the backlog would wake the loop for ever.
        os.close(self._spare)
        with contextlib.suppress(OSError):
            link.listener.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)
