"""What all connections of a process share: stamp keeper, clock offset, watchdog, alarm."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gevent import get_hub
from gevent.hub import Hub

from loadtest.engine.hub.alarm import Alarm
from loadtest.engine.hub.watchdog import Watchdog
from loadtest.kernel.stamps import RealtimeOffset, StampKeeper, TcpInfo


@dataclass(slots=True)
class TcpTotals:
    """Counts over every connection that the process ever had."""

    retransmits: int
    segments_sent: int
    connections: int


class _Tells(Protocol):
    def tcp_info(self) -> TcpInfo | None: ...


class Instruments:
    """
    The shared parts, one set for each hub.

    Take them from ``Instruments.here()``; they last as long as the hub.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.keeper = StampKeeper()
        weakref.finalize(hub, self.keeper.close)
        self.offset = RealtimeOffset(time.monotonic_ns, time.time_ns)
        self.watchdog = Watchdog(hub, on_tick=self.offset.refresh)
        self.alarm = Alarm(hub)
        self.open_connections: set[_Tells] = set()
        self._retransmits = 0
        self._segments_sent = 0
        self._connections = 0

    @classmethod
    def here(cls) -> Instruments:
        """Return the instruments of the current hub, made at the first call."""
        hub = get_hub()
        found = _BY_HUB.get(hub)
        if found is None:
            found = _BY_HUB[hub] = cls(hub)
        return found

    def opened(self, connection: _Tells) -> None:
        """Count a connection in."""
        self.open_connections.add(connection)
        self._connections += 1

    def closing(self, connection: _Tells) -> None:
        """Take the last reading of a connection that is about to be closed."""
        if connection not in self.open_connections:
            return
        self.open_connections.discard(connection)
        if (info := connection.tcp_info()) is not None:
            self._retransmits += info.retransmits
            self._segments_sent += info.segments_sent

    def tcp_totals(self, breathe: Callable[[], None] = lambda: None) -> TcpTotals:
        """
        Return the counts up to now.

        Args:
            breathe: Called after each open connection, which the kernel is asked about for three
                microseconds, to let others run.
        """
        told: dict[_Tells, TcpInfo] = {}
        for connection in list(self.open_connections):
            if (info := connection.tcp_info()) is not None:
                told[connection] = info
            breathe()
        # one that was closed meanwhile has given its last reading to the sums
        infos = [info for connection, info in told.items() if connection in self.open_connections]
        return TcpTotals(
            retransmits=self._retransmits + sum(info.retransmits for info in infos),
            segments_sent=self._segments_sent + sum(info.segments_sent for info in infos),
            connections=self._connections,
        )

    def close(self) -> None:
        """Let go of everything; the next ``here()`` starts afresh."""
        self.alarm.clear()
        self.watchdog.close()
        self.keeper.close()
        _BY_HUB.pop(self.hub, None)


_BY_HUB: dict[Hub, Instruments] = {}
