"""A request that fails is a sample that says how, and the next request is not harmed by it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import gevent
import pytest
from client_servers import OK, ScriptServer, answering, client_of, read_request

from loadtest.engine.client.names import Address, AddressResolver
from loadtest.engine.hub.instruments import Instruments

pytestmark = pytest.mark.contract

Connection = socket.socket


def reset(connection: Connection) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silent(connection: Connection, _: int) -> None:
    with contextlib.suppress(OSError):
        connection.recv(65536)
        connection.recv(1)


@pytest.mark.parametrize(
    ("more", "body", "told"),
    [
        (b"", b"PA02: x", "HTTP 502"),
        (b"fly-error-code: PA02\r\n", b"502 Bad Gateway: PA02: a\x1b circle\n",
         "HTTP 502 of the proxy (PA02: a\ufffd circle)"),
        (b"Fly-Error-Code: PU02\r\n", b"", "HTTP 502 of the proxy (PU02)"),
    ],
)  # fmt: skip
def test_a_proxy_that_answers_itself_tells_why(more: bytes, body: bytes, told: str) -> None:
    head = b"HTTP/1.1 502 Bad Gateway\r\n%bContent-Length: %d\r\n\r\n" % (more, len(body))
    with ScriptServer(answering(head + body)) as server, client_of(server.url) as (client, samples):
        client.get("/")
    assert [(sample.error, sample.detail) for sample in samples] == [("status", told)]


@pytest.mark.parametrize(
    ("answer", "kind", "status", "detail"),
    [
        (b"", "closed-early", 0, "before any response byte"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed-early", 0, "after 27 bytes"),
        (OK[:-1], "closed-early", 200, "after"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "closed-early",
            200,
            "after",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed-early", 0, "after"),
        (b"SSH-2.0-OpenSSH\r\n", "protocol", 0, "HTTP/"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "protocol", 0, "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "too-large", 0, "head of more than 65536"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"y" * 900_000,
            "too-large",
            200,
            "body of more than 100000",
        ),
    ],
)
def test_a_broken_answer_is_a_sample_of_its_kind(
    answer: bytes, kind: str, status: int, detail: str
) -> None:
    """And the next request is answered, on a connection of its own."""

    def handler(connection: Connection, index: int) -> None:
        read_request(connection)
        if index == 0:
            connection.sendall(answer)
        else:
            connection.sendall(OK)
            read_request(connection)

    with (
        ScriptServer(handler) as server,
        client_of(server.url, body_bytes=100_000) as (client, samples),
    ):
        response = client.get("/")
        assert not response
        assert (response.error, response.status_code) == (kind, status)
        assert client.get("/").text == "ok"
        assert server.accepted == 2
    first, second = samples
    assert detail in first.detail
    assert (first.attempts, second.error, second.reused) == (1, "", False)


def test_surplus_bytes_spoil_the_connection_not_the_answer() -> None:
    """They are never taken for the answer to the next request."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    with ScriptServer(answering(OK + evil, OK)) as server, client_of(server.url) as (client, s):
        assert client.get("/").text == "ok"
        assert client.get("/").text == "ok"
        assert server.accepted == 2
    assert [sample.error for sample in s] == ["", ""]


def test_bytes_that_came_unasked_are_no_answer() -> None:
    """A server that speaks before it is asked is left; the request goes out on a new connection."""
    spoken = threading.Event()

    def handler(connection: Connection, index: int) -> None:
        read_request(connection)
        connection.sendall(OK)
        if index == 0:
            spoken.wait(5)
            connection.sendall(b"HTTP/1.1 408 Too Slow\r\nContent-Length: 0\r\n\r\n")
            connection.recv(1)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        client.get("/")
        spoken.set()
        deadline = time.monotonic() + 5
        (place,) = client._places
        while place.idle[0].usable and time.monotonic() < deadline:
            gevent.sleep(0.005)
        assert client.get("/").status_code == 200
        assert server.accepted == 2
    assert [(s.error, s.attempts) for s in samples] == [("", 1), ("", 1)]


def test_bytes_older_than_the_request_are_no_answer_to_it() -> None:
    """
    Their kernel stamp gives them away, also where the hub had no time to see them before.

    The server does not hang up meanwhile: the kernel would merge its FIN with bytes that nobody has
    read yet, and give both the later stamp.
    """
    spoken, asked_again = threading.Event(), threading.Event()

    def handler(connection: Connection, index: int) -> None:
        read_request(connection)
        connection.sendall(OK)
        if index == 0:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            spoken.set()
            asked_again.wait(5)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        client.get("/")
        if not samples[0].kernel:
            pytest.skip("no kernel stamps on this platform")
        spoken.wait(5)
        pause_without_the_hub(0.005)
        text = client.get("/").text
        asked_again.set()
    assert (text, samples[1].error) == ("ok", "")


def pause_without_the_hub(seconds: float) -> None:
    """Let time pass while no callback of the loop runs."""
    threading.Event().wait(seconds)


def test_a_clock_that_is_set_under_a_request_costs_its_kernel_stamp() -> None:
    """The sample falls back to user space, says so, and the next one is stamped by the kernel."""
    offset = Instruments.here().offset

    def handler(connection: Connection, _: int) -> None:
        for count in range(3):
            read_request(connection)
            if count == 1:
                offset.offset_ns -= 10_000_000  # as if the wall clock had been put forward
            connection.sendall(OK)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        for _ in range(3):
            client.get("/")
    if not samples[0].kernel:
        pytest.skip("no kernel stamps on this platform")
    assert [s.clock for s in samples] == ["kernel", "user", "kernel"]
    assert [s.error for s in samples] == ["", "", ""]
    assert samples[1].wait_ns == samples[1].wait_user_ns < 5_000_000_000


def close_after_first(end: Callable[[Connection], None]) -> Callable[[Connection, int], None]:
    """Answer once; then take the first connection's second request and end without an answer."""

    def handler(connection: Connection, index: int) -> None:
        read_request(connection)
        connection.sendall(OK)
        read_request(connection)
        if index == 0:
            end(connection)
        else:
            connection.sendall(OK)

    return handler


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("end", [reset, Connection.close], ids=["reset", "close"])
def test_a_stale_connection_is_retried_once_if_that_does_no_harm(
    method: str, end: Callable[[Connection], None]
) -> None:
    """The second attempt is a new connection, is told in the sample, and is the last."""
    with ScriptServer(close_after_first(end)) as server, client_of(server.url) as (c, samples):
        c.get("/")
        assert c.request(method, "/").status_code == 200 or method == "HEAD"
        assert server.accepted == 2
    assert [(s.attempts, s.reused, s.error) for s in samples] == [(1, False, ""), (2, False, "")]
    assert samples[1].connect_ns > 0


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("end", [reset, Connection.close], ids=["reset", "close"])
def test_a_post_is_never_sent_twice(method: str, end: Callable[[Connection], None]) -> None:
    """It may have been carried out: that it was not answered is the truth about it."""
    with ScriptServer(close_after_first(end)) as server, client_of(server.url) as (c, samples):
        c.get("/")
        c.request(method, "/", data="x")
        assert server.accepted == 1
    assert (samples[1].error, samples[1].attempts, samples[1].reused) == ("closed-early", 1, True)


def test_a_get_is_sent_twice_at_most_and_not_after_a_first_byte() -> None:
    """Against a server that always closes: two connections; one if it had begun to answer."""
    begun = threading.Event()

    def handler(connection: Connection, index: int) -> None:
        read_request(connection)
        if index == 0:
            connection.sendall(OK)
            read_request(connection)
        if begun.is_set():
            connection.sendall(b"H")

    for expected in (2, 1):
        with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
            client.get("/")
            client.get("/")
            assert server.accepted == expected
        assert (samples[1].error, samples[1].attempts) == ("closed-early", expected)
        begun.set()


def test_a_connection_closed_while_idle_is_not_used() -> None:
    """The hub sees the end while the connection is idle, so nothing is sent in vain."""

    def handler(connection: Connection, _: int) -> None:
        read_request(connection)
        connection.sendall(OK)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        client.get("/")
        (place,) = client._places
        deadline = time.monotonic() + 5
        while place.idle[0].usable and time.monotonic() < deadline:
            gevent.sleep(0.005)
        client.post("/", data="x")
        assert server.accepted == 2
    assert [(s.attempts, s.error, s.reused) for s in samples] == [(1, "", False), (1, "", False)]


def test_nothing_listens() -> None:
    """A refused connection says so, with its time in the connect phase."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}") as (client, samples):
        assert client.get("/").error == "connect-refused"
    assert samples[0].connect_ns > 0
    assert f"127.0.0.1 port {port}" in samples[0].detail


def test_no_such_name() -> None:
    """RFC 6761 promises that .invalid never resolves."""
    with client_of("http://nothing.invalid") as (client, samples):
        client.get("/")
        client.get("/")
    assert [s.error for s in samples] == ["dns", "dns"]
    assert "nothing.invalid" in samples[0].detail
    assert samples[0].dns_ns > 0
    assert (samples[0].connect_ns, samples[0].sent_ns) == (0, 0)


def test_a_slow_resolver_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user goes on; the look-up is left to end by itself."""
    never = threading.Event()
    monkeypatch.setattr(
        "loadtest.engine.client.names.system_look_up", lambda *_: never.wait(5) or []
    )
    with client_of("http://slow.invalid", dns_s=0.05) as (client, samples):
        client.get("/")
    never.set()
    assert samples[0].error == "dns"
    assert 0.05 <= samples[0].dns_ns / 1e9 < 1


def test_users_share_one_look_up() -> None:
    """However many ask at once, where an answer counts for all of them."""
    asked = []

    def once(host: str, port: int) -> list[Address] | OSError:
        asked.append(host)
        threading.Event().wait(0.02)
        return [Address(socket.AF_INET, ("127.0.0.1", port))]

    with ScriptServer(answering(OK)) as server:
        url = server.url.replace("127.0.0.1", "shared.invalid")
        with client_of(url, resolver=AddressResolver("once", look_up=once)) as (client, samples):
            jobs = [gevent.spawn(client.get, "/") for _ in range(20)]
            gevent.joinall(jobs, timeout=10, raise_error=True)
    assert asked == ["shared.invalid"]
    assert {s.error for s in samples} == {""}
    assert min(s.dns_ns for s in samples) > 5_000_000


def test_addresses_are_tried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample names the one that took the connection."""
    with ScriptServer(answering(OK)) as server:
        port = server.port
        found = [Address(socket.AF_INET, (host, port)) for host in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr("loadtest.engine.client.names.system_look_up", lambda *_: found)
        with client_of(f"http://two.invalid:{port}") as (client, samples):
            assert client.get("/").ok
    assert samples[0].address == "127.0.0.1"


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A listener whose queue is full: further handshakes get no answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as s:
        for _ in range(4):
            filler = s.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_connecting_runs_out_of_time() -> None:
    """A handshake that nobody answers."""
    with (
        full_backlog() as port,
        client_of(f"http://127.0.0.1:{port}", connect_s=0.1) as (client, samples),
    ):
        client.get("/")
    assert samples[0].error == "connect-timeout"
    assert 0.1 <= samples[0].connect_ns / 1e9 < 2


def test_an_unwanted_greeting_is_refused_in_tls() -> None:
    """A plain server behind an https URL fails in the handshake, whether it speaks or is silent."""
    with ScriptServer(answering(OK)) as server:
        url = server.url.replace("http:", "https:")
        with client_of(url, tls_s=0.1) as (client, samples):
            client.get("/")
    with ScriptServer(silent) as server:
        url = server.url.replace("http:", "https:")
        with client_of(url, tls_s=0.1) as (client, more):
            client.get("/")
    assert [s.error for s in samples + more] == ["tls", "tls"]
    assert "in time" in more[0].detail
    assert more[0].tls_ns >= 100_000_000


def test_the_answer_runs_out_of_time() -> None:
    """Before its first byte, in its head, in its body, and by a trickle that never stops."""

    def handler(connection: Connection, _: int) -> None:
        path = read_request(connection).split()[1]
        if path == b"/head":
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
        if path == b"/body":
            connection.sendall(OK[:-1])
        while path == b"/trickle":
            connection.sendall(b"H" if threading.Event().wait(0.01) else b"\r\n")
        connection.recv(1)

    with ScriptServer(handler) as server, client_of(server.url, read_s=0.1) as (client, samples):
        for path in ("/", "/head", "/body", "/trickle"):
            client.get(path)
        client.get("/own", timeout=0.05)
    assert [s.error for s in samples] == ["read-timeout"] * 5
    assert [s.status for s in samples] == [0, 0, 200, 0, 0]
    for sample, limit in zip(samples, [0.1] * 4 + [0.05], strict=True):
        assert limit <= (sample.last_ns - sample.sent_ns) / 1e9 < limit + 1
    assert samples[0].wait_ns >= 100_000_000


def test_sending_runs_out_of_time() -> None:
    """A server that does not read what is sent."""
    hold = threading.Event()
    with (
        ScriptServer(lambda *_: (hold.wait(10), None)[1]) as server,
        client_of(server.url, send_s=0.1) as (client, samples),
    ):
        client.post("/", data=b"x" * 30_000_000)
        hold.set()
    assert samples[0].error == "send"
    assert samples[0].send_ns >= 100_000_000
    assert samples[0].wait_ns == 0


def test_a_large_body_arrives_whole() -> None:
    """In as many pieces as the socket takes."""

    def handler(connection: Connection, _: int) -> None:
        body = read_request(connection).partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%08d" % len(body))

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        assert client.post("/", data=b"x" * 9_000_000).text == "09000000"
    assert samples[0].send_ns > 0


def test_an_answer_before_the_end_of_the_request_is_an_answer() -> None:
    """A server that refuses a large upload early; the rest is not sent."""
    early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"

    def handler(connection: Connection, index: int) -> None:
        connection.recv(1000)
        connection.sendall(early if index == 0 else OK)
        threading.Event().wait(0.2)

    with ScriptServer(handler) as server, client_of(server.url) as (client, samples):
        assert client.post("/", data=b"x" * 30_000_000).status_code == 413
        assert client.get("/").status_code == 200
        assert server.accepted == 2
    assert samples[0].error == "status"


def test_a_killed_user_leaves_a_cancelled_sample() -> None:
    """And no connection whose answer somebody else would get."""
    with ScriptServer(silent) as server, client_of(server.url) as (client, samples):
        job = gevent.spawn(client.get, "/")
        deadline = time.monotonic() + 5
        while server.accepted == 0 and time.monotonic() < deadline:
            gevent.sleep(0.005)
        job.kill(timeout=5)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            client.get("/")
        assert [s.error for s in samples] == ["cancelled", "cancelled"]
        assert not any(place.idle for place in client._places)
    assert len(Instruments.here().watchdog) == 0


def test_closed_connections_leave_their_counts() -> None:
    """Segments and retransmits are summed over open and closed connections alike."""
    before = Instruments.here().tcp_totals()
    with ScriptServer(answering(OK)) as server, client_of(server.url) as (client, _):
        client.get("/")
        during = Instruments.here().tcp_totals()
    after = Instruments.here().tcp_totals()
    assert during.connections == after.connections == before.connections + 1
    assert after.segments_sent >= during.segments_sent > before.segments_sent
    assert after.retransmits == before.retransmits
    assert not Instruments.here().open_connections
