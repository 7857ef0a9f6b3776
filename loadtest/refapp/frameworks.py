"""
Adapters for frameworks that turn a view's error into a page before the regional middleware sees it.

Each does one thing: it tells the middleware of the error (`note_error`).  The middleware decides.
Nothing of a framework is imported here; who uses an adapter has the framework.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from importlib import import_module
from typing import Any

from loadtest.refapp.regional_policy import RegionalSettings, note_error


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
