"""Says on every answer where its time went and who gave it."""

from __future__ import annotations

import re
import time

from loadtest.refapp.ledger import LEDGER, Ledger
from loadtest.refapp.regional import AsgiApp, Message, Receive, Scope, Send, with_region
from loadtest.refapp.regional_policy import parse_replay_source

_NS_PER_MS = 1_000_000


class ServerTimingHeader:
    """
    Adds ``Server-Timing`` and ``Fly-Region`` to every answer.

    ``db`` is the time spent waiting for the database, its description the number of round trips;
    ``cache`` the same where a cache or a queue was asked; ``app`` is all the rest; ``region`` is
    where the answer was made; ``replay`` is there when the request was replayed, with the region
    that replayed it and why.

    Args:
        app: The app; finds the `Ledger` of a request in its scope under ``ledger``.
        region: Where this process runs.
    """

    def __init__(self, app: AsgiApp, region: str) -> None:
        self._app = app
        self._region = region

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ledger = scope["ledger"] = Ledger()
        LEDGER.set(ledger)
        source = next((v for k, v in scope["headers"] if k == b"fly-replay-src"), None)

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                timing = server_timing(
                    ledger, time.monotonic_ns(), self._region, source and source.decode("latin-1")
                )
                headers = [*message.get("headers", ()), (b"server-timing", timing.encode())]
                message = {**message, "headers": with_region(headers, self._region)}
            await send(message)

        await self._app(scope, receive, stamped)


def server_timing(ledger: Ledger, now_ns: int, region: str, replay_source: str | None) -> str:
    """
    Return the header's value.

    Args:
        ledger: What the request spent.
        now_ns: The moment of the answer, as `time.monotonic_ns`.
        region: Where it is given.
        replay_source: The request's ``fly-replay-src``, if it has one.

    Source: https://www.w3.org/TR/server-timing/
    """
    database_ms = ledger.database_ns / _NS_PER_MS
    cache_ms = ledger.cache_ns / _NS_PER_MS
    app_ms = (now_ns - ledger.start_ns) / _NS_PER_MS - database_ms - cache_ms
    parts = [
        f"app;dur={app_ms:.3f}",
        f'db;dur={database_ms:.3f};desc="{ledger.round_trips}"',
        f'region;desc="{_token(region)}"',
    ]
    if ledger.cache_round_trips:
        parts.append(f'cache;dur={cache_ms:.3f};desc="{ledger.cache_round_trips}"')
    if source := parse_replay_source(replay_source):
        parts.append(f'replay;desc="{_token(source.region)};{_token(source.state)}"')
    return ", ".join(parts)


def _token(text: str) -> str:
    """Return text that may stand between quotes in a header: whatever else was in it is dropped."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", text)[:64]
