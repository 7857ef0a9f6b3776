"""Frameworks that make a page of every error: the captured write is replayed all the same."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from loadtest.refapp.frameworks import DjangoReplicaRouter, watch_flask
from loadtest.refapp.regional import RegionalMiddleware
from loadtest.refapp.regional_policy import RegionalSettings
from loadtest.refapp.regional_wsgi import RegionalWsgiMiddleware

SECONDARY, PRIMARY = RegionalSettings("cdg", "syd"), RegionalSettings("cdg", "cdg")
REPLAY = "region=cdg;state=captured_write"


class ReadOnlyError(Exception):
    sqlstate = "25006"


def wsgi(application: Any, path: str, **headers: str) -> tuple[str, str | None, bytes]:
    """Return status, Fly-Replay and body of one GET."""
    told: dict[str, Any] = {}

    def start_response(status: str, found: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        told.update(status=status, replay={k.lower(): v for k, v in found}.get("fly-replay"))
        return lambda _: None

    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
        "SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(), "wsgi.multithread": False, "wsgi.multiprocess": False,
        "wsgi.run_once": False, **headers,
    }  # fmt: skip
    result = application(environ, start_response)
    body = b"".join(result)
    if hasattr(result, "close"):
        result.close()
    return told["status"][:3], told["replay"], body


def asgi(application: Any, path: str) -> tuple[str, str | None, bytes]:
    """Return the same of an ASGI app."""
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(messages, None) or await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "scheme": "http", "headers": [(b"host", b"x")], "client": ("127.0.0.1", 1),
            "server": ("x", 80),
        }  # fmt: skip
        await application(scope, receive, send)

    asyncio.run(run())
    headers = {k.lower(): v.decode() for k, v in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return str(sent[0]["status"]), headers.get(b"fly-replay"), body


def check(ask: Callable[..., tuple[str, str | None, bytes]], wrap: Callable[[Any], Any]) -> None:
    """A refused write is replayed, an ordinary error and an ordinary page are the framework's."""
    assert ask(wrap(SECONDARY), "/write") == ("409", REPLAY, b"")
    status, replay, _ = ask(wrap(PRIMARY), "/write")
    assert (status, replay) == ("500", None)
    status, replay, _ = ask(wrap(SECONDARY), "/fault")
    assert (status, replay) == ("500", None)
    assert ask(wrap(SECONDARY), "/") == ("200", None, b"hello")


def test_flask() -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: "hello", endpoint="page")

    @app.route("/write")  # type: ignore[untyped-decorator]
    def write() -> str:
        raise ReadOnlyError

    @app.route("/fault")  # type: ignore[untyped-decorator]
    def fault() -> str:
        raise ValueError("ours")

    watch_flask(app)
    check(wsgi, lambda settings: RegionalWsgiMiddleware(app.wsgi_app, settings))
    wrapped = RegionalWsgiMiddleware(app.wsgi_app, SECONDARY)
    status, replay, _ = wsgi(wrapped, "/write", HTTP_FLY_REPLAY_FAILED="timeout")
    assert (status, replay) == ("500", None), "it was given back: no second time"


@pytest.fixture
def django_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("django")
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    def write(_request: Any) -> Any:
        try:
            raise ReadOnlyError
        except ReadOnlyError as error:
            raise RuntimeError("as Django wraps it") from error

    def fault(_request: Any) -> Any:
        raise ValueError("ours")

    urls = ModuleType("shop_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("", lambda _request: HttpResponse("hello")),
        path("write", write),
        path("fault", fault),
    ]
    monkeypatch.setitem(sys.modules, "shop_urls", urls)
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF="shop_urls",
            MIDDLEWARE=["loadtest.refapp.frameworks.DjangoWatch"],
            LOGGING_CONFIG=None,
            DATABASES={},
        )
        import django

        django.setup()


@pytest.mark.usefixtures("django_urls")
def test_django_under_wsgi() -> None:
    from django.core.wsgi import get_wsgi_application

    app = get_wsgi_application()
    check(wsgi, lambda settings: RegionalWsgiMiddleware(app, settings))


@pytest.mark.usefixtures("django_urls")
def test_django_under_asgi() -> None:
    from django.core.asgi import get_asgi_application

    app = get_asgi_application()
    check(asgi, lambda settings: RegionalMiddleware(app, settings))


def test_a_replica_is_read_from_and_the_primary_written_to() -> None:
    router, at_home = DjangoReplicaRouter(SECONDARY), DjangoReplicaRouter(PRIMARY)
    assert (router.db_for_read(None), router.db_for_write(None)) == ("replica", "default")
    assert at_home.db_for_read(None) == "default"
    assert router.allow_migrate("default", "shop")
    assert not router.allow_migrate("replica", "shop")


def test_a_streaming_answer_that_writes_before_its_first_bytes_is_replayed_under_asgi() -> None:
    """Its head waits for the first bytes, as PEP 3333 asks of WSGI servers."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        raise ReadOnlyError

    assert asgi(RegionalMiddleware(app, SECONDARY), "/") == ("409", REPLAY, b"")


def test_a_streaming_answer_that_has_begun_goes_on() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    assert asgi(RegionalMiddleware(app, SECONDARY), "/") == ("200", None, b"ab")
