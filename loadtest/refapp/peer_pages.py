"""
Pages that look into what caches of several regions, which take each other's writes, make of them.

Each writes here and in another region (``?peer=ord``), waits until the two agree, and says in a
header of its own what became of it.  Their time is the caches' and the way between them alone: they
keep no pace.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from loadtest.refapp import pages
from loadtest.refapp.cache import Cache
from loadtest.refapp.context import context_of, ledger_of
from loadtest.refapp.ledger import Ledger

OUTCOME = "outcome"
_KEPT_S = 60
_WITHIN_S = 1.5
"""How long two caches may take to agree: several ways round the world."""
_LOOK_EVERY_S = 0.1
"""How often is looked where it is not measured how long it takes."""


async def await_peer(request: Request) -> Response:
    """
    Write in another region's cache, then look here until the write is seen: ``seen`` or ``lost``.

    The answer of that cache left with the write, half a round trip before it came: the page takes
    that half and the time from write to sight.
    """
    cache, peer = _caches(request)
    ledger, key = ledger_of(request), f"peer:{secrets.token_hex(8)}"
    await peer.ask(ledger, "SET", key, 1, "EX", _KEPT_S)

    async def seen() -> bool:
        return bool(await cache.ask(ledger, "EXISTS", key))

    return _page(request, "seen" if await _within(seen, every_s=0.0) else "lost")


async def race(request: Request) -> Response:
    """
    Set one key here and in another region at once: ``converged``, or ``apart`` for good.

    Both have the other's write one way later, so two that apply whatever arrives have swapped
    values then, and two in which the last write wins have the same one.
    """
    cache, peer = _caches(request)
    ledger, key = ledger_of(request), f"peer:{secrets.token_hex(8)}"
    way_s = await _one_way_s(peer, ledger)

    async def here() -> None:
        await asyncio.sleep(way_s)
        await cache.ask(ledger, "SET", key, "here", "EX", _KEPT_S)

    await asyncio.gather(here(), peer.ask(ledger, "SET", key, "there", "EX", _KEPT_S))
    # each has the other's write by now, and a correction of it a moment and one way later
    await asyncio.sleep(2 * way_s + 0.05)

    async def agreed() -> bool:
        values = await asyncio.gather(*(c.ask(ledger, "GET", key) for c in (cache, peer)))
        return values[0] is not None and values[0] == values[1]

    return _page(request, "converged" if await _within(agreed) else "apart")


async def count(request: Request) -> Response:
    """
    Count one here and one in another region at once: ``counted 2 of 2``, or fewer.

    ``way=incr`` lets the caches add, ``way=set`` reads the number and writes it back.
    """
    cache, peer = _caches(request)
    ledger, key = ledger_of(request), f"peer:{secrets.token_hex(8)}"
    reads = request.query_params.get("way", "incr") == "set"
    way_s = await _one_way_s(peer, ledger)

    async def add(where: Cache, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if reads:
            number = int(await where.ask(ledger, "GET", key) or 0)
            await where.ask(ledger, "SET", key, number + 1, "EX", _KEPT_S)
        else:
            await where.ask(ledger, "INCR", key)

    # one way later here, so that both cache servers are asked at the same moment
    await asyncio.gather(add(cache, way_s), add(peer, 0.0))
    told = 0

    async def complete() -> bool:
        nonlocal told
        told = int(await cache.ask(ledger, "GET", key) or 0)
        return told == 2

    await _within(complete)
    await cache.ask(ledger, "EXPIRE", key, _KEPT_S)
    return _page(request, f"counted {told} of 2")


async def tally(request: Request) -> Response:
    """
    Count what is written here, and look whether all that another region wrote is here: ``whole``.

    ``behind`` says that some of it was lost on the way.
    """
    cache, peer = _caches(request)
    ledger, other = ledger_of(request), request.query_params["peer"]
    await cache.ask(ledger, "INCR", f"tally:{context_of(request).settings.region}")
    written = int(await peer.ask(ledger, "GET", f"tally:{other}") or 0)

    async def arrived() -> bool:
        return int(await cache.ask(ledger, "GET", f"tally:{other}") or 0) >= written

    return _page(request, "whole" if await _within(arrived) else "behind")


async def _within(look: Callable[[], Awaitable[bool]], every_s: float = _LOOK_EVERY_S) -> bool:
    """Look again and again until it is so; tell whether it was in time."""
    until = time.monotonic() + _WITHIN_S
    while not await look():
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(every_s)
    return True


async def _one_way_s(peer: Cache, ledger: Ledger) -> float:
    """Return how long the way to another cache is: half of what it takes to answer."""
    begun = time.monotonic()
    await peer.ask(ledger, "PING")
    return (time.monotonic() - begun) / 2


def _caches(request: Request) -> tuple[Cache, Cache]:
    """Return this region's cache and the one that the address names."""
    context, name = context_of(request), request.query_params.get("peer", "")
    peer = context.peer_caches.get(name)
    if context.cache is None or not context.peer_caches:
        raise HTTPException(404, "This deployment has no peers: CACHE_PEERS is not set.")
    if peer is None:
        known = ", ".join(sorted(context.peer_caches))
        raise HTTPException(400, f"peer is {name[:20]!r}: expected one of {known}.")
    return context.cache, peer


def _page(request: Request, outcome: str) -> HTMLResponse:
    region = context_of(request).settings.region
    page = pages.message_page(region, "Caches that take each other's writes", [outcome])
    return HTMLResponse(page, headers={OUTCOME: outcome})


PEER_ROUTES = [
    Route("/peers/seen", await_peer),
    Route("/peers/race", race),
    Route("/peers/count", count),
    Route("/peers/tally", tally),
]
