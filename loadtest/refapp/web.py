"""The reference app's routes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import psycopg
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from loadtest.refapp import pages, queries
from loadtest.refapp.cache import Cache, CacheAwayError
from loadtest.refapp.catalogue import slugify
from loadtest.refapp.context import AppContext, clean, context_of, explain, ledger_of, paced
from loadtest.refapp.database import Database
from loadtest.refapp.jobs import JOB_ROUTES
from loadtest.refapp.kitchen import KITCHEN_ROUTES
from loadtest.refapp.ledger import LEDGER
from loadtest.refapp.lite.database import FarLite, LiteDatabase
from loadtest.refapp.patterns import MOST_UPLOADED, PATTERN_ROUTES
from loadtest.refapp.peer_pages import PEER_ROUTES
from loadtest.refapp.positions import AsyncDatabasePosition
from loadtest.refapp.regional import AsgiApp, RegionalMiddleware
from loadtest.refapp.server_timing import ServerTimingHeader
from loadtest.refapp.settings import Settings
from loadtest.refapp.timer import PreciseTimer

_MAX_BODY = 65_536
_PEER_CONNECTIONS = 4
_MAX_SEARCH = 100
_TEXT_LIMITS = {"title": 120, "summary": 500, "ingredients": 2_000}
_MAX_MINUTES = 1_440


def create_app(settings: Settings) -> AsgiApp:
    """Return the app, as one of the deployments' settings make it."""
    context = _make_context(settings)
    position = None
    if settings.read_your_writes == "lsn":
        position = CountedPosition(context.database.value)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        context.timer = PreciseTimer()
        for server in context.servers:
            server.open()
        try:
            yield
        finally:
            for chore in context.chores:
                chore.cancel()
            for server in context.servers:
                await server.close()
            context.timer.close()

    app = Starlette(
        routes=[
            Route("/", paced(start)),
            Route("/recipes", paced(list_recipes), methods=["GET"]),
            Route("/recipes", paced(add_recipe), methods=["POST"], max_body_size=_MAX_BODY),
            Route("/recipes/{id:int}", paced(show_recipe)),
            Route("/recipes/{id:int}/cooked", paced(cook_recipe)),
            *PATTERN_ROUTES,
            *JOB_ROUTES,
            *KITCHEN_ROUTES,
            *PEER_ROUTES,
            Route("/healthz", healthz),
        ],
        middleware=(
            [Middleware(RegionalMiddleware, settings=settings.regional, position=position)]
            if settings.regional
            else []
        ),
        exception_handlers={
            HTTPException: explain,
            psycopg.OperationalError: _database_away,
            PoolTimeout: _database_away,
            ConnectionError: _database_away,
            EOFError: _database_away,
            CacheAwayError: _cache_away,
        },
        lifespan=lifespan,
        max_body_size=MOST_UPLOADED,
    )
    app.state.context = context
    return ServerTimingHeader(app, settings.region)


class CountedPosition(AsyncDatabasePosition):
    """A position whose wait is part of what its request spent in the database."""

    async def reached(self, lsn: int) -> bool:
        """Wait as usual, and count it as one round trip."""
        begun_ns, ledger = time.monotonic_ns(), LEDGER.get()
        try:
            return await super().reached(lsn)
        finally:
            ledger.database_ns += time.monotonic_ns() - begun_ns
            ledger.round_trips += 1


def _make_context(settings: Settings) -> AppContext:
    """Return what the handlers share, nothing of it open yet."""
    regional, size = settings.regional, settings.pool_size
    elsewhere = settings.primary_pool if regional is not None and regional.secondary else 0

    def database(url: str, connections: int) -> Database:
        return Database(
            url,
            size=connections,
            name=f"recipes-{settings.region}",
            new_share=settings.new_connection_share,
            new_url=settings.new_connection_url if url == settings.primary_url else url,
        )

    lite, primary = settings.lite, None
    if elsewhere:
        primary = FarLite(lite) if lite else database(settings.primary_url, elsewhere)
    return AppContext(
        settings,
        LiteDatabase(lite) if lite else database(settings.read_url, size),
        primary=primary,
        cache=Cache(settings.cache_url, size) if settings.cache_url else None,
        queue=Cache(settings.queue_url, size) if settings.queue_url else None,
        peer_caches={
            region: Cache(url, min(size, _PEER_CONNECTIONS))
            for region, url in settings.peer_caches.items()
        },
    )


async def start(request: Request) -> Response:
    """List the cities: one round trip."""
    context = context_of(request)
    async with context.database.session(ledger_of(request)) as session:
        cities = await session.fetch(pages.City, queries.ALL_CITIES)
    return HTMLResponse(pages.start_page(context.settings.region, cities))


async def list_recipes(request: Request) -> Response:
    """
    List a city's recipes: two round trips, the second needing the first one's answer.

    Without a city, the visitor's is the one nearest to the edge that took the request.
    """
    context = context_of(request)
    search = clean(request.query_params.get("q", ""))[:_MAX_SEARCH]
    wanted = slugify(request.query_params.get("city", ""))
    edge = request.headers.get("fly-region", context.settings.region)
    async with context.database.session(ledger_of(request)) as session:
        found = await session.fetch(
            pages.City, queries.ONE_CITY, {"slug": wanted, "region": clean(edge)}
        )
        if not found and not wanted:
            return RedirectResponse("/", 303)  # an edge without a city of its own
        if not found:
            raise HTTPException(404, f"No city is called {wanted!r} here.")
        recipes = await session.fetch(
            pages.Recipe,
            queries.RECIPES_OF_A_CITY,
            {"city_id": found[0].id, "pattern": queries.contains(search)},
        )
    return HTMLResponse(pages.city_page(context.settings.region, found[0], search, recipes))


async def show_recipe(request: Request) -> Response:
    """Show one recipe: one round trip."""
    context = context_of(request)
    async with context.database.session(ledger_of(request)) as session:
        found = await session.fetch(
            pages.RecipeInCity, queries.ONE_RECIPE, {"id": request.path_params["id"]}
        )
    if not found:
        raise HTTPException(404, "There is no such recipe.")
    return HTMLResponse(pages.recipe_page(context.settings.region, found[0]))


async def cook_recipe(request: Request) -> Response:
    """
    Count that a recipe was cooked: one round trip, and a write.

    A link in a newsletter can only be a GET, so this is the write that no method gives away.
    """
    context = context_of(request)
    async with context.database.session(ledger_of(request)) as session:
        found = await session.fetch(
            queries.RecipeId, queries.COUNT_COOKED, {"id": request.path_params["id"]}
        )
    if not found:
        raise HTTPException(404, "There is no such recipe.")
    return RedirectResponse(f"/recipes/{found[0].id}", 303)


async def add_recipe(request: Request) -> Response:
    """Add a recipe, from a form or from JSON: one round trip."""
    context = context_of(request)
    wants_json = _is_json(request)
    fields, faults = _recipe_from(await _fields(request))
    if faults:
        return _refusal(request, faults)
    async with context.database.session(ledger_of(request)) as session:
        added = await session.fetch(queries.RecipeId, queries.ADD_RECIPE, fields)
    if not added:
        return _refusal(request, [f"city: no city is called {fields['city']!r} here"])
    location = f"/recipes/{added[0].id}"
    if wants_json:
        return JSONResponse({"id": added[0].id}, 201, {"location": location})
    return RedirectResponse(location, 303)


async def healthz(request: Request) -> Response:
    """Tell whether the app can serve pages: its connections are open."""
    if context_of(request).ready:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "waiting for its servers"}, 503)


def _recipe_from(given: dict[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return a recipe's columns from what was sent, and everything that is wrong with it."""
    faults: list[str] = []
    fields: dict[str, object] = {"city": slugify(str(given.get("city", "")))}
    if not fields["city"]:
        faults.append("city: is missing")
    for name, limit in _TEXT_LIMITS.items():
        text = clean(str(given.get(name, ""))).strip()
        if len(text) > limit:
            faults.append(f"{name}: has {len(text)} characters, at most {limit} are allowed")
        fields[name] = text
    if not fields["title"]:
        faults.append("title: is missing")
    minutes = str(given.get("minutes", 30)).strip()
    if minutes.isascii() and minutes.isdigit() and len(minutes) < 6:
        fields["minutes"] = int(minutes)
    if not 1 <= int(str(fields.get("minutes", 0))) <= _MAX_MINUTES:
        faults.append(f"minutes: is {minutes[:20]!r}, expected a number from 1 to {_MAX_MINUTES}")
    return fields, faults


async def _fields(request: Request) -> dict[str, object]:
    """Return the fields of a form or of a JSON object."""
    body = await request.body()
    try:
        if not _is_json(request):
            return dict(parse_qsl(body.decode(), max_num_fields=50))
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    return content


def _is_json(request: Request) -> bool:
    """Tell whether the request's body is JSON."""
    return request.headers.get("content-type", "").split(";")[0].strip() == "application/json"


def _refusal(request: Request, faults: list[str]) -> Response:
    """Return what is wrong with a recipe, in the form it was sent in."""
    if _is_json(request):
        return JSONResponse({"errors": faults}, 422)
    region = context_of(request).settings.region
    return HTMLResponse(pages.message_page(region, "This recipe cannot be added", faults), 422)


async def _cache_away(request: Request, _error: Exception) -> Response:
    """Return that a cache does not answer which the page cannot do without."""
    return _closed(request, "The cache does not answer.")


async def _database_away(request: Request, _error: Exception) -> Response:
    """Return that the database does not answer."""
    return _closed(request, "The database does not answer.")


def _closed(request: Request, why: str) -> Response:
    region = context_of(request).settings.region
    page = pages.message_page(region, "Closed for a moment", [why])
    return HTMLResponse(page, 503, {"retry-after": "1"})
