"""Bodies that are read as they come, and requests of one user that are under way at once."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import brotli
import gevent
import pytest
from client_servers import OK, ScriptServer, answering, client_of, read_request
from http2_server import Http2Server, http2_server

from loadtest.engine.client.bodies import MOST_UNREAD
from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.codings import StreamDecoder
from loadtest.engine.client.streamed import StreamedResponse
from loadtest.engine.hub.instruments import Instruments
from loadtest.errors import LoadtestError

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def streamed(client: TTFBClient, path: str, **options: Any) -> StreamedResponse:
    answer = client.get(path, stream=True, **options)
    assert isinstance(answer, StreamedResponse)
    return answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Steps:
    """A server that answers in steps, each when it is told to."""

    def __init__(self, *steps: bytes) -> None:
        self._steps = steps
        self._next = threading.Semaphore(0)

    def go_on(self) -> None:
        self._next.release()

    def __call__(self, connection: socket.socket, _: int) -> None:
        read_request(connection)
        for step in self._steps:
            connection.sendall(step)
            self._next.acquire(timeout=10)


def endless(connection: socket.socket, _: int) -> None:
    read_request(connection)
    connection.sendall(CHUNKED)
    while True:
        connection.sendall(chunk(b"x" * 10_000))


def test_a_body_is_read_as_it_comes_and_its_connection_used_again() -> None:
    serve = Steps(CHUNKED + chunk(b"one\ntw"), chunk(b"o\r\nthree") + b"0\r\n\r\n")

    def handler(connection: socket.socket, index: int) -> None:
        serve(connection, index)
        answering(OK)(connection, index)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        answer = streamed(client, "/feed")
        assert (answer.status_code, samples) == (200, [])
        lines = answer.iter_lines()
        assert next(lines) == b"one"
        serve.go_on()
        assert list(lines) == [b"two", b"three"]
        serve.go_on()
        assert client.get("/").text == "ok"
    assert [(s.error, s.reused) for s in samples] == [("", False), ("", True)]
    assert samples[0].bytes == len(CHUNKED + chunk(b"one\ntw") + chunk(b"o\r\nthree")) + 5
    assert samples[0].last_ns > samples[0].first_ns


def test_who_reads_slowly_holds_up_the_server_not_the_memory() -> None:
    """What the kernels do not hold waits at the server."""
    with ScriptServer(endless) as server, client_of(server.url) as (client, samples):
        with streamed(client, "/") as answer:
            with gevent.Timeout(10):
                while answer.sample.bytes <= MOST_UNREAD:
                    gevent.sleep(0.002)
            assert answer.sample.bytes < 2 * MOST_UNREAD
            pieces = answer.iter_content(30_000)
            assert {len(next(pieces)) for _ in range(100)} == {30_000}
        assert streamed(client, "/").ok
    assert [s.error for s in samples] == ["", ""]
    assert [s.reused for s in samples] == [False, False]


def test_an_endless_body_has_a_limit() -> None:
    with ScriptServer(endless) as server, client_of(server.url, body_bytes=200_000) as (client, s):
        read = sum(map(len, streamed(client, "/").iter_content()))
    assert 100_000 < read < 600_000
    assert (s[0].error, s[0].detail) == ("too-large", "body of more than 200000 bytes")


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ((CHUNKED + chunk(b"one"), b"zz\r\n"), "protocol"),
        ((CHUNKED + chunk(b"one"),), "closed-early"),
        ((HEAD + b"Content-Length: 9\r\n\r\none",), "closed-early"),
        ((HEAD + b"\r\none",), ""),
    ],
)
def test_a_body_that_breaks_off_ends_and_its_row_says_why(
    steps: tuple[bytes, ...], error: str
) -> None:
    serve = Steps(*steps)
    for _ in steps:
        serve.go_on()
    with ScriptServer(serve) as server, client_of(server.url) as (client, samples):
        answer = streamed(client, "/")
        body = b"".join(answer.iter_content())
        assert body in ({b"one", b""} if error == "protocol" else {b"one"})
    assert [sample.error for sample in samples] == [error]


def test_a_piece_that_does_not_come_is_a_time_out() -> None:
    serve = Steps(CHUNKED + chunk(b"one"))
    with ScriptServer(serve) as server, client_of(server.url, read_s=0.1) as (client, samples):
        assert streamed(client, "/").content == b"one"
        serve.go_on()
    assert samples[0].error == "read-timeout"


def test_an_answer_that_curl_reads_is_read_as_it_comes() -> None:
    """Also where the parser gives up in the middle of it."""
    odd = CHUNKED + chunk(b"one") + b'3 ; "\r\ntwo\r\n0\r\n\r\n'
    with ScriptServer(answering(odd)) as server, client_of(server.url) as (client, _):
        assert streamed(client, "/").content == b"onetwo"


def test_redirects_verdicts_and_what_is_left_open() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /feed\r\nContent-Length: 0\r\n\r\n"
    with (
        ScriptServer(answering(moved, HEAD + b"Content-Length: 4\r\n\r\nbody")) as server,
        client_of(server.url) as (client, samples),
    ):
        answer = streamed(client, "/", allow_redirects=True)
        assert (answer.content, len(answer.history)) == (b"body", 1)
        with streamed(client, "/", catch_response=True) as judged:
            judged.failure("not this")
        streamed(client, "/")
        client.begin(0)
        assert len(samples) == 4
    assert [s.error for s in samples] == ["", "", "check", ""]
    assert [s.reused for s in samples] == [False, True, True, True]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0) + bytes(7)),
        ("br", brotli.compress(b"onetwo")),
        ("br, gzip", gzip.compress(brotli.compress(b"onetwo"), mtime=0)),
        ("unheard-of", b"onetwo"),
    ],
)
def test_codings_are_undone_piece_by_piece(coding: str, packed: bytes) -> None:
    decoder = StreamDecoder(coding, "/")
    assert b"".join(decoder.decode(packed[at : at + 1]) for at in range(len(packed))) == b"onetwo"
    with pytest.raises(LoadtestError, match="5 codings"):
        StreamDecoder("gzip," * 5, "/")
    if coding != "unheard-of":
        with pytest.raises(LoadtestError, match="is broken"):
            StreamDecoder(coding, "/").decode(b"this is none of those" * 9)


# HTTP/2.


@pytest.fixture
def server2() -> Iterator[Http2Server]:
    with http2_server() as server:
        yield server


def at_once(*asked: Callable[[], Any]) -> list[Any]:
    """Let several requests of one user be under way at once."""
    jobs = [gevent.spawn(one) for one in asked]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    return [job.value for job in jobs]


def test_requests_at_once_share_their_users_connection(server2: Http2Server) -> None:
    """The first of them opens it, and the others wait for what is left of that."""
    with client_of(server2.url, http="2") as (client, samples):
        paths = ["/", "/early", "/big/300000", "/reset", *["/"] * 20]
        found = at_once(*(lambda path=path: client.get(path) for path in paths))
        posted = at_once(*(lambda: client.post("/", data=b"y" * 200_000) for _ in range(3)))
        assert client.get("/").text == "hello"
    assert server2.connections == 1
    assert [len(answer.content) for answer in found] == [5, 4, 300_000, 0, *[5] * 20]
    assert [answer.text for answer in posted] == ["hello"] * 3
    assert [s.error for s in samples].count("closed-early") == 1
    assert sum(s.reused for s in samples) == 4
    opened = [s for s in samples if not s.reused]
    assert all(s.connect_ns > 0 for s in opened)
    joined = sorted(opened, key=lambda sample: sample.start_ns)[1:]
    assert len({s.start_ns + s.dns_ns + s.connect_ns for s in joined}) == 1


def test_a_connection_that_ends_takes_its_requests_with_it_and_they_are_sent_anew(
    server2: Http2Server,
) -> None:
    with client_of(server2.url, http="2") as (client, samples):
        client.get("/")
        found = at_once(
            *(lambda path=path: client.get(path) for path in ("/", "/hang", "/", "/slam"))
        )
        assert client.get("/").text == "hello"
    assert [answer.error for answer in found] == ["", "closed-early", "", "closed-early"]
    assert [s.attempts for s in samples if s.error] == [2, 2]


def test_a_stream_that_is_given_up_leaves_others_alone(server2: Http2Server) -> None:
    """A time-out of one, the killing of another, and a body that nobody reads on."""
    with client_of(server2.url, http="2") as (client, samples):
        client.get("/")
        killed = gevent.spawn(client.get, "/hang")
        late = gevent.spawn(client.get, "/hang", timeout=0.05)
        with streamed(client, "/big/3000000") as big:
            assert len(next(big.iter_content(100_000))) == 100_000
            killed.kill()
            assert client.get("/").text == "hello"
        assert late.get().error == "read-timeout"
    assert server2.connections == 1
    assert sorted(s.error for s in samples) == ["", "", "", "cancelled", "read-timeout"]


def test_a_request_that_is_killed_takes_a_connection_of_its_own_with_it(
    server2: Http2Server,
) -> None:
    with client_of(server2.url, http="2") as (client, samples):
        job = gevent.spawn(client.get, "/hang", new_connection=True)
        with gevent.Timeout(10):
            while not server2.seen:
                gevent.sleep(0.002)
        job.kill()
        assert not Instruments.here().open_connections
    assert samples[0].error == "cancelled"


def test_a_body_of_http2_is_read_as_it_comes(server2: Http2Server) -> None:
    with client_of(server2.url, http="2") as (client, samples):
        answer = streamed(client, "/big/3000000")
        sizes = [len(piece) for piece in answer.iter_content(1_000_000)]
        assert streamed(client, "/early").content == b"body"
    assert sizes == [1_000_000] * 3
    assert [(s.error, s.protocol, s.reused) for s in samples] == [("", "2", False), ("", "2", True)]
    assert all(before.last_ns <= after.first_ns for before, after in pairwise(samples))


def test_more_requests_than_a_server_takes_at_once_open_another_connection() -> None:
    with http2_server(most=2) as server, client_of(server.url, http="2") as (client, samples):
        client.get("/")
        at_once(*(lambda: client.get("/big/200000") for _ in range(5)))
        assert client.get("/").ok
        assert len(client._place.idle) == 1
    assert [s.error for s in samples] == [""] * 7
    assert 2 <= server.connections <= 4
