"""From names to connections: several addresses, dead ones among them, and zones."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from client_servers import OK, ScriptServer, answering

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.dial import _interleaved
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.origin import Address, AddressResolver, Origin
from loadtest.engine.client.sample import RequestSample

V4, V6 = socket.AF_INET, socket.AF_INET6


class Given(AddressResolver):
    def __init__(self, *ports: int) -> None:
        super().__init__()
        self._given = [Address(V4, ("127.0.0.1", port)) for port in ports]

    def addresses(self, host: str, port: int) -> list[Address]:
        return self._given


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that answers no handshake: its queue is full."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]
        for one in waiting:
            one.close()


def ask(resolver: AddressResolver, connect_s: float = 5.0) -> RequestSample:
    samples: list[RequestSample] = []
    target = SimpleNamespace(url="http://dual.example", host="", ca_file="", http="auto")
    limits = Limits(connect_s=connect_s)
    client = TTFBClient(target, samples.append, limits=limits, resolver=resolver)
    client.get("/")
    client.close()
    return samples[0]


def test_a_dead_first_address_costs_its_head_start_alone(silent: int) -> None:
    with ScriptServer(answering(OK)) as server:
        sample = ask(Given(silent, server.port))
    assert sample.error == ""
    assert 240_000_000 <= sample.connect_ns < 4_000_000_000


def test_a_refusal_is_followed_by_the_next_address_at_once() -> None:
    with socket.socket() as bound, ScriptServer(answering(OK)) as server:
        bound.bind(("127.0.0.1", 0))
        assert ask(Given(bound.getsockname()[1], server.port)).error == ""
        assert ask(Given(bound.getsockname()[1])).error == "connect-refused"


def test_no_answer_from_any_address_is_told_of_all(silent: int) -> None:
    sample = ask(Given(silent, silent), connect_s=0.3)
    assert sample.error == "connect-timeout"
    assert "127.0.0.1, 127.0.0.1" in sample.detail


def test_families_take_turns() -> None:
    given = [Address(family, (str(n), 80)) for n, family in enumerate((V6, V6, V6, V4))]
    assert [address.host for address in _interleaved(given)] == ["0", "3", "1", "2"]


@pytest.mark.parametrize("zone", ["%25lo", "%lo"])
def test_a_zone_is_looked_up_and_no_part_of_host(zone: str) -> None:
    origin = Origin(f"http://[fe80::1{zone}]:81")
    assert (origin.name, origin.host_header) == ("fe80::1%lo", "[fe80::1]:81")
