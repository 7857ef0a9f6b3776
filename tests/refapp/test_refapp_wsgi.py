"""The WSGI middleware, between two validators of PEP 3333."""

from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from loadtest.refapp.regional_policy import RegionalSettings
from loadtest.refapp.regional_wsgi import RegionalWsgiMiddleware

FAR = RegionalSettings("cdg", "syd")
NEAR = RegionalSettings("cdg", "cdg")
NOW = 1_700_000_000.0


class ReadOnlyError(Exception):
    sqlstate = "25006"


class Body:
    """A body that counts how often it is closed, and may fail on the way."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        self.closed += 1


def visit(
    app: Any, settings: RegionalSettings | None, method: str = "GET", **extra: str
) -> tuple[str, dict[str, str], bytes]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, **extra}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started.append((status, headers))
        return written.append

    wrapped = validator(RegionalWsgiMiddleware(validator(app), settings, lambda: NOW))
    result: Iterable[bytes] = wrapped(environ, start_response)
    try:
        body = b"".join(result)
    finally:
        result.close()  # type: ignore[attr-defined]
    (status, headers), *more = started
    assert not more
    return status, dict(headers), b"".join(written) + body


def answering(body: Body, status: str = "200 OK") -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Body:
        start_response(status, [("Content-Type", "text/plain")])
        return body

    return app


def never(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError("the app must not run")


def test_a_write_far_away_is_replayed_before_the_app_runs() -> None:
    status, headers, body = visit(never, FAR, "POST")
    assert (status, body) == ("409 Conflict", b"")
    assert headers["Fly-Replay"] == "region=cdg;state=http_method"
    assert headers["Fly-Region"] == "syd"


def test_a_read_within_the_window_is_replayed() -> None:
    _, headers, _ = visit(never, FAR, HTTP_COOKIE="a=b; fly-replay-threshold=1700000003")
    assert headers["Fly-Replay"] == "region=cdg;state=threshold"


def test_a_read_passes_whole_and_is_closed_once() -> None:
    body = Body(b"", b"one ", b"two")
    status, headers, content = visit(answering(body), FAR)
    assert (status, content, headers["Fly-Region"]) == ("200 OK", b"one two", "syd")
    assert body.closed == 1


def test_an_empty_body_passes() -> None:
    assert visit(answering(Body()), FAR)[0] == "200 OK"


@pytest.mark.parametrize(
    ("method", "source", "expected"),
    [
        ("POST", "", True),
        ("GET", "instance=i;region=syd;t=1;state=captured_write", True),
        ("GET", "instance=i;region=syd;t=1;state=threshold", False),
    ],
)
def test_the_primary_region_sets_the_cookie(method: str, source: str, expected: bool) -> None:
    extra = {"HTTP_FLY_REPLAY_SRC": source} if source else {}
    _, headers, _ = visit(answering(Body(b"ok")), NEAR, method, **extra)
    assert ("Set-Cookie" in headers) == expected


def test_a_write_captured_in_the_call_is_replayed() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ReadOnlyError

    assert visit(app, FAR)[1]["Fly-Replay"] == "region=cdg;state=captured_write"


def test_a_write_captured_in_the_body_is_replayed_and_the_body_closed() -> None:
    body = Body(b"", ReadOnlyError())
    status, headers, content = visit(answering(body), FAR)
    assert (status, content) == ("409 Conflict", b"")
    assert headers["Fly-Replay"] == "region=cdg;state=captured_write"
    assert body.closed == 1


def test_an_answer_that_has_begun_is_not_replaced() -> None:
    with pytest.raises(ReadOnlyError):
        visit(answering(Body(b"half", ReadOnlyError())), FAR)


def test_the_primary_region_never_replays_to_itself() -> None:
    with pytest.raises(ReadOnlyError):
        visit(answering(Body(ReadOnlyError())), NEAR)


def test_an_error_page_replaces_headers_not_yet_sent() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        try:
            raise ValueError
        except ValueError as error:
            info = (type(error), error, error.__traceback__)
            start_response("500 Error", [("Content-Type", "text/plain")], info)
        return [b"sorry"]

    status, headers, body = visit(app, FAR)
    assert (status, headers["Content-Type"], body) == ("500 Error", "text/plain", b"sorry")


def test_the_write_callable_works() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"written ")
        return [b"returned"]

    assert visit(app, FAR)[2] == b"written returned"


def test_an_upgrade_passes() -> None:
    cookie = "fly-replay-threshold=1700000003"
    status, _, _ = visit(answering(Body(b"ok")), FAR, HTTP_UPGRADE="websocket", HTTP_COOKIE=cookie)
    assert status == "200 OK"


def test_without_regions_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLY_REGION", raising=False)
    assert visit(answering(Body(b"ok")), None, "POST")[0] == "200 OK"
