"""
Pages that do one thing which apps in several regions do, so that its price can be measured.

A query for every item of a list, fragments and sessions in a cache, a write on every page view,
work on the primary's own connection, an effect that a replay repeats, large uploads, and how long
a write takes to be seen.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from loadtest.refapp import pages, queries
from loadtest.refapp.cache import Cache, CacheAwayError, QueueFullError
from loadtest.refapp.catalogue import slugify
from loadtest.refapp.context import AnyDatabase, clean, context_of, ledger_of, paced
from loadtest.refapp.jobs import do_later, put_job
from loadtest.refapp.ledger import Ledger

_MOST_QUERIES = 50
_FRAGMENT_S = 300
_SESSION_S = 300
_SESSION_COOKIE = "session"
_SEEN_WITHIN_S = 5.0
MOST_UPLOADED = 12 * 1024 * 1024
_CACHE_NAME = "recipes"


async def list_menu(request: Request) -> Response:
    """Show recipes of a city, one query for the list and one for every item: ``?queries=N``."""
    context, ledger = context_of(request), ledger_of(request)
    number = _count(request, "queries", 2, _MOST_QUERIES)
    city = slugify(request.query_params.get("city", ""))
    async with context.database.session(ledger) as session:
        items = await session.fetch(
            queries.RecipeId, queries.SOME_RECIPES, {"city": city, "limit": number - 1}
        )
        titles = []
        for item in items:
            found = await session.fetch(pages.RecipeInCity, queries.ONE_RECIPE, {"id": item.id})
            titles += [recipe.title for recipe in found]
    return _page(request, f"{ledger.round_trips} queries", titles)


async def show_fragment(request: Request) -> Response:
    """
    List a city's recipes from the cache: one round trip to it, and no query if it has them.

    A ``version`` that nobody has asked for is a miss.  A cache that does not answer costs its
    time-out and no more.  Source of the answer's ``Cache-Status``: RFC 9211.
    """
    context, ledger = context_of(request), ledger_of(request)
    city = slugify(request.query_params.get("city", ""))
    key = f"fragment:{city}:{clean(request.query_params.get('version', ''))[:64]}"
    told, html = "hit", await _cached(context.cache, ledger, "GET", key)
    if html is None:
        told = "fwd=uri-miss" if context.cache else "fwd=bypass"
        async with context.database.session(ledger) as session:
            found = await session.fetch(
                pages.City, queries.ONE_CITY, {"slug": city, "region": context.settings.region}
            )
            if not found:
                raise HTTPException(404, f"No city is called {city!r} here.")
            recipes = await session.fetch(
                pages.Recipe,
                queries.RECIPES_OF_A_CITY,
                {"city_id": found[0].id, "pattern": queries.contains("")},
            )
        html = str(pages.city_page(context.settings.region, found[0], "", recipes))
        await _cached(context.cache, ledger, "SET", key, html, "EX", _FRAGMENT_S)
    return HTMLResponse(html, headers={"cache-status": f"{_CACHE_NAME}; {told}"})


async def show_session(request: Request) -> Response:
    """Count a visitor's page views in a session: read from the cache and written back."""
    cache, ledger = _needed(request), ledger_of(request)
    visitor = request.cookies.get(_SESSION_COOKIE, "")[:64] or secrets.token_hex(8)
    views = int(await cache.ask(ledger, "GET", f"session:{visitor}") or 0) + 1
    await cache.ask(ledger, "SET", f"session:{visitor}", views, "EX", _SESSION_S)
    answer = _page(request, "Your visit", [f"Page {views} of it."])
    answer.set_cookie(_SESSION_COOKIE, visitor, max_age=_SESSION_S, httponly=True, samesite="lax")
    return answer


async def bump_counter(request: Request) -> Response:
    """
    Count in the cache and write to the database: ``?order=before`` or ``after`` the write.

    Counted before, a replayed request counts twice: once where the write was refused, and again
    where it succeeded.
    """
    context, cache, ledger = context_of(request), _needed(request), ledger_of(request)
    key = f"counter:{clean(request.query_params.get('key', ''))[:64]}"
    first = request.query_params.get("order", "before") != "after"
    if first:
        await cache.ask(ledger, "INCR", key)
    await _touch(context.database, ledger, request)
    if not first:
        await cache.ask(ledger, "INCR", key)
    await cache.ask(ledger, "EXPIRE", key, _SESSION_S)
    return _page(request, "Counted", [])


async def show_counter(request: Request) -> Response:
    """Tell a counter's value in a header of its own: ``Counted: 2``."""
    cache, ledger = _needed(request), ledger_of(request)
    key = f"counter:{clean(request.query_params.get('key', ''))[:64]}"
    value = int(await cache.ask(ledger, "GET", key) or 0)
    answer = _page(request, "Counted", [str(value)])
    answer.headers["counted"] = str(value)
    return answer


async def show_profile(request: Request) -> Response:
    """
    Show a page that notes who saw it: two queries, then a write.

    ``?touch=page`` writes with the page, ``far`` puts a job into the queue, ``local`` leaves it to
    this process, ``no`` notes nothing.
    """
    context, ledger = context_of(request), ledger_of(request)
    city = slugify(request.query_params.get("city", ""))
    async with context.database.session(ledger) as session:
        found = await session.fetch(pages.City, queries.ONE_CITY, {"slug": city, "region": ""})
        await session.fetch(queries.RecipeId, queries.SOME_RECIPES, {"city": city, "limit": 24})
    match request.query_params.get("touch", "page"):
        case "page":
            await _touch(context.database, ledger, request)
        case "far":
            await put_job(context, ledger, _recipe(request))
        case "local":
            do_later(context, _recipe(request))
    return _page(request, "Your profile", [city.name for city in found])


async def work_on_primary(request: Request) -> Response:
    """Do a block of ``?queries=N`` writes over a connection to the primary database."""
    context, ledger = context_of(request), ledger_of(request)
    for _ in range(_count(request, "queries", 1, _MOST_QUERIES)):
        await _touch(context.primary or context.database, ledger, request)
    return _page(request, "Done on the primary", [])


async def await_replica(request: Request) -> Response:
    """
    Write on the primary's connection, then read here until the write is seen.

    The time in the database, as it is told, begins with the primary's answer: what the replica lags
    behind it.  The answer left the primary when the change did, so half a round trip more lies
    between commit and sight.
    """
    context, ledger = context_of(request), ledger_of(request)
    written = await _touch(context.primary or context.database, Ledger(), request)
    begun_ns = time.monotonic_ns()
    until_ns = begun_ns + round(_SEEN_WITHIN_S * 1e9)
    async with context.database.session(ledger) as session:
        while time.monotonic_ns() < until_ns:
            seen = await session.fetch(queries.Cooked, queries.COOKED, {"id": _recipe(request)})
            if seen and seen[0].cooked >= written:
                ledger.database_ns = time.monotonic_ns() - begun_ns
                return _page(request, "Seen", [])
            await asyncio.sleep(0)  # a file beside the app is read without a pause for its changes
    raise HTTPException(504, f"The write was not seen within {_SEEN_WITHIN_S:g} s.")


async def take_upload(request: Request) -> Response:
    """Take a file of up to 12 MB and tell its size."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return _page(request, "Uploaded", [f"{size} bytes."])


async def _touch(database: AnyDatabase, ledger: Ledger, request: Request) -> int:
    """Write one row; return its new count."""
    async with database.session(ledger) as session:
        found = await session.fetch(queries.Cooked, queries.COOK, {"id": _recipe(request)})
    if not found:
        raise HTTPException(404, "There is no such recipe.")
    return found[0].cooked


async def _cached(cache: Cache | None, ledger: Ledger, *words: str | int) -> Any:
    """Ask a cache that the page can do without; None where it is none, away or full."""
    if cache is None:
        return None
    try:
        answer = await cache.ask(ledger, *words)
    except (CacheAwayError, QueueFullError):
        return None
    return answer.decode() if isinstance(answer, bytes) else answer


def _needed(request: Request) -> Cache:
    """Return the cache of a page that cannot do without."""
    cache = context_of(request).cache
    if cache is None:
        raise HTTPException(404, "This deployment has no cache: CACHE_URL is not set.")
    return cache


def _recipe(request: Request) -> int:
    """Return the recipe that a page writes to: ``?id=N``."""
    return _count(request, "id", 1, 1_000_000)


def _count(request: Request, name: str, default: int, most: int) -> int:
    """Return a number from 1 that the address gives."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= most):
        raise HTTPException(400, f"{name} is {text[:20]!r}: expected a number from 1 to {most}.")
    return int(text)


def _page(request: Request, title: str, sentences: list[str]) -> HTMLResponse:
    region = context_of(request).settings.region
    return HTMLResponse(pages.message_page(region, title, sentences))


PATTERN_ROUTES = [
    Route("/menu", paced(list_menu)),
    Route("/fragments", paced(show_fragment)),
    Route("/session", paced(show_session)),
    Route("/counter", paced(bump_counter)),
    Route("/counter/value", paced(show_counter)),
    Route("/profile", paced(show_profile)),
    Route("/on-primary", paced(work_on_primary)),
    Route("/seen", paced(await_replica)),
    Route("/uploads", paced(take_upload), methods=["POST"], max_body_size=MOST_UPLOADED),
]
