"""
Connections that stay open: a WebSocket that reads and writes, and a feed of events.

A proxy can run a request elsewhere as long as nobody has answered it.  A message over an open
WebSocket is no request, so a write in a secondary region meets the read-only database there, and
the app has to say so.  The way out is to have the handshake replayed: ``/kitchen?at=primary``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from loadtest.refapp import pages, queries
from loadtest.refapp.context import AppContext, context_of, ledger_of
from loadtest.refapp.ledger import Ledger
from loadtest.refapp.regional_policy import (
    READ_ONLY_SQLSTATE,
    ReplayAnswer,
    is_read_only_error,
)

_STATE = "long-connection"
_BEAT_S = 15.0


async def serve_kitchen(socket: WebSocket) -> None:
    """
    Answer messages: ``{"read": ID}`` tells a recipe's title, ``{"cook": ID}`` counts it as cooked.

    Each answer names the region that gave it; a refused write has the database's ``error``.
    """
    context = socket.app.state.context
    assert isinstance(context, AppContext)
    regional = context.settings.regional
    wanted = socket.query_params.get("at") == "primary"
    if wanted and regional is not None and regional.secondary:
        replay = ReplayAnswer(regional.primary_region, _STATE)
        answer = Response(status_code=409, headers={"fly-replay": replay.header})
        await socket.send_denial_response(answer)
        return
    await socket.accept()
    try:
        while True:
            told = await _answer(context, await socket.receive_text())
            await socket.send_text(json.dumps({"region": context.settings.region, **told}))
    except WebSocketDisconnect:
        return


async def _answer(context: AppContext, message: str) -> dict[str, object]:
    try:
        ((verb, number),) = json.loads(message).items()
        values = {"id": int(number)}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {"error": 'expected {"read": ID} or {"cook": ID}'}
    async with context.database.session(Ledger()) as session:
        if verb == "read":
            found = await session.fetch(pages.RecipeInCity, queries.ONE_RECIPE, values)
            return {"title": found[0].title} if found else {"error": "there is no such recipe"}
        try:
            counted = await session.fetch(queries.Cooked, queries.COOK, values)
        except Exception as error:
            if not is_read_only_error(error):
                raise
            return {"error": READ_ONLY_SQLSTATE, "why": str(error).splitlines()[0]}
        return {"cooked": counted[0].cooked} if counted else {"error": "there is no such recipe"}


async def send_orders(request: Request) -> Response:
    """Send a recipe as the first event, one round trip; then a sign of life from time to time."""
    context = context_of(request)

    async def events() -> AsyncIterator[str]:
        async with context.database.session(ledger_of(request)) as session:
            found = await session.fetch(pages.RecipeInCity, queries.ONE_RECIPE, {"id": 1})
        yield "".join(f"event: order\ndata: {json.dumps(recipe.title)}\n\n" for recipe in found)
        while True:
            await asyncio.sleep(_BEAT_S)
            yield ": \n\n"

    headers = {"cache-control": "no-cache"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


KITCHEN_ROUTES: list[BaseRoute] = [
    WebSocketRoute("/kitchen", serve_kitchen),
    Route("/orders", send_orders),
]
