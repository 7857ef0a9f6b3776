"""
Adapters for frameworks that turn a view's error into a page before the regional middleware sees it.

Each does one thing: it tells the middleware of the error (`note_error`).  The middleware decides.
Nothing of a framework is imported here; who uses an adapter has the framework.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, MutableMapping
from functools import wraps
from importlib import import_module
from traceback import format_exception
from typing import Any

from loadtest.refapp.regional_policy import RegionalSettings, note_error

_logger = logging.getLogger(__name__)


def watch_flask(app: Any) -> None:
    """
    Let the middleware see the errors of a Flask app.

        app.wsgi_app = RegionalWsgiMiddleware(app.wsgi_app)
        watch_flask(app)

    Args:
        app: The ``flask.Flask`` object.
    """
    flask = import_module("flask")

    def tell(_sender: Any, exception: BaseException, **_: Any) -> None:
        note_error(flask.request.environ, exception)

    flask.got_request_exception.connect(tell, app, weak=False)


def watch_quart(app: Any) -> None:
    """
    Let the middleware see the errors of a Quart app.

        app.asgi_app = RegionalMiddleware(app.asgi_app)
        watch_quart(app)

    Args:
        app: The ``quart.Quart`` object.
    """
    quart = import_module("quart")

    async def tell(_sender: Any, exception: BaseException, **_: Any) -> None:
        note_error(quart.request.scope, exception)

    quart.got_request_exception.connect(tell, app, weak=False)


def watch_bottle(app: Any) -> None:
    """
    Let the middleware see the errors of a Bottle app.

        application = RegionalWsgiMiddleware(app)
        watch_bottle(app)

    Args:
        app: The ``bottle.Bottle`` object; of routes that it has and of those that it gets.
    """
    bottle = import_module("bottle")

    def telling(callback: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(callback)
        def told(*arguments: Any, **named: Any) -> Any:
            try:
                return callback(*arguments, **named)
            except Exception as error:
                note_error(bottle.request.environ, error)
                raise

        return told

    app.install(telling)


def watch_falcon(app: Any) -> None:
    """
    Let the middleware see the errors of a Falcon app, ``falcon.App`` or ``falcon.asgi.App``.

        application = RegionalWsgiMiddleware(app)  # or RegionalMiddleware, ASGI
        watch_falcon(app)

    It takes the place of Falcon's own handler of ``Exception`` and answers as that one does.  A
    handler of your own calls `note_error` with ``request.env``, under ASGI ``request.scope``.

    Args:
        app: The Falcon app.
    """
    falcon = import_module("falcon")

    def tell(request: Any, _response: Any, error: Exception, _parameters: Any) -> None:
        note_error(request.env, error)
        request.log_error("".join(format_exception(error)))
        raise falcon.HTTPInternalServerError from error

    async def tell_scope(
        request: Any, _response: Any, error: Exception, _parameters: Any, **_socket: Any
    ) -> None:
        note_error(request.scope, error)
        _logger.error("unhandled error of the app", exc_info=error)
        raise falcon.HTTPInternalServerError from error

    asynchronous = inspect.iscoroutinefunction(type(app).__call__)
    app.add_error_handler(Exception, tell_scope if asynchronous else tell)


def watch_litestar(error: Exception, scope: MutableMapping[str, Any]) -> None:
    """
    Let the middleware see the errors of a Litestar app.

        application = RegionalMiddleware(Litestar(..., after_exception=[watch_litestar]))

    Args:
        error: What the handler raised.
        scope: The request's ASGI scope.
    """
    note_error(scope, error)


class DjangoWatch:
    """
    Django middleware that lets the regional one see the errors of views, Django REST ones too.

        MIDDLEWARE = ["loadtest.refapp.frameworks.DjangoWatch", ...]
        application = RegionalWsgiMiddleware(get_wsgi_application())  # or RegionalMiddleware, ASGI

    Args:
        get_response: What Django gives to every middleware.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> None:
        """Tell of a view's error; Django goes on to make its page."""
        note_error(_request_of(request), exception)


class DjangoReplicaRouter:
    """
    Django database router: reads from ``replica`` outside the primary region.

        DATABASE_ROUTERS = ["loadtest.refapp.frameworks.DjangoReplicaRouter"]
        DATABASES = {"default": primary, "replica": replica}

    Writes go to ``default``.  Where that is the replica itself in a secondary region, a write is
    refused there and replayed, and no router is needed.

    Args:
        settings: Where this process runs; None to read PRIMARY_REGION and FLY_REGION.
    """

    def __init__(self, settings: RegionalSettings | None = None) -> None:
        found = settings or RegionalSettings.from_environ(os.environ)
        self._reads = "replica" if found is not None and found.secondary else "default"

    def db_for_read(self, _model: Any, **_hints: Any) -> str:
        """Return the database that is read from."""
        return self._reads

    def db_for_write(self, _model: Any, **_hints: Any) -> str:
        """Return the database that is written to."""
        return "default"

    def allow_relation(self, _one: Any, _other: Any, **_hints: Any) -> bool:
        """Both hold the same rows."""
        return True

    def allow_migrate(self, db: str, _app_label: str, **_hints: Any) -> bool:
        """A replica gets its schema with its data."""
        return db == "default"


def _request_of(request: Any) -> MutableMapping[str, Any]:
    """Return what the outer middleware gave to Django: ASGI's scope, or WSGI's environ."""
    scope = getattr(request, "scope", None)
    found: MutableMapping[str, Any] = request.environ if scope is None else scope
    return found
