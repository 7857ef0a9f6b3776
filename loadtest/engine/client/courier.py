"""
Carries requests to a target: on a connection that is open, or on a new one.

A reused connection may turn out to have been closed by the server before it answered with a single
byte.  An idempotent request is then sent once more, on a new connection; nothing else is ever sent
twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from loadtest.engine.client.bodies import Body, NoBody
from loadtest.engine.client.connection import HttpConnection
from loadtest.engine.client.dial import Dialer
from loadtest.engine.client.http2_connection import Http2Connection
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.names import AddressResolver
from loadtest.engine.client.options import TimeOuts
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.state import Connection, Opening, TargetState
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import Failure
from loadtest.records.kinds import ERROR_CANCELLED, HTTP_2
from loadtest.units import NS_PER_S

_IDEMPOTENT: Final = frozenset(
    ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")
)  # RFC 9110, 9.2.2
_monotonic_ns = time.monotonic_ns


class Courier:
    """
    Carries the requests of one user.

    Args:
        limits: Time-outs and sizes.
        resolver: Says when names are looked up.
        record: Takes the sample of a request that was cancelled under way.
    """

    def __init__(
        self,
        limits: Limits,
        resolver: AddressResolver,
        record: Callable[[RequestSample], object],
    ) -> None:
        self.instruments = Instruments.here()
        self.resolver = resolver
        self.read_ns = int(limits.read_s * NS_PER_S)
        self.send_ns = int(limits.send_s * NS_PER_S)
        self._limits = limits
        self._record = record

    def carry(
        self,
        place: TargetState,
        request: bytes,
        sample: RequestSample,
        time_outs: TimeOuts,
        *,
        new_connection: bool,
        stream: bool,
    ) -> tuple[Connection | None, Body | None]:
        """
        Do it; the outcome goes into the sample.

        Args:
            place: Where to.
            request: Head and body.
            sample: Of the request.
            time_outs: Its own.
            new_connection: Open one for it alone.
            stream: Leave the body of the answer to whoever reads it.

        Returns:
            The connection, if one came to be; and that body.
        """
        connection: Connection | None = None
        body: Body | None = NoBody() if stream else None
        try:
            if not new_connection:
                connection = place.take_idle()
            if connection is None:
                connection = self._open(place, sample, time_outs[0], own=new_connection)
            else:
                sample.reused = True
                sample.address = connection.address
            try:
                body = self._exchange(connection, request, sample, time_outs[1], stream=stream)
            except Failure as failure:
                if not connection.usable:
                    place.drop(connection)
                if not (failure.unanswered and sample.reused and sample.method in _IDEMPOTENT):
                    raise
                place.drop(connection)
                _forget_attempt(sample)
                connection = self._open(place, sample, time_outs[0], own=new_connection)
                body = self._exchange(connection, request, sample, time_outs[1], stream=stream)
        except Failure as failure:
            sample.error, sample.detail = failure.kind, failure.detail
        except BaseException as error:
            others = not new_connection and connection is not None and connection.shared
            if connection is not None and not (others and connection.usable):
                place.drop(connection)
            sample.error, sample.detail = ERROR_CANCELLED, type(error).__name__
            self._record(sample)
            raise
        return connection, body

    def _exchange(
        self,
        connection: Connection,
        request: bytes,
        sample: RequestSample,
        timeout: float | None,
        *,
        stream: bool,
    ) -> Body | None:
        sample.protocol = connection.protocol
        read_ns, send_ns = self.read_ns, self.send_ns
        if timeout is not None:
            read_ns = int(timeout * NS_PER_S)
            send_ns = min(send_ns, read_ns)
        do = connection.open if stream else connection.exchange
        return do(
            request, sample, bodiless=sample.method == "HEAD", read_ns=read_ns, send_ns=send_ns
        )

    def _open(
        self, place: TargetState, sample: RequestSample, cap_s: float | None, *, own: bool
    ) -> Connection:
        """
        Open a connection, or wait for the one that another request of the user opens.

        One waits where several requests can share what comes of it: where HTTP/2 is spoken, or
        where the first handshake with a server has not told yet what is.  Once it has told
        HTTP/1.1, nobody waits for anybody.
        """
        if own:
            return self._dial(place, sample, cap_s, own=True)
        while (before := place.opening) is not None:
            connection = before.join(sample, cap_s)
            if connection is not None and connection.shared and connection.ready():
                return connection
        if place.origin.shares is False:
            return self._dial(place, sample, cap_s, own=False)
        opening = place.opening = Opening(sample, _monotonic_ns())
        try:
            connection = self._dial(place, sample, cap_s, own=False)
        except BaseException as error:
            place.opening = None
            opening.end(None, error if isinstance(error, Failure) else None)
            raise
        place.opening = None
        opening.end(connection)
        return connection

    def _dial(
        self, place: TargetState, sample: RequestSample, cap_s: float | None, *, own: bool
    ) -> Connection:
        limits, instruments, origin = self._limits, self.instruments, place.origin
        # who visits for the first time knows nothing of addresses
        line = Dialer(origin, limits, instruments, silent=None if sample.cold else place.silent)
        line.dial(sample, self.resolver, cap_s)
        origin.shares = line.protocol == HTTP_2
        if not origin.shares:
            return HttpConnection(line, sample.address, limits, instruments)
        connection = Http2Connection(line, sample.address, limits, instruments)
        if not own:
            place.idle.append(connection)
        return connection


def _forget_attempt(sample: RequestSample) -> None:
    """Make a sample ready for a second attempt; its start stays that of the first."""
    sample.attempts = 2
    sample.reused = False
    sample.kernel = False
    sample.sent_ns = sample.first_ns = sample.first_user_ns = sample.last_ns = 0
