"""What the handlers share, and the pace that pages keep."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from loadtest.refapp import pages
from loadtest.refapp.cache import Cache
from loadtest.refapp.database import Database
from loadtest.refapp.ledger import Ledger
from loadtest.refapp.lite.database import FarLite, LiteDatabase
from loadtest.refapp.settings import Settings
from loadtest.refapp.timer import PreciseTimer

_NS_PER_MS = 1_000_000

AnyDatabase = Database | LiteDatabase | FarLite
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class AppContext:
    """
    What the handlers share.

    Args:
        settings: The app's settings.
        database: What pages read.
        primary: What takes writes, where that is another database and a page may want it.
        cache: Where fragments and sessions are kept, if anywhere.
        queue: Where jobs are put, if anywhere.
        peer_caches: The caches of other regions that take over each other's writes, by region.
        timer: Waits to the microsecond; there while the app serves.
        chores: Work of this process that no request waits for.
    """

    settings: Settings
    database: Database | LiteDatabase
    primary: Database | FarLite | None = None
    cache: Cache | None = None
    queue: Cache | None = None
    peer_caches: dict[str, Cache] = field(default_factory=dict)
    timer: PreciseTimer | None = None
    chores: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """
        Tell whether every connection that pages need is open.

        The caches of other regions are not among them: one that is cut off is no reason to be down.
        """
        needed = [server for server in self.servers if server not in self.peer_caches.values()]
        return all(server.ready for server in needed)

    @property
    def servers(self) -> list[AnyDatabase | Cache]:
        """Return every server that pages ask."""
        found = (self.database, self.primary, self.cache, self.queue, *self.peer_caches.values())
        return [server for server in found if server is not None]


def paced(handler: Handler) -> Handler:
    """
    Let a page take as long as an app with more work to do: APP_BASE_MS beside the way to the data.

    The time is waited, not burnt.  This app's own work is inside of it, and so is the work of the
    database and the cache: only the distance to those in another region comes on top.
    """

    @functools.wraps(handler)
    async def slow_enough(request: Request) -> Response:
        context, ledger = context_of(request), ledger_of(request)
        try:
            response = await handler(request)
        except HTTPException as error:
            response = await explain(request, error)
        if context.timer is not None:
            edge = request.headers.get("fly-region", context.settings.region)
            base_ns = round(context.settings.base_ms_for(edge) * _NS_PER_MS)
            await context.timer.sleep_until(ledger.start_ns + base_ns + ledger.away_ns)
        return response

    return slow_enough


async def explain(request: Request, error: Exception) -> Response:
    """Return an HTTP error as a page."""
    assert isinstance(error, HTTPException)
    region = context_of(request).settings.region
    page = pages.message_page(region, f"Error {error.status_code}", [error.detail])
    return HTMLResponse(page, error.status_code, error.headers)


def context_of(request: Request) -> AppContext:
    """Return what the handlers share."""
    context = request.app.state.context
    assert isinstance(context, AppContext)
    return context


def ledger_of(request: Request) -> Ledger:
    """Return what this request has spent so far."""
    ledger = request.scope["ledger"]
    assert isinstance(ledger, Ledger)
    return ledger


def clean(text: str) -> str:
    """Return text without the one character that PostgreSQL cannot store."""
    return text.replace("\x00", "")
