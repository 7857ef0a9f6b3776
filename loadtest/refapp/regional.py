"""
Regional middleware for ASGI apps: reads near the visitor, writes in the primary region.

    app = Starlette(routes=..., middleware=[Middleware(RegionalMiddleware)])

Put it inside whatever turns errors into pages if you can (Starlette's and FastAPI's ``middleware``
argument does): it has to see the database's error.  Wrapped around a whole app it still works as
long as the app raises its errors after answering, as Starlette does.  Other frameworks have to tell
of the error: `loadtest.refapp.frameworks`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from loadtest.refapp.positions import AsyncDatabasePosition, lsn_cookie, position_to_wait_for
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

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_HOLD_BYTES = 65_536
_logger = logging.getLogger(__name__)


class RegionalMiddleware:
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
        app: AsgiApp,
        settings: RegionalSettings | None = None,
        now: Callable[[], float] = time.time,
        *,
        position: AsyncDatabasePosition | None = None,
    ) -> None:
        self._app = app
        self._position = position
        self._settings = settings or RegionalSettings.from_environ(os.environ)
        self._now = now
        if self._settings is None:
            _logger.warning("PRIMARY_REGION or FLY_REGION is not set: no request will be replayed")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; only HTTP requests are looked at, WebSockets pass."""
        if self._settings is None or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings = self._settings
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        failed = _first(headers, b"fly-replay-failed") is not None
        cookies = [value.decode("latin-1") for name, value in headers if name == b"cookie"]
        position = self._position
        timed = cookies if position is None else ()
        before = replay_before(settings, scope["method"], timed, self._now(), replay_failed=failed)
        if before is None and position is not None:
            before = await _behind(position, settings, cookies, failed=failed)
        if before is not None:
            await _answer(send, settings, before)
            return
        source = parse_replay_source(_first(headers, b"fly-replay-src"))

        async def stamps() -> list[tuple[bytes, bytes]]:
            cookie = threshold_cookie(settings, scope["method"], source, self._now())
            if cookie and position is not None:
                cookie = lsn_cookie(await position.written())
            return [(b"set-cookie", cookie.encode("latin-1"))] if cookie else []

        def noted() -> ReplayAnswer | None:
            error = scope.get(ERROR_KEY)
            return replay_after(settings, error, replay_failed=failed) if error else None

        exit_ = _Exit(receive, send, settings, stamps, noted)
        try:
            await self._app(scope, exit_.receive, exit_)
        except Exception as error:
            after = replay_after(settings, error, replay_failed=failed)
            if after is None or exit_.sent:
                await exit_.flush()
                raise
            await _answer(send, settings, after)
        else:
            await exit_.flush()


class _Exit:
    """
    The way out of one request.

    Outside the primary region the head of an answer is held back until the first bytes of its body,
    as PEP 3333 asks of WSGI servers, and a server error until the app has ended: should the app
    raise the read-only error by then, or have told of it, the answer is replaced by a replay.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        settings: RegionalSettings,
        stamps: Callable[[], Awaitable[list[tuple[bytes, bytes]]]],
        noted: Callable[[], ReplayAnswer | None],
    ) -> None:
        self._receive = receive
        self._send = send
        self._settings = settings
        self._stamps = stamps
        self._noted = noted
        self._replayed = False
        self._failing = False
        self._held: list[Message] = []
        self._held_bytes = 0
        self._said_all = asyncio.Event()
        self.sent = False

    async def receive(self) -> Message:
        """
        Return the server's next message; once the app has said all, that there is none.

        The server does not know of an answer that is held, and an app such as Quart's does not end
        before it hears that its answer has left.
        """
        if not self._settings.secondary:
            return await self._receive()
        asked = asyncio.ensure_future(self._receive())
        said_all = asyncio.ensure_future(self._said_all.wait())
        try:
            await asyncio.wait((asked, said_all), return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else {"type": "http.disconnect"}
        finally:
            asked.cancel()
            said_all.cancel()

    async def __call__(self, message: Message) -> None:
        """Pass a message of the app on, or hold it."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *await self._stamps()]
            message = {**message, "headers": with_region(headers, self._settings.current_region)}
            self._failing = message["status"] >= 500
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._said_all.set()
        if self._replayed:
            return  # the app's own page about its error goes nowhere
        if self.sent or not self._settings.secondary:
            self.sent = True
            await self._send(message)
            return
        self._held.append(message)
        self._held_bytes += len(message.get("body", b""))
        begun = self._held_bytes > 0 or not message.get("more_body", True)
        if self._held_bytes > _HOLD_BYTES or (begun and not self._failing):
            await self.flush()

    async def flush(self) -> None:
        """Send what was held, or the replay if the app has told of an error that asks for one."""
        held, self._held = self._held, []
        if held and not self.sent and (replay := self._noted()) is not None:
            self.sent = self._replayed = True
            await _answer(self._send, self._settings, replay)
            return
        for message in held:
            self.sent = True
            await self._send(message)


async def _behind(
    position: AsyncDatabasePosition,
    settings: RegionalSettings,
    cookies: Iterable[str],
    *,
    failed: bool,
) -> ReplayAnswer | None:
    """Return a replay if the replica has not, in a while, what the visitor wrote."""
    lsn = position_to_wait_for(settings, cookies, replay_failed=failed)
    if lsn is None or await position.reached(lsn):
        return None
    return ReplayAnswer(settings.primary_region, LSN)


def with_region(headers: list[tuple[bytes, bytes]], region: str) -> list[tuple[bytes, bytes]]:
    """Return response headers with ``Fly-Region`` in them, unless the app set one itself."""
    if any(name.lower() == b"fly-region" for name, _ in headers):
        return headers
    return [*headers, (b"fly-region", region.encode("latin-1"))]


async def _answer(send: Send, settings: RegionalSettings, replay: ReplayAnswer) -> None:
    """Answer with a replay."""
    headers = [(b"fly-replay", replay.header.encode("latin-1")), (b"content-length", b"0")]
    region = with_region(headers, settings.current_region)
    await send({"type": "http.response.start", "status": 409, "headers": region})
    await send({"type": "http.response.body", "body": b""})


def _first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return the first header of that name (lower case, as ASGI has them)."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)
