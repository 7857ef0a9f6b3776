"""Redirects: each hop is a row, secrets stay with their host, bodies go where they should."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from client_servers import OK, ScriptServer, client_of, read_request

from loadtest.engine.client.redirects import MOST_REDIRECTS

pytestmark = pytest.mark.contract


def leading(*answers: tuple[int, str], seen: list[bytes] | None = None) -> Any:
    """A server that answers with a status and a Location each time, then OK."""
    left = list(answers)

    def handler(connection: Any, _: int) -> None:
        while True:
            request = read_request(connection)
            if seen is not None:
                seen.append(request)
            if not left:
                connection.sendall(OK)
                continue
            status, where = left.pop(0)
            head = f"HTTP/1.1 {status} X\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())

    return handler


def test_each_hop_is_a_row_and_the_first_one_is_the_sample() -> None:
    handler = leading((302, "/b?x=1"), (301, "c"))
    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        client.begin(1)
        answer = client.get("/a", allow_redirects=True)
        assert (answer.status_code, answer.url) == (200, f"{server.url}/c")
        assert [hop.status_code for hop in answer.history] == [302, 301]
    assert [s.name for s in samples] == ["/a", "/a (redirected)", "/a (redirected)"]
    assert [s.error for s in samples] == ["", "", ""]
    assert [bool(s.queue_ns) for s in samples] == [True, False, False]


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (301, "PUT", "PUT"), (302, "PUT", "GET"), (303, "PUT", "GET"),
     (307, "POST", "POST"), (308, "POST", "POST")],
)  # fmt: skip
def test_method_and_body_go_on_as_the_status_says(status: int, method: str, then: str) -> None:
    seen: list[bytes] = []
    handler = leading((status, "/b"), seen=seen)
    with ScriptServer(handler) as server, client_of(server.url) as (client, _):
        client.request(method, "/a", data={"a": 1}, allow_redirects=True)
    assert seen[1].startswith(f"{then} /b ".encode())
    kept = [word in seen[1] for word in (b"Content-Length: 3", b"Content-Type", b"\r\n\r\na=1")]
    assert kept == [then == method] * 3


def test_secrets_go_to_no_other_host() -> None:
    seen: list[bytes] = []
    with ScriptServer(leading(seen=seen)) as other:
        handler = leading((307, f"{other.url}/x"), (307, "/home"), seen=seen)
        with (
            ScriptServer(handler) as server,
            client_of(server.url, headers={"X-Key": "k"}) as (client, _),
        ):
            secret: dict[str, Any] = {"auth": ("a", "b"), "cookies": {"c": "1"}}
            client.post("/a", data="body", allow_redirects=True, **secret)
            client.post("/a", data="body", allow_redirects=True, **secret)
    carried = [[word in request for word in (b"Basic", b"c=1", b"X-Key")] for request in seen]
    assert carried == [[True] * 3, [False] * 3, [True] * 3, [True] * 3]
    assert all(request.endswith(b"body") for request in seen)


@pytest.mark.parametrize(
    "where",
    ["http://[bad/", "http://h:99999/", "http://h:x/", "mailto:a@b.c", "ftp://h/x"],
)  # fmt: skip
def test_a_redirect_that_leads_nowhere_is_the_servers_fault(where: str) -> None:
    """A row that failed and says so; the scenario goes on."""
    with ScriptServer(leading((302, where))) as server, client_of(server.url) as (client, samples):
        assert client.get("/a", allow_redirects=True).status_code == 302
        assert client.get("/b").ok
    assert [(s.name, s.error) for s in samples] == [("/a", "check"), ("/b", "")]
    assert samples[0].detail.startswith(f"a redirect to {where!r}, which leads nowhere: ")


def test_a_place_is_read_as_browsers_read_it() -> None:
    """The first of several, in UTF-8 or in what the bytes are, with a user and a password."""
    seen: list[bytes] = []

    def handler(connection: Any, _: int) -> None:
        seen.append(read_request(connection))
        own = f"http://me:pw@127.0.0.1:{server.port}/c".encode()
        for where in (b"/\xc3\xbc", b"/\xfc\r\nLocation: /other", own):
            head = b"HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % where
            connection.sendall(head)
            seen.append(read_request(connection))
        connection.sendall(OK)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        answer = client.get(f"http://a:b@127.0.0.1:{server.port}?x", allow_redirects=True)
        assert answer.url == f"{server.url}/c"
    lines = [request.split(b" HTTP", 1)[0] for request in seen]
    assert lines == [b"GET /?x", b"GET /%C3%BC", b"GET /%FC", b"GET /c"]
    said = [request.split(b"Basic ")[1].split(b"\r")[0] for request in seen]
    assert said == [b"YTpi"] * 3 + [b"bWU6cHc="]
    assert {s.name for s in samples} == {"/", "/ (redirected)"}


def test_a_chain_without_end_is_a_failure() -> None:
    handler = leading(*[(302, "/")] * 99)
    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        client.get("/", allow_redirects=True)
    assert len(samples) == MOST_REDIRECTS + 1
    assert (samples[-1].error, samples[-1].detail) == ("check", "more than 30 redirects")


def test_the_host_that_the_target_is_called_by_leads_to_the_target() -> None:
    """As behind an emulated distance, where the address is not the name."""
    handler = leading((302, "http://shop.example/b"))
    with (
        ScriptServer(handler) as server,
        client_of(server.url, host="shop.example") as (client, samples),
    ):
        assert client.get("/a", allow_redirects=True).ok
    assert [sample.reused for sample in samples] == [False, True]


@pytest.mark.parametrize(
    "url",
    ["http://shop.example/b", "HTTP://Shop.example:80/b", "http://shop.example/b#c", "KNOWN/b"],
)
def test_a_whole_url_of_the_target_by_any_of_its_names_is_a_request_to_the_target(url: str) -> None:
    """It is measured as its deployment's, on its connection, with its headers."""
    seen: list[bytes] = []

    def handler(connection: socket.socket, _: int) -> None:
        while True:
            seen.append(read_request(connection))
            connection.sendall(OK)

    with (
        ScriptServer(handler) as server,
        client_of(
            server.url, host="shop.example", headers={"X-Own": "1"}, known_as=["http://known:8"]
        ) as (client, samples),
    ):
        client.get("/a")
        client.get(url.replace("KNOWN", "http://Known:8"))
        assert client.home_path("http://known:9/b") == "http://known:9/b"
        assert client.home_path("http://shop.example") == "/"
    assert [s.reused for s in samples] == [False, True]
    assert [b"X-Own: 1" in request for request in seen] == [True, True]
    assert seen[1].startswith(b"GET /b HTTP")
