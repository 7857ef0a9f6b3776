"""What one user has at one target: connections to use again, those being opened, and cookies."""

from __future__ import annotations

from typing import Any

from gevent.event import Event

from loadtest.engine.client.connection import HttpConnection
from loadtest.engine.client.cookies import CookieJar
from loadtest.engine.client.http2_connection import Http2Connection
from loadtest.engine.client.origin import Origin
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.hub.wait import Failure

Connection = HttpConnection | Http2Connection


class Opening:
    """
    A connection that one request opens and others of the same user wait for.

    Args:
        sample: Of the request that opens it.
        began_ns: When it began to.
    """

    def __init__(self, sample: RequestSample, began_ns: int) -> None:
        self._sample, self._began_ns = sample, began_ns
        self._over = Event()
        self._failure: Failure | None = None
        self.connection: Connection | None = None

    def end(self, connection: Connection | None, failure: Failure | None = None) -> None:
        """Say how it ended, to those who wait."""
        self.connection, self._failure = connection, failure
        self._over.set()

    def join(self, sample: RequestSample, cap_s: float | None) -> Connection | None:
        """
        Wait for it; what was left of each phase goes into the sample.

        Args:
            sample: Of the request that waits.
            cap_s: How long it waits at most; None for as long as it takes.

        Returns:
            The connection; None where whoever opened it gave up for reasons of its own.

        Raises:
            Failure: It could not be opened, or not in time.
        """
        in_time = self._over.wait(cap_s)
        opened, at = self._sample, sample.start_ns
        resolved = self._began_ns + opened.dns_ns
        connected = resolved + opened.connect_ns
        ready = connected + opened.tls_ns
        sample.dns_ns, at = max(resolved - at, 0), max(resolved, at)
        sample.connect_ns, at = max(connected - at, 0), max(connected, at)
        sample.tls_ns = max(ready - at, 0)
        sample.address, sample.connect_rtt_us = opened.address, opened.connect_rtt_us
        if not in_time:
            text = "the connection that a request before it opens was not there in time"
            raise Failure("connect-timeout", text)
        if self._failure is not None:
            raise Failure(self._failure.kind, self._failure.detail)
        return self.connection


class TargetState:
    """What a user has at one target."""

    __slots__ = ("cookies", "idle", "names", "opening", "origin", "silent")

    def __init__(self, origin: Origin, cookies: CookieJar) -> None:
        self.origin = origin
        self.cookies = cookies
        self.idle: list[Connection] = []
        """Connections that take a request; of HTTP/2 also those with requests under way."""
        self.names: frozenset[str] = frozenset()
        """What whole URLs that lead here begin with."""
        self.opening: Opening | None = None
        self.silent: set[tuple[Any, ...]] = set()
        """Addresses that let the user wait when others answered."""

    def take_idle(self) -> Connection | None:
        """Return the connection used last, if the server has not closed it meanwhile."""
        idle = self.idle
        if idle and (last := idle[-1]).ready():
            if not last.shared:
                idle.pop()
            return last
        at = len(idle)
        while at:
            at -= 1
            connection = idle[at]
            if connection.ready():
                if not connection.shared:
                    del idle[at]
                return connection
            if not connection.busy:
                del idle[at]
                connection.close()
        return None

    def give_back(self, connection: Connection, most: int) -> None:
        """Keep a connection for the next request, or close it: at most ``most`` are kept."""
        idle = self.idle
        if not connection.shared or connection not in idle:
            if connection.usable and len(idle) < most:
                idle.append(connection)
            else:
                connection.close()
        elif not connection.usable or (len(idle) > most and not connection.busy):
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """Use a connection no more; what is under way on it goes on."""
        if connection in self.idle:
            self.idle.remove(connection)
        connection.close()

    def store_cookies(self, headers: list[bytes], path: str) -> None:
        """Take in the Set-Cookie headers of an answer to a request for ``path``."""
        for header in headers:
            self.cookies.store(
                header.decode("latin-1"), host=self.origin.server_name, request_path=path
            )

    def close(self) -> None:
        """Close every idle connection, and forget what the user knows of addresses."""
        self.silent.clear()
        while self.idle:
            self.idle.pop().close()
