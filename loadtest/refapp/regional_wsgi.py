"""
Regional middleware for WSGI apps: the twin of `loadtest.refapp.regional`.

    application = RegionalWsgiMiddleware(application)

A framework that turns every error into a page itself (Flask and Django do) has to tell of the
error: `loadtest.refapp.frameworks`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from loadtest.refapp.positions import DatabasePosition, lsn_cookie, position_to_wait_for
from loadtest.refapp.regional_policy import (
    ERROR_KEY,
    LSN,
    RegionalSettings,
    ReplayAnswer,
    parse_replay_source,
    replay_after,
    replay_before,
    threshold_cookie,
)

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

_logger = logging.getLogger(__name__)


class RegionalWsgiMiddleware:
    """
    Replays writes in the primary region and stamps every answer with ``Fly-Region``.

    Args:
        app: The app to wrap.
        settings: Where this process runs; None to read PRIMARY_REGION and FLY_REGION.  Where they
            are missing (a laptop) the middleware does nothing, and says so once.
        now: Returns seconds since the UNIX epoch.
        position: Where the database of this region is; given, reads wait until the replica has what
            the visitor wrote, in place of some seconds in the primary region.

    Raises:
        ValueError: The environment names a region that cannot be one.
    """

    def __init__(
        self,
        app: WSGIApplication,
        settings: RegionalSettings | None = None,
        now: Callable[[], float] = time.time,
        *,
        position: DatabasePosition | None = None,
    ) -> None:
        self._app = app
        self._position = position
        self._settings = settings or RegionalSettings.from_environ(os.environ)
        self._now = now
        if self._settings is None:
            _logger.warning("PRIMARY_REGION or FLY_REGION is not set: no request will be replayed")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request; an upgrade to a WebSocket passes."""
        if self._settings is None or environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return self._app(environ, start_response)
        settings = self._settings
        method = environ["REQUEST_METHOD"]
        failed = "HTTP_FLY_REPLAY_FAILED" in environ
        cookies = [environ.get("HTTP_COOKIE", "")]
        position = self._position
        timed = cookies if position is None else ()
        before = replay_before(settings, method, timed, self._now(), replay_failed=failed)
        if before is None and position is not None:
            lsn = position_to_wait_for(settings, cookies, replay_failed=failed)
            if lsn is not None and not position.reached(lsn):
                before = ReplayAnswer(settings.primary_region, LSN)
        if before is not None:
            return _answer(start_response, settings, before)
        source = parse_replay_source(environ.get("HTTP_FLY_REPLAY_SRC"))

        def stamped(headers: Headers) -> Headers:
            cookie = threshold_cookie(settings, method, source, self._now())
            if cookie and position is not None:
                cookie = lsn_cookie(position.written())
            added = [("Set-Cookie", cookie)] if cookie else []
            return _with_region([*headers, *added], settings)

        def replays(error: Exception | None) -> bool:
            return error is not None and bool(replay_after(settings, error, replay_failed=failed))

        start = _Start(start_response, stamped)
        try:
            return _begin(self._app(environ, start), start, environ, replays)
        except Exception as error:
            after = replay_after(settings, error, replay_failed=failed)
            if after is None or start.sent:
                raise
            return _answer(start_response, settings, after)


class _Start:
    """
    Stands in for ``start_response``: keeps status and headers until the first bytes of the body.

    PEP 3333 asks the same of a server; until then the app may still fail, and be replayed.
    """

    def __init__(
        self, start_response: StartResponse, stamped: Callable[[Headers], Headers]
    ) -> None:
        self._start_response = start_response
        self._stamped = stamped
        self._kept: tuple[str, Headers, Any] | None = None
        self._write: Callable[[bytes], object] | None = None

    @property
    def sent(self) -> bool:
        """Tell whether status and headers are beyond recall."""
        return self._write is not None

    def __call__(
        self, status: str, headers: Headers, exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        """Take the app's status and headers; again only with an error, as PEP 3333 has it."""
        if self._kept is not None and exc_info is None:
            raise AssertionError("start_response was called twice without exc_info")
        self._kept = (status, headers, exc_info)
        if self.sent:
            self._start_response(status, headers, exc_info)  # the server raises the error
        return self._write_now

    def send(self) -> Callable[[bytes], object]:
        """Hand status and headers to the server, once."""
        if self._write is None:
            if self._kept is None:
                raise AssertionError("the app sent a body before it called start_response")
            status, headers, exc_info = self._kept
            arguments = (exc_info,) if exc_info else ()
            self._write = self._start_response(status, self._stamped(headers), *arguments)
        return self._write

    def _write_now(self, data: bytes) -> None:
        """Be the old-fashioned ``write`` of PEP 3333."""
        self.send()(data)


class _Body:
    """A body whose first chunk was taken already, and that still closes what it came from."""

    def __init__(self, chunks: Iterator[bytes], result: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._result = result

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        return self._chunks

    def close(self) -> None:
        """Close what the app returned, as every server must."""
        close = getattr(self._result, "close", None)
        if close is not None:
            close()


def _begin(
    result: Iterable[bytes],
    start: _Start,
    environ: WSGIEnvironment,
    replays: Callable[[Exception | None], bool],
) -> _Body:
    """Run the app up to its first bytes, then send status and headers, or raise what it told."""
    chunks = iter(result)
    try:
        first = next((chunk for chunk in chunks if chunk), b"")
        if replays(error := environ.pop(ERROR_KEY, None)):
            raise error
        start.send()
    except BaseException:
        _Body(chunks, result).close()
        raise
    return _Body(chain([first], chunks) if first else iter(()), result)


def _with_region(headers: Headers, settings: RegionalSettings) -> Headers:
    """Return response headers with ``Fly-Region`` in them, unless the app set one itself."""
    if any(name.lower() == "fly-region" for name, _ in headers):
        return headers
    return [*headers, ("Fly-Region", settings.current_region)]


def _answer(
    start_response: StartResponse, settings: RegionalSettings, replay: ReplayAnswer
) -> list[bytes]:
    """Answer with a replay."""
    headers = [
        ("Fly-Replay", replay.header),
        ("Content-Type", "text/plain"),  # PEP 3333's validator insists, even without a body
        ("Content-Length", "0"),
    ]
    start_response("409 Conflict", _with_region(headers, settings))
    return []
