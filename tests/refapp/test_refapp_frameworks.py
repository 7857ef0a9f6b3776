"""Frameworks that make a page of every error: the captured write is replayed all the same."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loadtest.refapp.frameworks import (
    DjangoReplicaRouter,
    watch_bottle,
    watch_falcon,
    watch_flask,
    watch_litestar,
    watch_quart,
)
from loadtest.refapp.regional import RegionalMiddleware
from loadtest.refapp.regional_policy import RegionalSettings
from loadtest.refapp.regional_wsgi import RegionalWsgiMiddleware

SECONDARY, PRIMARY = RegionalSettings("cdg", "syd"), RegionalSettings("cdg", "cdg")
REPLAY = "region=cdg;state=captured_write"


class ReadOnlyError(Exception):
    sqlstate = "25006"


def wsgi(
    application: Any, path: str, *, method: str = "GET", **headers: str
) -> tuple[str, str | None, bytes]:
    """Return status, Fly-Replay and body of one request."""
    told: dict[str, Any] = {}

    def start_response(status: str, found: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        told.update(status=status, replay={k.lower(): v for k, v in found}.get("fly-replay"))
        return lambda _: None

    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
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


def asgi(application: Any, path: str, *, method: str = "GET") -> tuple[str, str | None, bytes]:
    """Return the same of an ASGI app."""
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
        answered = asyncio.Event()

        async def receive() -> Any:
            if (message := next(messages, None)) is None:
                await answered.wait()
            return message or {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "scheme": "http", "headers": [(b"host", b"x")], "client": ("127.0.0.1", 1),
            "server": ("x", 80),
        }  # fmt: skip
        await application(scope, receive, send)

    asyncio.run(run())
    headers = {k.lower(): v.decode() for k, v in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return str(sent[0]["status"]), headers.get(b"fly-replay"), body


Ask = Callable[..., tuple[str, str | None, bytes]]


def check(ask: Ask, wrap: Callable[[Any], Any]) -> None:
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


def hello() -> str:
    return "hello"


def refused() -> str:
    raise ReadOnlyError


def broken() -> str:
    raise ValueError("ours")


PAGES: dict[str, Callable[[], str]] = {"/": hello, "/write": refused, "/fault": broken}


def awaited(page: Callable[[], str]) -> Callable[[], Coroutine[Any, Any, str]]:
    """Return a page as a coroutine function of the same name."""

    async def answer() -> str:
        return page()

    answer.__name__ = page.__name__
    return answer


def test_quart() -> None:
    app = pytest.importorskip("quart").Quart("shop")
    for path, page in PAGES.items():
        app.add_url_rule(path, view_func=awaited(page), endpoint=page.__name__)
    watch_quart(app)
    check(asgi, lambda settings: RegionalMiddleware(app.asgi_app, settings))


def test_bottle() -> None:
    app = pytest.importorskip("bottle").Bottle()
    app.route("/", callback=hello)
    watch_bottle(app)
    for path in ("/write", "/fault"):
        app.route(path, callback=PAGES[path])
    check(wsgi, lambda settings: RegionalWsgiMiddleware(app, settings))


class Resource:
    """A page as Falcon has it."""

    def __init__(self, page: Callable[[], str]) -> None:
        self._page = page

    def on_get(self, _request: Any, response: Any) -> None:
        response.text = self._page()


class AsyncResource(Resource):
    """The same under ASGI."""

    async def on_get(self, request: Any, response: Any) -> None:  # type: ignore[override]
        super().on_get(request, response)


def test_falcon_under_wsgi() -> None:
    app = pytest.importorskip("falcon").App()
    for path, page in PAGES.items():
        app.add_route(path, Resource(page))
    watch_falcon(app)
    check(wsgi, lambda settings: RegionalWsgiMiddleware(app, settings))


def test_falcon_under_asgi() -> None:
    app = pytest.importorskip("falcon.asgi").App()
    for path, page in PAGES.items():
        app.add_route(path, AsyncResource(page))
    watch_falcon(app)
    check(asgi, lambda settings: RegionalMiddleware(app, settings))


def test_litestar() -> None:
    litestar = pytest.importorskip("litestar")
    app = litestar.Litestar(
        [
            litestar.get(path, media_type="text/plain", sync_to_thread=False)(page)
            for path, page in PAGES.items()
        ],
        after_exception=[watch_litestar],
    )
    check(asgi, lambda settings: RegionalMiddleware(app, settings))


@pytest.fixture
def django_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("django")
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import clear_url_caches, path

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
            REST_FRAMEWORK={
                "DEFAULT_AUTHENTICATION_CLASSES": [],
                "DEFAULT_PERMISSION_CLASSES": [],
                "UNAUTHENTICATED_USER": None,
            },
        )
        import django

        django.setup()
    clear_url_caches()


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


@pytest.mark.usefixtures("django_urls")
@pytest.mark.parametrize("server", [wsgi, asgi])
def test_django_rest_framework(server: Ask) -> None:
    decorators = pytest.importorskip("rest_framework.decorators")
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import clear_url_caches, path

    def view(page: Callable[[], str]) -> Any:
        return decorators.api_view(["GET"])(lambda _request: HttpResponse(page()))

    sys.modules["shop_urls"].urlpatterns = [  # type: ignore[attr-defined]
        path(address.removeprefix("/"), view(page)) for address, page in PAGES.items()
    ]
    clear_url_caches()
    if server is wsgi:
        app = get_wsgi_application()
        check(server, lambda settings: RegionalWsgiMiddleware(app, settings))
    else:
        other = get_asgi_application()
        check(server, lambda settings: RegionalMiddleware(other, settings))


DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES_OF_FRAMEWORKS = sorted((DOCS / "middleware").glob("*.md"))
EXAMPLES = {
    page.stem: example
    for page in (DOCS / "middleware.md", *PAGES_OF_FRAMEWORKS)
    if (example := page.read_text("utf-8").partition("```python\n")[2].partition("```")[0])
}


def test_every_framework_has_a_page_with_an_example() -> None:
    """Django's is a project's settings, Express's is run with the other apps in Node."""
    alone = {"middleware", "flask", "bottle", "falcon", "starlette", "quart", "litestar"}
    assert set(EXAMPLES) == alone
    assert {page.stem for page in PAGES_OF_FRAMEWORKS} == alone - {"middleware"} | {
        "django",
        "express",
    }
    overview = (DOCS / "middleware.md").read_text("utf-8")
    assert all(f"](middleware/{page.name})" in overview for page in PAGES_OF_FRAMEWORKS)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_an_example_of_a_page_answers_reads_and_replays_writes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIMARY_REGION", SECONDARY.primary_region)
    monkeypatch.setenv("FLY_REGION", SECONDARY.current_region)
    shop = ModuleType("shop_of_the_page")
    monkeypatch.setitem(sys.modules, shop.__name__, shop)
    names = vars(shop)
    exec(compile(EXAMPLES[name], name, "exec", dont_inherit=True), names)
    app = names["application"] if "application" in names else names["app"]
    server = asgi if {"Mount", "Middleware", "Quart", "Litestar"} & set(names) else wsgi
    assert server(app, "/", method="POST") == ("409", "region=cdg;state=http_method", b"")
    if "page" in names or "Page" in names:
        status, replay, body = server(app, "/")
        assert (status, replay, body.strip(b'"')) == ("200", None, b"hello")


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
