"""What becomes of a request that was carried: its row, its response, its connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from loadtest.engine.client.bodies import Body
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.response import CaughtResponse, Response
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.state import Connection, TargetState
from loadtest.engine.client.streamed import StreamedResponse
from loadtest.records.statuses import proxys_own, refuses, status_sentence
from loadtest.text import one_line

_FAILED: Final = 400


def proxy_sentence(answer: Response) -> str:
    """Return what a proxy says that answered in an app's place; empty where the app did."""
    code = answer.headers.get("fly-error-code", "")
    if not code:
        return ""
    reason = one_line(answer.text.partition(f"{code}: ")[2]).strip()
    return proxys_own(answer.status_code, f"{code}: {reason}" if reason else code)


class Concluding:
    """What a client does when the outcome of a request is known."""

    _limits: Limits
    _record: Callable[[RequestSample], object]
    _streams: list[StreamedResponse]
    _unrecorded: CaughtResponse | None

    def _conclude(
        self,
        place: TargetState,
        path: str,
        sample: RequestSample,
        carried: tuple[Connection | None, Body | None],
        *,
        cold: bool,
        catch_response: bool,
    ) -> Response:
        """Keep cookies and connection, have the sample recorded, make the response."""
        pieces: list[bytes] = []
        connection, body = carried
        if connection is not None:
            pieces = connection.pieces
            if connection.cookies is not None:
                place.store_cookies(connection.cookies, path)
            if body is not None:
                pass  # it is under way
            elif cold:
                connection.close()
            else:
                place.give_back(connection, self._limits.idle_connections)
        url, kept = place.origin.url + path, sample.bytes <= self._limits.keep_bytes
        if refuses(self._limits.expect, sample.method, sample.status):
            sample.unexpected = status_sentence(sample.status)
            if body is None and sample.status >= _FAILED:
                answer = Response(sample, url, pieces, kept)
                sample.unexpected = proxy_sentence(answer) or sample.unexpected
        if body is not None:
            streamed = StreamedResponse(
                sample,
                url,
                pieces,
                body,
                recorder=self._record,
                let_go=partial(self._let_go, place, connection, cold=cold),
                limits=self._limits,
            )
            self._streams = [one for one in self._streams if one.alive]
            self._streams.append(streamed)
            return streamed
        if catch_response:
            caught = CaughtResponse(sample, url, pieces, kept, self._record)
            self._unrecorded = caught
            return caught
        if sample.unexpected and not sample.error:
            sample.error, sample.detail = "status", sample.unexpected
        self._record(sample)
        return Response(sample, url, pieces, kept)

    def _let_go(self, place: TargetState, connection: Connection | None, *, cold: bool) -> None:
        """See to the connection of a body that is read no more."""
        if connection is None:
            return
        if cold:
            connection.close()
        else:
            place.give_back(connection, self._limits.idle_connections)

    def _close_streams(self) -> None:
        """Close the bodies that a scenario left open."""
        while self._streams:
            self._streams.pop().close()

    def _settle_unrecorded(self) -> None:
        """Record a caught response that no ``with`` block ever judged."""
        caught, self._unrecorded = self._unrecorded, None
        if caught is not None and not caught.entered:
            caught.record()
