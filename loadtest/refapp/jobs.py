"""
Jobs: work that no page waits for, put into a queue by a page and done by a worker elsewhere.

A job is a line of JSON in a list of a Redis-compatible server: the recipe to count, and where to
say so when it is done.  The server has to keep what it has (``noeviction``): where its memory is
full it refuses a job, and the page says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import signal
import threading
from collections.abc import Awaitable
from typing import Any

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from valkey import Valkey
from valkey.exceptions import ValkeyError

from loadtest.refapp import pages, queries
from loadtest.refapp.cache import Cache, CacheAwayError, QueueFullError
from loadtest.refapp.context import AppContext, clean, context_of, ledger_of, paced
from loadtest.refapp.database import connection_string
from loadtest.refapp.ledger import Ledger
from loadtest.refapp.settings import Settings

_LIST = "jobs"
_MOST_JOBS = 50
_MOST_PADDING = 1_000_000
_DONE_WITHIN_S = 3
_POLL_S = 1
_ANSWER_S = 60
_logger = logging.getLogger(__name__)


async def enqueue(request: Request) -> Response:
    """
    Put ``?jobs=N`` jobs into a queue, one after the other.

    ``queue=far`` is the list that QUEUE_URL names, ``queue=local`` this process, and ``queue=done``
    the list again with the answer held back until the last job is done.  ``list=NAME`` is another
    list there, of which no worker takes any.
    """
    context, ledger = context_of(request), ledger_of(request)
    number, kind = _number(request, "jobs", 1, _MOST_JOBS), request.query_params.get("queue", "far")
    recipe = _number(request, "id", 1, 1_000_000)
    if kind == "local":
        for _ in range(number):
            do_later(context, recipe)
        return _page(request, f"{number} jobs begun here")
    reply = f"done:{secrets.token_hex(8)}" if kind == "done" else ""
    padding = "x" * _number(request, "padding", 0, _MOST_PADDING)
    where = _list_of(request)
    try:
        for left in range(number, 0, -1):
            told = reply if left == 1 else ""
            await put_job(context, ledger, recipe, reply=told, padding=padding, where=where)
        if reply and await _queue(context).ask(ledger, "BLPOP", reply, _DONE_WITHIN_S) is None:
            raise HTTPException(504, "The jobs were not done in time.")
    except (QueueFullError, CacheAwayError) as error:
        full = isinstance(error, QueueFullError)
        why = "The queue is full." if full else "The queue does not answer."
        page = pages.message_page(context.settings.region, "Not now", [why, "Nothing was lost."])
        return HTMLResponse(page, 503, {"retry-after": "1"})
    return _page(request, f"{number} jobs in the queue")


async def empty_list(request: Request) -> Response:
    """Take all jobs of ``?list=NAME`` out of the queue and tell how many: ``Jobs: 7``."""
    context, ledger = context_of(request), ledger_of(request)
    where = _list_of(request)
    number = int(await _queue(context).ask(ledger, "LLEN", where))
    await _queue(context).ask(ledger, "DEL", where)
    page = _page(request, f"{number} jobs taken")
    page.headers["jobs"] = str(number)
    return page


async def put_job(
    context: AppContext,
    ledger: Ledger,
    recipe: int,
    *,
    reply: str = "",
    padding: str = "",
    where: str = _LIST,
) -> None:
    """
    Put a job into the queue: one round trip.

    Args:
        context: What the handlers share.
        ledger: What the request has spent.
        recipe: Recipe to count.
        reply: List that a worker puts something into when the job is done; empty for none.
        padding: Makes the job as large as somebody wants it.
        where: The list that it is put into; workers take from the usual one.

    Raises:
        HTTPException: This deployment has no queue.
        QueueFullError: The queue has no memory for it.
        CacheAwayError: The queue does not answer.
    """
    job = json.dumps({"recipe": recipe, "reply": reply, "padding": padding})
    await _queue(context).ask(ledger, "RPUSH", where, job)


def _queue(context: AppContext) -> Cache:
    if context.queue is None:
        raise HTTPException(404, "This deployment has no queue: QUEUE_URL is not set.")
    return context.queue


def work(settings: Settings) -> int:
    """
    Do jobs until a signal; return the exit code.

    Connections that break are opened anew: a worker outlives its queue's and database's restarts.
    """
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    url = connection_string(settings.primary_url, f"jobs-{settings.region}")
    queue: Any = Valkey.from_url(settings.queue_url, protocol=2)
    while not ending.is_set():
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while not ending.is_set():
                    taken = queue.blpop(_LIST, _POLL_S)
                    if taken is not None:
                        _do(json.loads(taken[1]), connection, queue)
        except (ValkeyError, OSError, psycopg.OperationalError) as error:
            _logger.warning("the queue or the database does not answer: %s", error)
            ending.wait(_POLL_S)
    return 0


def _do(job: dict[str, object], connection: psycopg.Connection[Any], queue: Any) -> None:
    connection.execute(queries.COUNT_COOKED, {"id": job["recipe"]})
    if job["reply"]:
        queue.rpush(job["reply"], 1)
        queue.expire(job["reply"], _ANSWER_S)


def do_later(context: AppContext, recipe: int) -> None:
    """Begin a job in this process: it is lost if the process ends, and only here is it fast."""

    async def chore() -> None:
        async with (context.primary or context.database).session(Ledger()) as session:
            await session.fetch(queries.Cooked, queries.COOK, {"id": recipe})

    task = asyncio.create_task(_survive(chore()))
    context.chores.add(task)
    task.add_done_callback(context.chores.discard)


async def _survive(chore: Awaitable[None]) -> None:
    try:
        await chore
    except psycopg.Error as error:
        _logger.warning("a job was lost: %s", error)


def _list_of(request: Request) -> str:
    """Return the list that the address names: one of its own for whoever fills the queue."""
    name = clean(request.query_params.get("list", ""))[:32]
    return f"{_LIST}:{name}" if name else _LIST


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) <= most):
        raise HTTPException(400, f"{name} is {text[:20]!r}: expected a number up to {most}.")
    return int(text)


def _page(request: Request, title: str) -> HTMLResponse:
    return HTMLResponse(pages.message_page(context_of(request).settings.region, title, []))


JOB_ROUTES = [
    Route("/enqueue", paced(enqueue)),
    Route("/enqueued", paced(empty_list)),
]
