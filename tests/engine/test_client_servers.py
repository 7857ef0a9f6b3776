"""The servers that people run, in both versions, plain and TLS, and pauses that outlast them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme
from client_servers import client_of
from real_servers import BIG, KINDS, is_here, prepare, serving, url_of

from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.streamed import StreamedResponse

pytestmark = pytest.mark.contract

CASES = [(name, *spoken) for name, kind in KINDS.items() for spoken in kind.speaks]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("servers")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(found / "ca.pem"))
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(found / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(found / "cert.pem"))
    prepare(found)
    return found


def visit(url: str, http: str, ca_file: str) -> list[RequestSample]:
    """Ask for everything, pause for longer than the server waits, ask again."""
    with client_of(url, http=http, ca_file=ca_file) as (client, samples):
        assert client.get("/").text == "hello"
        assert client.post("/", data=b"y" * 200_000).text == "hello"
        assert client.head("/").content == b""
        with client.get("/big", stream=True) as streamed:
            assert isinstance(streamed, StreamedResponse)
            assert sum(map(len, streamed.iter_content())) == BIG
        assert client.get("/big").sample.bytes > BIG
        for method in ("GET", "POST"):
            with gevent.Timeout(15):
                while any(connection.ready() for connection in client._place.idle):
                    gevent.sleep(0.01)
            assert client.request(method, "/").text == "hello"
        if http == "2":
            jobs = [gevent.spawn(client.get, "/") for _ in range(5)]
            assert [job.get(10).text for job in jobs] == ["hello"] * 5
    return samples


def first_burst(url: str, ca_file: str) -> list[RequestSample]:
    """Ask for some pages at once, of a server that nobody has met."""
    with client_of(url, ca_file=ca_file, idle_connections=5) as (client, samples):
        jobs = [gevent.spawn(client.get, "/") for _ in range(5)]
        assert [job.get(10).text for job in jobs] == ["hello"] * 5
        shared = [connection.shared for connection in client._place.idle]
        assert shared in ([True], [False] * len(shared))
    return samples


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[tuple[str, str, str], Any]:
    """Visit all at once: a pause costs its time once."""
    here = {name: kind for name, kind in KINDS.items() if is_here(kind)}
    ca_file = str(folder / "ca.pem")
    with serving(here, folder) as ports:
        jobs = {
            (name, *spoken): gevent.spawn(visit, url_of(ports[name], *spoken), spoken[1], ca_file)
            for name, kind in here.items()
            for spoken in kind.speaks
        }
        jobs |= {
            (name, "https", "auto"): gevent.spawn(
                first_burst, url_of(ports[name], "https", "auto"), ca_file
            )
            for name in here
        }
        gevent.joinall(list(jobs.values()), timeout=60)
    return {case: job.value if job.successful() else job.exception for case, job in jobs.items()}


@pytest.mark.parametrize("name", KINDS)
def test_a_first_burst_is_told_what_is_spoken_by_one_handshake(
    outcomes: dict[tuple[str, str, str], Any], name: str
) -> None:
    """Then it shares that connection, or goes over as many as it has requests."""
    if not is_here(KINDS[name]):
        pytest.skip(f"needs {KINDS[name].program}")
    samples = outcomes[name, "https", "auto"]
    if isinstance(samples, BaseException):
        raise samples
    spoken = "2" if ("https", "2") in KINDS[name].speaks else "1.1"
    assert [(s.error, s.protocol) for s in samples] == [("", spoken)] * 5
    opened = [s for s in samples if not s.reused]
    ready = {s.start_ns + s.dns_ns + s.connect_ns + s.tls_ns for s in opened}
    assert len(ready) == (min(len(opened), 2) if spoken == "2" else len(opened))


@pytest.mark.parametrize(("name", "scheme", "http"), CASES)
def test_a_server_is_spoken_to_as_browsers_do(
    outcomes: dict[tuple[str, str, str], Any], name: str, scheme: str, http: str
) -> None:
    """Without a failure, a connection for as long as the server keeps it, and every phase told."""
    if not is_here(KINDS[name]):
        pytest.skip(f"needs {KINDS[name].program}")
    samples = outcomes[name, scheme, http]
    if isinstance(samples, BaseException):
        raise samples
    assert [(s.error, s.detail) for s in samples if s.error] == []
    assert {s.protocol for s in samples} == {http}
    before, after = samples[:5], samples[5:7]
    assert not before[0].reused
    assert any(s.reused for s in before)  # on a busy machine not all come within the second
    assert [(s.reused, s.attempts) for s in after] == [(False, 1)] * 2
    # who does not read a body may answer before it has come
    assert all(s.wait_ns > 0 for s in samples if s.method != "POST")
    assert all((s.tls_ns > 0) == (scheme == "https") for s in samples if not s.reused)
