"""``client.websocket`` and ``client.events``: connections that outlive their first request."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from loadtest.engine.client.courier import Courier
from loadtest.engine.client.dial import Dialer
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.long_connection import LongConnection, LongFramer
from loadtest.engine.client.options import without_credentials
from loadtest.engine.client.origin import Origin, origin_of
from loadtest.engine.client.request import TOKEN, build_fields, build_request_line, jar_header
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.server_events import CONTENT_TYPE, EventFramer, EventStream
from loadtest.engine.client.state import TargetState
from loadtest.engine.client.websocket import OPEN, WebSocket, WebSocketFramer
from loadtest.engine.hub.wait import Failure
from loadtest.records.kinds import ERROR_CANCELLED, HTTP_1
from loadtest.records.statuses import status_sentence
from loadtest.units import NS_PER_S

_monotonic_ns = time.monotonic_ns
_WANTED = {"Accept": CONTENT_TYPE, "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
_WS = re.compile("^ws(?=s?://)", re.IGNORECASE)
_WRITTEN_BY_THE_HANDSHAKE = (b"host", b"accept", b"accept-encoding", b"connection", b"upgrade")


_Opened = TypeVar("_Opened", WebSocket, EventStream)


class LongLived:
    """
    What a client can open besides requests.

    Each opens a connection of its own, in HTTP/1.1 whatever the target's ``http`` says, and is
    closed by its ``close``, at the end of its ``with`` block, or with the client.
    """

    _place: TargetState
    _limits: Limits
    _courier: Courier
    _headers: dict[str, str]
    _record: Callable[[RequestSample], object]
    _resolve_place: Callable[[str], tuple[TargetState, str]]
    _new_sample: Callable[[str, str], RequestSample]
    _long_lived: list[WebSocket | EventStream]

    def websocket(
        self,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        timeout: float | None = None,
    ) -> WebSocket:
        """
        Open a WebSocket: a row, whose cold TTFB is the time to open.

        Args:
            path: Path with or without a query, or a whole URL of ``ws``, ``wss``, ``http`` or
                ``https``.
            name: Name in the tables; by default the path without its query.
            headers: Sent besides, and instead of, the client's own.
            subprotocols: Offered to the server, the best first.
            timeout: Seconds to the answer, and to that of every message.

        Returns:
            The WebSocket; ``open`` tells whether it is, ``error`` what went wrong.

        Raises:
            ValueError: The request cannot be sent, such as a header with a line break in it.
        """
        path, headers = without_credentials(_WS.sub("http", path, count=1), headers)
        for word in subprotocols:
            if not TOKEN.fullmatch(word):
                raise ValueError(f"subprotocol {word!r}: only letters, digits and !#$%&'*+.^_`|~-")
        place, path = self._placed(path)
        origin = place.origin
        given = {**self._own_headers(place), **_cookie(place, path), **(headers or {})}
        fields = _handshake_fields(origin, given)
        target = build_request_line("GET", path).split(b" ")[1].decode()
        framer = WebSocketFramer(
            origin.host_header, target, fields, subprotocols, self._limits.body_bytes
        )
        sample = self._new_sample(name or path.partition("?")[0], "GET")
        read_ns = self._courier.read_ns if timeout is None else int(timeout * NS_PER_S)
        connection = self._open_long(
            place, path, framer, sample, request=framer.hello, read_ns=read_ns
        )
        if not sample.error and sample.status != OPEN:
            sample.unexpected = f"{status_sentence(sample.status)}, where {OPEN} was wanted"
            sample.error, sample.detail = "status", sample.unexpected
        self._record(sample)
        if sample.error and connection is not None:
            connection.close()
            connection = None
        opened = WebSocket(
            connection,
            framer,
            sample,
            new_sample=self._new_sample,
            record=self._record,
            read_ns=read_ns,
            send_ns=self._courier.send_ns,
        )
        return self._keep(opened)

    def events(
        self,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> EventStream:
        """
        Ask for server-sent events and wait for the first: two rows.

        One is that of the answer, like any request's; the other, of method ``EVENT``, has the time
        from the request to the piece that completed the first event as its TTFB.

        Args:
            path: Path with or without a query, or a whole URL.
            name: Name in the tables; by default the path without its query.
            headers: Sent besides, and instead of, the client's own.
            timeout: Seconds to the first event, and from one to the next.

        Returns:
            The events; ``error`` says what went wrong.

        Raises:
            ValueError: The request cannot be sent, such as a header with a line break in it.
        """
        path, headers = without_credentials(path, headers)
        place, path = self._placed(path)
        given = {**self._own_headers(place), **_WANTED, **_cookie(place, path), **(headers or {})}
        request = build_request_line("GET", path) + build_fields(place.origin, given, "")
        framer = EventFramer(self._limits.body_bytes)
        sample = self._new_sample(name or path.partition("?")[0], "GET")
        read_ns = self._courier.read_ns if timeout is None else int(timeout * NS_PER_S)
        connection = self._open_long(place, path, framer, sample, request=request, read_ns=read_ns)
        first: RequestSample | None = None
        if framer.streams and connection is not None:
            first = _first_event(sample, connection)
        elif sample.status and not sample.error:
            sample.unexpected = f"{status_sentence(sample.status)}, where 200 was wanted"
            sample.error, sample.detail = "status", sample.unexpected
        self._record(sample)
        if first is not None:
            self._record(first)
        error = sample.error or (first.error if first is not None else "")
        if error and connection is not None:
            connection.close()
            connection = None
        return self._keep(EventStream(connection, framer, sample, error, read_ns))

    def _close_long_lived(self) -> None:
        """Close what a scenario left open."""
        while self._long_lived:
            self._long_lived.pop().close()

    # How it is done.

    def _placed(self, path: str) -> tuple[TargetState, str]:
        return (self._place, path) if path[:1] == "/" else self._resolve_place(path)

    def _own_headers(self, place: TargetState) -> dict[str, str]:
        return self._headers if place is self._place else {}

    def _keep(self, opened: _Opened) -> _Opened:
        self._long_lived = [one for one in self._long_lived if one.lives]
        self._long_lived.append(opened)
        return opened

    def _open_long(
        self,
        place: TargetState,
        path: str,
        framer: LongFramer,
        sample: RequestSample,
        *,
        request: bytes,
        read_ns: int,
    ) -> LongConnection | None:
        """Dial, send a request, wait for what it asks for; the outcome goes into the sample."""
        origin = place.origin
        sample.cold = True
        connection: LongConnection | None = None
        try:
            spoken = origin_of(origin.url, origin.host, origin.ca_file, HTTP_1, origin.tls)
            line = Dialer(spoken, self._limits, self._courier.instruments)
            line.dial(sample, self._courier.resolver, None)
            connection = LongConnection(
                line, sample.address, self._limits, self._courier.instruments, framer
            )
            sample.protocol = connection.protocol
            connection.exchange(
                request, sample, bodiless=False, read_ns=read_ns, send_ns=self._courier.send_ns
            )
        except Failure as failure:
            sample.error, sample.detail = failure.kind, failure.detail
        except BaseException as error:
            if connection is not None:
                connection.close()
            sample.error, sample.detail = ERROR_CANCELLED, type(error).__name__
            self._record(sample)
            raise
        if framer.cookies is not None:
            place.store_cookies(framer.cookies, path)
        return connection


def _first_event(answer: RequestSample, connection: LongConnection) -> RequestSample:
    """Return the sample of the first event; what went wrong with that is no fault of the answer."""
    first = RequestSample(f"{answer.name} first event", "EVENT", answer.sent_ns, 0, answer.context)
    first.sent_ns, first.first_ns = answer.sent_ns, connection.taken_ns
    first.first_user_ns, first.last_ns = connection.taken_ns, answer.last_ns
    first.kernel, first.reused, first.status = answer.kernel, True, answer.status
    first.protocol, first.address, first.bytes = answer.protocol, answer.address, answer.bytes
    first.region_header = answer.region_header
    first.error, first.detail = answer.error, answer.detail
    answer.error = answer.detail = ""
    answer.last_ns = connection.headed_ns
    return first


def _handshake_fields(origin: Origin, given: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a request but for those that a handshake writes itself."""
    lines = build_fields(origin, given, "").split(b"\r\n")
    fields = [(key, value) for key, _, value in (line.partition(b": ") for line in lines if line)]
    return [field for field in fields if field[0].lower() not in _WRITTEN_BY_THE_HANDSHAKE]


def _cookie(place: TargetState, path: str) -> dict[str, str]:
    value = jar_header(place.cookies, place.origin, path)
    return {"Cookie": value} if value else {}
