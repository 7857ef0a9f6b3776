"""TLS: verified, measured like plain, read through memory BIOs."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme
from client_servers import OK, ScriptServer, answering, client_of, read_request

from loadtest.engine.client.origin import origin_of
from loadtest.engine.client.tls import TlsChoice
from loadtest.errors import EngineError

pytestmark = pytest.mark.contract


class Authority:
    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)
        own = self._ca.issue_cert("somebody@example.test")
        self.certificate = str(folder / "client.pem")
        own.private_key_and_cert_chain_pem.write_to_path(self.certificate)

    def context(self, *names: str, alpn: list[str] | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        context.set_alpn_protocols(alpn or ["http/1.1"])
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@contextlib.contextmanager
def serving(context: ssl.SSLContext, handler: Any = None) -> Iterator[ScriptServer]:
    with ScriptServer(handler or answering(OK), tls=context) as server:
        yield server


def test_a_tls_request_has_a_tls_phase_once(authority: Authority) -> None:
    """New connections shake hands, warm ones do not; both keep the kernel's stamp."""
    context = authority.context("127.0.0.1")
    with serving(context) as server, client_of(server.url, ca_file=authority.ca_file) as (c, s):
        for _ in range(3):
            assert c.get("/").text == "ok"
        assert server.accepted == 1
    assert [sample.error for sample in s] == ["", "", ""]
    assert s[0].tls_ns > 0
    assert (s[1].tls_ns, s[1].reused, s[2].reused) == (0, True, True)
    assert s[1].bytes == len(OK)
    assert s[1].wait_ns > 0
    assert len({sample.clock for sample in s}) == 1


def test_an_old_protocol_version_works_too(authority: Authority) -> None:
    """TLS 1.2 has other flights and no session tickets behind the handshake."""
    context = authority.context("127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(context) as server, client_of(server.url, ca_file=authority.ca_file) as (c, s):
        assert c.get("/").text == "ok"
        assert c.get("/").text == "ok"
    assert [sample.error for sample in s] == ["", ""]


def test_the_first_application_byte_is_what_counts(authority: Authority) -> None:
    """Head and body in records of their own; a busy loop does not bend the first."""
    hog_ns = 60_000_000

    def handler(connection: socket.socket, _: int) -> None:
        for _ in range(2):
            read_request(connection)
            for piece in (OK[:1], OK[1:-2], OK[-2:]):
                connection.sendall(piece)

    def hog() -> None:
        end = time.monotonic_ns() + hog_ns
        while time.monotonic_ns() < end:
            time.sleep(0.001)

    context = authority.context("127.0.0.1")
    with (
        serving(context, handler) as server,
        client_of(server.url, ca_file=authority.ca_file) as (client, samples),
    ):
        client.get("/")
        gevent.spawn(hog)
        assert client.get("/").text == "ok"
    late = samples[1]
    if not late.kernel:
        pytest.skip("no kernel stamps on this platform")
    assert late.wait_user_ns >= hog_ns
    assert late.wait_ns < hog_ns / 2


@pytest.mark.parametrize(
    ("names", "trusted", "why"),
    [
        (("wrong.example",), True, "mismatch|not valid"),
        (("127.0.0.1",), False, "issuer|self-signed|unable to get"),
    ],
)
def test_a_certificate_that_does_not_verify_is_a_failed_request(
    authority: Authority, names: tuple[str, ...], trusted: bool, why: str
) -> None:
    """A wrong name, an unknown authority: nothing is sent."""
    ca_file = authority.ca_file if trusted else ""
    asked = threading.Event()

    def handler(connection: socket.socket, _: int) -> None:
        read_request(connection)
        asked.set()

    with (
        serving(authority.context(*names), handler) as server,
        client_of(server.url, ca_file=ca_file) as (client, samples),
    ):
        client.get("/")
    assert samples[0].error == "tls"
    assert any(word in samples[0].detail for word in why.split("|")), samples[0].detail
    assert samples[0].tls_ns > 0
    assert not asked.is_set()


def test_an_insecure_client_verifies_nothing(authority: Authority) -> None:
    with (
        serving(authority.context("wrong.example")) as server,
        client_of(server.url, tls=TlsChoice(insecure=True)) as (client, samples),
    ):
        assert client.get("/").ok
    assert samples[0].tls_ns > 0


def test_a_client_certificate_is_shown_to_the_target_alone(authority: Authority) -> None:
    """A server that asks for one refuses who has none; another host never sees it."""
    shown: list[Any] = []

    def handler(connection: Any, _: int) -> None:
        shown.append(connection.getpeercert())
        answering(OK)(connection, 0)

    context = authority.context("127.0.0.1")
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    tls = TlsChoice(authority.ca_file, certificate=authority.certificate)
    with (
        serving(context, handler) as target,
        serving(context, handler) as other,
        client_of(target.url, tls=tls) as (client, samples),
    ):
        client.get("/")
        client.get(f"{other.url}/")
    assert [sample.error for sample in samples] == ["", ""]
    assert [bool(certificate) for certificate in shown] == [True, False]


def test_the_host_header_is_the_name_that_is_verified(authority: Authority) -> None:
    """A target reached by address answers for the name its Host header gives, by SNI too."""
    context = authority.context("shop.example")
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with (
        serving(context) as server,
        client_of(server.url, ca_file=authority.ca_file, host="shop.example") as (client, samples),
    ):
        assert client.get("/").ok
    assert names == ["shop.example"]
    assert samples[0].error == ""


def test_http_1_1_is_asked_for(authority: Authority) -> None:
    """By ALPN where the plan says so, so that a server that speaks h2 too does not choose it."""
    chosen: list[str | None] = []

    def handler(connection: ssl.SSLSocket, _: int) -> None:
        chosen.append(connection.selected_alpn_protocol())
        read_request(connection)
        connection.sendall(OK)

    context = authority.context("127.0.0.1", alpn=["h2", "http/1.1"])
    with (
        serving(context, handler) as server,
        client_of(server.url, ca_file=authority.ca_file, http="1.1") as (client, _),
    ):
        client.get("/")
    assert chosen == ["http/1.1"]


class Together(ScriptServer):
    """Shakes hands with the first, and with the others when all of them are connected."""

    def __init__(self, context: ssl.SSLContext, others: int) -> None:
        self.met = threading.Barrier(others)
        super().__init__(answering(OK), tls=context)

    def _serve(self, connection: socket.socket, index: int) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            if index:
                self.met.wait(5)
        super()._serve(connection, index)


def test_nobody_waits_for_another_where_http_1_1_was_chosen(authority: Authority) -> None:
    """The first handshake is waited for, as it may bring HTTP/2; the others are made at once."""
    with (
        Together(authority.context("127.0.0.1"), others=4) as server,
        client_of(server.url, ca_file=authority.ca_file) as (client, samples),
    ):
        jobs = [gevent.spawn(client.get, "/") for _ in range(5)]
        assert [job.get(20).text for job in jobs] == ["ok"] * 5
        assert (server.accepted, server.met.broken) == (5, False)
        first, *others = sorted(samples, key=lambda sample: sample.sent_ns)
        ready = first.start_ns + first.dns_ns + first.connect_ns + first.tls_ns
        for sample in others:  # what it waited is in its phases, which add up to what it took
            assert sample.start_ns + sample.dns_ns + sample.connect_ns + sample.tls_ns > ready
            assert sample.connect_ns + sample.tls_ns > first.tls_ns
            assert sample.send_ns < first.tls_ns + sample.tls_ns
        assert client.get("/").sample.reused
        jobs = [gevent.spawn(client.get, "/", new_connection=True) for _ in range(2)]
        assert [job.get(20).ok for job in jobs] == [True] * 2


def test_a_large_answer_and_a_large_request(authority: Authority) -> None:
    """Many records each way."""

    def handler(connection: socket.socket, _: int) -> None:
        body = read_request(connection).partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with (
        serving(authority.context("127.0.0.1"), handler) as server,
        client_of(server.url, ca_file=authority.ca_file, keep_bytes=10**7) as (client, samples),
    ):
        assert client.post("/", data=b"x" * 3_000_000).content == b"x" * 3_000_000
    assert samples[0].error == ""


@pytest.mark.parametrize(("orderly", "error"), [(True, ""), (False, "closed-early")])
def test_only_an_orderly_close_ends_a_body(authority: Authority, orderly: bool, error: str) -> None:
    """Without close_notify a body without a length may have been cut by anybody."""

    def handler(connection: ssl.SSLSocket, _: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if orderly:
            with contextlib.suppress(OSError):
                connection.unwrap()

    with (
        serving(authority.context("127.0.0.1"), handler) as server,
        client_of(server.url, ca_file=authority.ca_file) as (client, samples),
    ):
        response = client.get("/")
    assert samples[0].error == error
    assert response.headers is not None


def test_garbage_in_the_record_layer_is_a_tls_error(authority: Authority) -> None:
    """After a good handshake; the next request is answered on a connection of its own."""

    def handler(connection: ssl.SSLSocket, index: int) -> None:
        read_request(connection)
        if index == 0:
            with socket.socket(fileno=connection.detach()) as raw:
                raw.sendall(b"\x17\x03\x03\x00\x10" + b"x" * 16)
                raw.recv(1)
        else:
            connection.sendall(OK)

    with (
        serving(authority.context("127.0.0.1"), handler) as server,
        client_of(server.url, ca_file=authority.ca_file) as (client, samples),
    ):
        client.get("/")
        assert client.get("/").text == "ok"
    assert samples[0].error == "tls"


def test_surplus_records_spoil_the_connection(authority: Authority) -> None:
    """As surplus bytes do without TLS."""
    with (
        serving(authority.context("127.0.0.1"), answering(OK + OK, OK)) as server,
        client_of(server.url, ca_file=authority.ca_file) as (client, samples),
    ):
        assert client.get("/").text == "ok"
        assert client.get("/").text == "ok"
        assert server.accepted == 2
    assert [sample.error for sample in samples] == ["", ""]


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    """Before the first request."""
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for path in (str(bad), str(tmp_path / "missing.pem")):
        with pytest.raises(EngineError, match="CA file"):
            origin_of("https://example.test", "", path)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:99999", "x", "https://[::1"])
def test_a_target_that_is_none_is_named(url: str) -> None:
    """Before the first request."""
    with pytest.raises(EngineError, match="target URL"):
        origin_of(url)


SCRIPT = """
from gevent import monkey; monkey.patch_all()
import sys
from types import SimpleNamespace
from loadtest.engine.client.client import TTFBClient
samples = []
for url in sys.argv[2:]:
    target = SimpleNamespace(url=url, host="", ca_file=sys.argv[1], http="auto")
    client = TTFBClient(target, samples.append)
    client.get("/")
    client.get("/")
    client.close()
print([(s.error, s.reused) for s in samples])
"""


def test_it_works_where_locust_has_patched_the_sockets(authority: Authority) -> None:
    """Locust patches every module at import; the client must behave the same beneath that."""
    with (
        serving(authority.context("127.0.0.1")) as secure,
        ScriptServer(answering(OK)) as plain,
    ):
        out = subprocess.run(
            [sys.executable, "-c", SCRIPT, authority.ca_file, plain.url, secure.url],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=Path(__file__).resolve().parents[2],
        )
    assert out.stdout.strip() == str([("", False), ("", True)] * 2), out.stderr
