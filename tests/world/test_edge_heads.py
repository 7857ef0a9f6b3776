"""What an edge makes of heads, bodies and routes: pure functions, no sockets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.fly.replay import Replay
from loadtest.world.edge.body import RequestBody
from loadtest.world.edge.http import (
    AnswerHead,
    Caller,
    Headers,
    RequestHead,
    answer_framing,
    answer_headers,
    answer_lines,
    error_answer,
    request_id,
    request_lines,
)
from loadtest.world.edge.route import EdgeError, fallback_route, first_route, replay_route
from loadtest.world.edge.types import AppSettings, Backend

CALLER = Caller(b"10.0.0.9", b"10.0.0.1", 443, True, b"syd")


def request(headers: Headers, version: str = "1.1", method: bytes = b"GET") -> RequestHead:
    return RequestHead(method, b"/", version, headers, keep_alive=version == "1.1")


def lines(head: RequestHead, added: Headers | None = None, *, close: bool = False) -> list[bytes]:
    text = request_lines(
        head, CALLER, identity=b"ID-syd", start_us=7, added=added or [], close=close
    )
    assert text.endswith(b"\r\n\r\n")
    return text[:-4].split(b"\r\n")


def test_a_request_id_is_a_ulid_that_sorts_by_time_and_names_the_edge() -> None:
    assert request_id(0, 0, "cdg") == b"00000000000000000000000000-cdg"
    assert request_id((1 << 48) - 1, (1 << 80) - 1, "cdg") == b"7ZZZZZZZZZZZZZZZZZZZZZZZZZ-cdg"
    assert request_id(5, 1 << 79, "cdg") < request_id(6, 0, "cdg")


def test_the_request_is_told_of_tls_and_keeps_what_is_the_clients() -> None:
    got = lines(request([(b"Host", b"x"), (b"Via", b"1.0 a"), (b"Cookie", b"a=b")], "1.0"))
    assert {b"Host: x", b"Cookie: a=b", b"Via: 1.0 a, 1.0 fly.io"} <= set(got)
    assert {b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: on", b"Fly-Region: syd"} <= set(got)
    assert {b"X-Request-Start: t=7", b"Fly-Request-Id: ID-syd"} <= set(got)


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"Keep-Alive", b"TE", b"Upgrade", b"Fly-Replay-Src", b"FLY-CLIENT-IP"],
)
def test_what_a_client_may_not_say_is_taken_away(name: bytes) -> None:
    got = b"\n".join(lines(request([(b"Host", b"x"), (name, b"forged")])))
    assert b"forged" not in got


def test_headers_of_a_hop_replace_the_clients() -> None:
    got = lines(request([(b"Host", b"x"), (b"X-A", b"1")]), [(b"x-a", b"2")], close=True)
    assert b"x-a: 2" in got
    assert b"X-A: 1" not in got
    assert got[-1] == b"Connection: close"


@pytest.mark.parametrize(
    ("method", "status", "headers", "version", "expected"),
    [
        (b"GET", 200, [(b"Content-Length", b"1")], "1.1", (True, False, False)),
        (b"GET", 200, [], "1.1", (True, True, False)),
        (b"GET", 200, [], "1.0", (True, False, True)),
        (b"GET", 200, [(b"Transfer-Encoding", b"chunked")], "1.1", (True, True, False)),
        (b"HEAD", 200, [], "1.1", (False, False, False)),
        (b"GET", 204, [], "1.1", (False, False, False)),
        (b"GET", 304, [(b"Content-Length", b"9")], "1.1", (False, False, False)),
    ],
)
def test_framing(
    method: bytes, status: int, headers: Headers, version: str, expected: tuple[bool, bool, bool]
) -> None:
    framing = answer_framing(request([], version, method), AnswerHead(status, b"", headers))
    assert (framing.body, framing.chunked, framing.close) == expected


def test_an_answer_carries_the_edges_headers_once() -> None:
    answer = AnswerHead(200, b"OK", [(b"Server", b"uvicorn"), (b"Fly-Region", b"cdg")])
    head = request([])
    text = answer_lines(head, answer, answer_framing(head, answer), b"ID-syd")
    assert text.lower().count(b"server:") == 1
    assert b"uvicorn" not in text
    assert b"Fly-Region: cdg\r\n" in text
    assert text.count(b"egion") == 1
    assert b"transfer-encoding: chunked\r\n" in text


def test_the_edge_tells_the_region_of_a_machine_that_does_not() -> None:
    answer = AnswerHead(200, b"OK", [(b"Content-Length", b"2")], b"syd")
    assert (b"fly-region", b"syd") in answer_headers(answer, b"ID-cdg", sized=True)
    answer.headers.append((b"FLY-REGION", b"ord"))
    told = answer_headers(answer, b"", sized=True)
    assert [value for name, value in told if name.lower() == b"fly-region"] == [b"ord"]


def test_an_error_of_the_edge_names_its_code() -> None:
    answer, body = error_answer(502, "PA02", "too often")
    assert body == b"502 Bad Gateway: PA02: too often\n"
    assert (b"content-length", b"%d" % len(body)) in answer.headers
    assert (b"fly-error-code", b"PA02") in answer.headers


class Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(0, 8), st.booleans())
def test_every_machine_gets_the_whole_body_whenever_it_is_asked(
    parts: list[bytes], moment: int, chunked: bool
) -> None:
    body = RequestBody(10_000, chunked=chunked, hold=lambda _held: None)
    first, second = Sink(), Sink()
    for number, part in enumerate(parts):
        if number == moment:
            body.send_to(first, b"HEAD")
        body.feed(part)
    body.finish()
    body.detach()
    body.send_to(second, b"HEAD")
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part for part in parts)
    whole = b"HEAD" + framed + (b"0\r\n\r\n" if chunked else b"")
    assert second.data == whole
    assert first.data in (b"", whole)


def test_a_body_over_the_limit_waits_for_a_machine_and_is_not_kept() -> None:
    held: list[bool] = []
    body = RequestBody(5, chunked=False, hold=held.append)
    body.feed(b"abc")
    body.feed(b"def")
    assert (held, body.replayable) == ([True], False)
    sink = Sink()
    body.send_to(sink, b"")
    body.feed(b"g")
    assert (held, sink.data) == ([True, False], b"abcdefg")


@pytest.mark.parametrize(("length", "replayable"), [(None, True), (5, True), (6, False)])
def test_a_body_that_is_going_to_be_too_long_is_so_from_its_first_byte(
    length: int | None, replayable: bool
) -> None:
    body = RequestBody(5, chunked=False, hold=lambda _held: None, length=length)
    sink = Sink()
    body.send_to(sink, b"")
    body.feed(b"ab")
    assert (body.replayable, sink.data) == (replayable, b"ab")
    assert bool(body._kept) is replayable


NEAR, MID, FAR = (
    Backend("m1", "syd", "h", 1),
    Backend("m2", "cdg", "h", 2),
    Backend("m3", "ord", "h", 3),
)


class World:
    def app_settings(self, app: str) -> AppSettings | None:
        return AppSettings() if app in ("app", "empty") else None

    def candidates(self, app: str, edge_region: str) -> Sequence[Backend]:
        return [NEAR, MID, FAR] if app == "app" else []

    def backend(self, app: str, machine_id: str, edge_region: str) -> Backend | None:
        return {item.machine_id: item for item in self.candidates(app, edge_region)}.get(machine_id)


@pytest.mark.parametrize(
    ("replay", "ids"),
    [
        (Replay(), "m1 m2 m3"),
        (Replay(regions=("ord", "cdg")), "m3 m2"),
        (Replay(regions=("ord",), anywhere=True), "m3 m1 m2"),
        (Replay(regions=("na", "apac")), "m3 m1"),
        (Replay(elsewhere=True), "m2 m3"),
        (Replay(prefer_instance="m3"), "m3 m1 m2"),
        (Replay(prefer_instance="m3", regions=("cdg",)), "m3 m2"),
        (Replay(instance="m2", regions=("syd",)), "m2"),
    ],
)
def test_the_order_of_machines(replay: Replay, ids: str) -> None:
    route = replay_route(World(), "app", "syd", replay, NEAR)
    assert [item.machine_id for item in route.backends] == ids.split()


def test_a_preferred_machine_that_is_gone_is_named_to_the_other() -> None:
    route = replay_route(World(), "app", "syd", Replay(prefer_instance="m9"), NEAR)
    assert route.headers == [(b"fly-preferred-instance-unavailable", b"m9")]
    route = first_route(World(), "app", "syd", [(b"Fly-Prefer-Instance-Id", b"m9")])
    assert route.headers == [(b"fly-preferred-instance-unavailable", b"m9")]


def test_a_request_given_back_goes_to_its_issuer_or_also_to_others() -> None:
    only = fallback_route(World(), "app", "syd", Replay(fallback="force_self"), MID)
    assert only.backends == [MID]
    also = fallback_route(World(), "app", "syd", Replay(fallback="prefer_self"), MID)
    assert also.backends == [MID, NEAR, FAR]


@pytest.mark.parametrize(
    ("app", "replay", "status", "code"),
    [
        ("app", Replay(app="none"), 502, "PA04"),
        ("app", Replay(app="empty"), 503, "PR01"),
        ("app", Replay(regions=("gru",)), 503, "PR01"),
        ("app", Replay(instance="m9"), 502, "PR02"),
    ],
)
def test_no_way(app: str, replay: Replay, status: int, code: str) -> None:
    with pytest.raises(EdgeError) as caught:
        replay_route(World(), app, "syd", replay, NEAR)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.sentence
