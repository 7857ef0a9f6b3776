"""What the client sends, what it makes of the answer, and which moments it stamps."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import brotli
import gevent
import pytest
from client_servers import OK, ScriptServer, answering, client_of, read_request

from loadtest.engine.client.response import ResponseError
from loadtest.errors import LoadtestError
from loadtest.records.statuses import refuses

pytestmark = pytest.mark.contract


def test_a_warm_request_has_wait_and_nothing_of_connecting() -> None:
    """The first request pays for the connection, the second reuses it."""
    with ScriptServer(answering(OK)) as server, client_of(server.url) as (client, samples):
        assert client.get("/recipes?q=1").text == "ok"
        assert client.get("/recipes?q=2", name="again").ok
    cold, warm = samples
    assert (cold.name, warm.name) == ("/recipes", "again")
    assert (cold.reused, warm.reused) == (False, True)
    assert cold.connect_ns > 0
    assert (warm.dns_ns, warm.connect_ns, warm.tls_ns) == (0, 0, 0)
    assert warm.wait_ns > 0
    assert warm.send_ns > 0
    assert warm.status == 200
    assert warm.bytes == len(OK)
    assert warm.address == "127.0.0.1"
    assert (warm.attempts, warm.error) == (1, "")
    assert cold.cold_ttfb_ns == sum(
        (cold.dns_ns, cold.connect_ns, cold.tls_ns, cold.send_ns, cold.wait_ns)
    )


def test_phases_add_up_to_the_time_from_start_to_last_byte() -> None:
    """Nothing falls between two phases: what they leave out is at most the clocks' disagreement."""
    with ScriptServer(answering(OK)) as server, client_of(server.url) as (client, samples):
        for _ in range(20):
            client.get("/")
    for s in samples:
        total = s.dns_ns + s.connect_ns + s.tls_ns + s.send_ns + s.wait_ns + s.receive_ns
        assert abs(s.last_ns - s.start_ns - total) < 20_000


@pytest.mark.parametrize("tls", [False])
def test_first_and_last_byte_are_the_servers_own_moments(tls: bool) -> None:
    """A drip of one header byte, the rest of the head, then the body, each 30 ms apart."""
    moments: list[int] = []

    def drip(connection: socket.socket, _: int) -> None:
        read_request(connection)
        for piece in (OK[:1], OK[1:-2], OK[-2:]):
            gevent_free_sleep(0.03)
            moments.append(time.monotonic_ns())
            connection.sendall(piece)

    with ScriptServer(drip) as server, client_of(server.url) as (client, samples):
        client.get("/")
    (sample,) = samples
    # a stamp cannot precede the write, and the server's stamp is taken before it
    assert moments[0] - 20_000 <= sample.first_ns <= sample.first_user_ns
    assert sample.first_ns < moments[1]
    assert moments[2] - 20_000 <= sample.last_ns
    assert sample.receive_ns >= 55_000_000
    assert sample.wait_ns < sample.receive_ns


def gevent_free_sleep(seconds: float) -> None:
    """Let real time pass in a server's own thread."""
    threading.Event().wait(seconds)


def test_a_busy_process_does_not_bend_the_first_byte() -> None:
    """Another greenlet hogs the loop: the kernel's stamp stays, that of user space is late."""
    hog_ns = 60_000_000

    def handler(connection: socket.socket, _: int) -> None:
        for _ in range(2):
            read_request(connection)
            connection.sendall(OK)

    def hog() -> None:
        end = time.monotonic_ns() + hog_ns
        while time.monotonic_ns() < end:
            time.sleep(0.001)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        client.get("/")
        gevent.spawn(hog)
        client.get("/")
    late = samples[1]
    if not late.kernel:
        pytest.skip("no kernel stamps on this platform")
    assert late.wait_user_ns >= hog_ns
    assert late.wait_ns < hog_ns / 2
    assert late.clock == "kernel"


def test_interim_responses_do_not_count_as_the_first_byte() -> None:
    """103 now, 200 after 40 ms: the wait is that of the final response."""

    def handler(connection: socket.socket, _: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        gevent_free_sleep(0.04)
        connection.sendall(OK)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        assert client.get("/").status_code == 200
    assert samples[0].wait_ns >= 39_000_000
    assert samples[0].receive_ns < 39_000_000


def test_bodies_of_every_kind_on_one_connection() -> None:
    """HEAD, 204, 304, chunked with trailers and sized answers leave the connection in step."""
    answers = [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        ),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 100 Continue\r\n\r\n" + OK),
    ]
    handler = answering(*[answer for _, answer in answers])
    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        texts = [client.request(method.decode(), "/").text for method, _ in answers]
        assert server.accepted == 1
    assert texts == ["", "", "", "hello", "", "ok"]
    assert [s.bytes for s in samples] == [len(answer) for _, answer in answers]
    assert [s.error for s in samples] == [""] * 6


def test_a_body_until_close_is_whole_and_ends_the_connection() -> None:
    """No length, no chunks: the closing is the end, and the next request connects anew."""
    handler = answering(b"HTTP/1.1 200 OK\r\n\r\nall of it", then_close=True)
    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        assert client.get("/").text == "all of it"
        assert client.get("/").text == "all of it"
        assert server.accepted == 2
    assert [(s.error, s.reused) for s in samples] == [("", False), ("", False)]


def test_requests_go_out_as_asked() -> None:
    """Method, path, query, headers, form and JSON bodies, cookies, length."""
    seen: list[bytes] = []

    def echo(connection: socket.socket, _: int) -> None:
        while True:
            seen.append(read_request(connection))
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: t=1; Path=/\r\nContent-Length: 0\r\n\r\n"
            )

    with ScriptServer(echo) as server, client_of(server.url, headers={"X-All": "yes"}) as (c, _):
        c.get("/a b/é?x=1", params={"q": "süß", "n": [1, 2]}, headers={"user-agent": "me"})
        c.post("/form", data={"a": "1 2"})
        c.post("/json", json={"a": [1, None]})
        c.put("/text", data="é")
        c.patch("/none")
        c.delete("/x")
        c.options("/x")
        host = f"127.0.0.1:{server.port}".encode()
    get, form, as_json, text, none, delete, options = seen
    assert get.startswith(
        b"GET /a%20b/%C3%A9?x=1&q=s%C3%BC%C3%9F&n=1&n=2 HTTP/1.1\r\nHost: " + host
    )
    assert b"\r\nUser-Agent: me\r\n" in get
    assert b"\r\nX-All: yes\r\n" in get
    assert b"Content-Length" not in get
    assert b"Cookie" not in get
    assert form.endswith(b"\r\n\r\na=1+2")
    assert b"Content-Type: application/x-www-form-urlencoded" in form
    assert b"\r\nCookie: t=1\r\n" in form
    assert as_json.endswith(b'\r\n\r\n{"a":[1,null]}')
    assert b"Content-Length: 14\r\n" in as_json
    assert text.endswith("\r\n\r\né".encode())
    assert b"Content-Length: 0\r\n" in none
    assert delete.startswith(b"DELETE /x ")
    assert options.startswith(b"OPTIONS /x ")


def test_headers_of_a_target_stay_with_it() -> None:
    """They may be secret: another host that a scenario names does not get them."""
    seen: list[bytes] = []

    def answer(connection: socket.socket, _: int) -> None:
        while True:
            seen.append(read_request(connection))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with (
        ScriptServer(answer) as server,
        ScriptServer(answer) as other,
        client_of(server.url, headers={"X-Token": "s3cret"}) as (client, _),
    ):
        for url in ("/", f"{other.url}/", f"{server.url}/"):
            client.get(url)
    assert [b"X-Token: s3cret" in request for request in seen] == [True, False, True]


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"A": "b\r\nX: y"}},
        {"headers": {"A\n": "b"}},
        {"headers": {"A": "€"}},
        {"headers": {"Content-Length": "5"}},
        {"data": "x", "json": {}},
    ],
)
def test_a_request_that_cannot_be_framed_is_a_mistake_of_the_scenario(
    options: dict[str, Any],
) -> None:
    """It raises and sends nothing."""
    with ScriptServer(answering(OK)) as server, client_of(server.url) as (client, samples):
        with pytest.raises(ValueError, match=r"header|json"):
            client.request("POST", "/", **options)
        with pytest.raises(ValueError, match="path"):
            client.get("recipes")
        with pytest.raises(ValueError, match="method"):
            client.request("GE T", "/")
        assert server.accepted == 0
    assert samples == []


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda b: zlib.compress(b, wbits=-15)),
        ("br", brotli.compress),
        ("identity", bytes),
        ("gzip, br", lambda b: brotli.compress(gzip.compress(b))),
    ],
)
def test_codings_are_undone_when_asked(coding: str, encode: Callable[[bytes], bytes]) -> None:
    """The sample counts the bytes on the wire."""
    body = encode(b'{"a": "' + b"x" * 5000 + b'"}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    with ScriptServer(answering(head.encode() + body)) as server, client_of(server.url) as (c, s):
        assert len(c.get("/").json()["a"]) == 5000
    assert s[0].bytes == len(head) + len(body)


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"a", mtime=0) + gzip.compress(b"bc", mtime=0),
        gzip.compress(b"abc", mtime=0) + bytes(512),
    ],
    ids=["two members", "padding"],
)
def test_gzip_may_have_members_and_padding(body: bytes) -> None:
    """RFC 1952, 2.2."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    with ScriptServer(answering(head.encode() + body)) as server, client_of(server.url) as (c, _):
        assert c.get("/").content == b"abc"


def test_a_coding_that_nobody_asked_for_is_left_as_it_came() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: none\r\nContent-Length: 3\r\n\r\nabc"
    with ScriptServer(answering(head)) as server, client_of(server.url) as (client, _):
        assert client.get("/").content == b"abc"


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "hex", "undefined", "x"])
def test_a_charset_that_is_no_text_is_never_used(charset: str) -> None:
    """Some of Python's codecs take seconds for a page: the whole worker would stand still."""
    body = b"a" * 200_000
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset={charset}\r\n"
    answer = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with ScriptServer(answering(answer)) as server, client_of(server.url) as (client, _):
        assert client.get("/").text == body.decode()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_a_broken_coding_is_told_only_to_who_looks(coding: str) -> None:
    """The request was answered; reading its text is what fails."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 3\r\n\r\nabc"
    with ScriptServer(answering(head.encode())) as server, client_of(server.url) as (client, s):
        response = client.get("/")
        assert response.ok
        with pytest.raises(LoadtestError, match=coding):
            response.text  # noqa: B018 - the property raises
    assert s[0].error == ""


def test_a_response_tells_what_it_is() -> None:
    """Headers in any case, repeated ones, charset, times, JSON."""
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin-1\r\nX-A: 1\r\nx-a: 2\r\n"
        b'Fly-Region: SYD\r\nServer-Timing: app;dur=1.5, db;dur=2.25;desc="2"\r\n'
        b"Content-Length: 1\r\n\r\n\xe9"
    )
    with ScriptServer(answering(answer)) as server, client_of(server.url) as (client, samples):
        response = client.get("/x")
        assert response.text == "é"
        assert response.headers["content-TYPE"] == "text/plain; charset=latin-1"
        assert response.headers["X-A"] == "1, 2"
        assert "x-b" not in response.headers
        assert response.headers.get("nope") is None
        assert next(iter(response.headers)) == "Content-Type"
        assert response.url == f"{server.url}/x"
        assert set(response.phases_ms) >= {"queue", "wait", "receive"}
        assert 0 < response.ttfb_ms <= response.elapsed_ms
        assert bool(response)
        response.raise_for_status()
        with pytest.raises(ValueError, match=r"Expecting|decode"):
            response.json()
    (sample,) = samples
    assert sample.served_by == "syd"
    assert sample.server_timing == (1500, 2250, 2, False)


def test_a_body_beyond_what_is_kept_is_counted_only() -> None:
    """Memory stays bounded; whoever asks for the text learns which limit to raise."""
    answer = b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    with (
        ScriptServer(answering(answer)) as server,
        client_of(server.url, keep_bytes=100_000) as (client, samples),
    ):
        response = client.get("/")
        assert response.headers["X"] == "1"
        with pytest.raises(LoadtestError, match="keep_bytes"):
            response.content  # noqa: B018 - the property raises
    assert samples[0].bytes == len(answer)


def test_redirects_are_not_followed_and_no_success() -> None:
    """A redirect is not followed: the next hop would be another request."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with ScriptServer(answering(answer)) as server, client_of(server.url) as (client, samples):
        response = client.get("/")
        assert (response.status_code, response.ok) == (302, False)
        assert response.headers["location"] == "/elsewhere"
    assert len(samples) == 1


def test_the_scenario_may_judge_an_answer() -> None:
    """catch_response: failure, success, status, an exception, a block never entered."""
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    handler = answering(OK, missing, missing, OK, OK, missing, OK)
    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        with client.get("/", catch_response=True) as r:
            assert samples == []
            r.failure("wrong dish")
        with client.get("/", catch_response=True) as r:
            r.success()
        with client.get("/", catch_response=True):
            pass
        with client.get("/", catch_response=True):
            raise ResponseError("no soup")
        with pytest.raises(AssertionError), client.get("/", catch_response=True):
            raise AssertionError("too salty")
        client.get("/", catch_response=True)
        client.get("/")
    assert [(s.error, s.detail) for s in samples] == [
        ("check", "wrong dish"),
        ("", ""),
        ("status", "HTTP 404"),
        ("check", "no soup"),
        ("check", "too salty"),
        ("status", "HTTP 404"),
        ("", ""),
    ]


def test_failing_statuses_are_samples_until_asked_to_be_exceptions() -> None:
    """Like everything else that goes wrong."""
    answer = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    with ScriptServer(answering(answer)) as server, client_of(server.url) as (client, samples):
        response = client.get("/")
        assert not response.ok
        with pytest.raises(ResponseError, match="503"):
            response.raise_for_status()
    assert samples[0].error == "status"


def test_a_new_connection_is_a_first_visitor_and_leaves_the_warm_one_alone() -> None:
    """By request or by arrival; only the first request of an arrival is cold."""
    with ScriptServer(answering(OK)) as server, client_of(server.url) as (client, samples):
        client.get("/")
        client.get("/", new_connection=True)
        client.get("/")
        client.begin(time.monotonic_ns() - 5_000_000, "arrival", new_connection=True)
        client.get("/")
        client.get("/")
        assert server.accepted == 3
    assert [s.reused for s in samples] == [False, False, True, False, True]
    assert [s.context for s in samples] == [None, None, None, "arrival", "arrival"]
    assert samples[3].queue_ns >= 5_000_000
    assert samples[4].queue_ns == 0


def test_targets_keep_connections_and_cookies_apart() -> None:
    """Even on one host: deployments under comparison must not meet through a cookie."""
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: who=a; Path=/\r\nContent-Length: 0\r\n\r\n"
    seen: list[bytes] = []

    def other(connection: socket.socket, _: int) -> None:
        while True:
            seen.append(read_request(connection))
            connection.sendall(OK)

    with ScriptServer(answering(cookie)) as a, ScriptServer(other) as b:
        to_a = SimpleNamespace(url=a.url, host="", ca_file="", http="auto")
        to_b = SimpleNamespace(url=b.url, host="shop.example:8", ca_file="", http="auto")
        with client_of(a.url) as (client, _):
            client.get("/")
            client.use(to_b)
            client.get("/")
            client.use(to_a)
            assert client.cookies.get("who") == "a"
            client.get("/")
            client.use(to_b)
            assert client.target_url == b.url
            client.get("/")
            client.get(f"{b.url}/whole/url?x=1")
            client.get(f"{a.url}/")
        assert (a.accepted, b.accepted) == (2, 1)
    assert all(b"\r\nHost: shop.example:8\r\n" in request for request in seen)
    assert not any(b"Cookie" in request for request in seen)
    assert seen[-1].startswith(b"GET /whole/url?x=1 ")


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_ipv6_and_names(host: str) -> None:
    """A literal needs no look-up; a name is looked up once and its addresses tried in order."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = ScriptServer(answering(OK), "::1" if ":" in host else "127.0.0.1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    url = server.url if ":" in host else server.url.replace("127.0.0.1", "localhost")
    with server, client_of(url) as (client, samples):
        assert client.get("/").ok
        assert client.get("/", new_connection=True).ok
    assert samples[0].address == ("::1" if ":" in host else "127.0.0.1")
    assert samples[1].dns_ns < 5_000_000


def test_users_who_share_a_client_get_a_connection_each() -> None:
    """Concurrent requests of one client do not wait for each other."""
    gate = threading.Barrier(3)

    def handler(connection: socket.socket, _: int) -> None:
        while True:
            read_request(connection)
            gate.wait(10)
            connection.sendall(OK)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        jobs = [gevent.spawn(client.get, "/") for _ in range(3)]
        gevent.joinall(jobs, timeout=10, raise_error=True)
        assert server.accepted == 3
    assert [s.error for s in samples] == [""] * 3


def test_keep_alive_holds_beyond_a_thousand_open_files() -> None:
    """select() cannot look at descriptors from 1024 on; the client must not depend on it."""
    hold = [socket.socket() for _ in range(1100)]
    try:
        if max(s.fileno() for s in hold) < 1024:
            pytest.skip("descriptors are limited here")
        with ScriptServer(answering(OK)) as server, client_of(server.url) as (client, samples):
            for _ in range(20):
                client.get("/")
            assert server.accepted == 1
        assert sum(s.reused for s in samples) == 19
    finally:
        for s in hold:
            s.close()


def test_json_bodies_are_json() -> None:
    """The whole way there and back."""

    def mirror(connection: socket.socket, _: int) -> None:
        body = read_request(connection).partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with ScriptServer(mirror) as server, client_of(server.url) as (client, _):
        assert client.post("/", json={"a": "é"}).json() == json.loads('{"a": "é"}')


@pytest.mark.parametrize(
    ("method", "status", "expect", "error"),
    [
        ("GET", 200, (), ""),
        ("GET", 301, (), "status"),
        ("HEAD", 302, (), "status"),
        ("GET", 304, (), ""),
        ("POST", 303, (), ""),
        ("GET", 404, (), "status"),
        ("GET", 301, (200, 301), ""),
        ("GET", 204, (200,), "status"),
        ("GET", 404, (404,), ""),
    ],
)
def test_a_status_is_a_success_where_it_is_what_was_asked_for(
    method: str, status: int, expect: tuple[int, ...], error: str
) -> None:

    refused = refuses(frozenset(expect), method, status)
    assert ("status" if refused else "") == error
