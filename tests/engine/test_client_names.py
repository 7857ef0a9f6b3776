"""From names to connections: several addresses, dead ones among them, and zones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from client_servers import OK, ScriptServer, answering, client_of

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.dial import Dialer, _interleaved
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.names import Address, AddressResolver
from loadtest.engine.client.origin import Origin
from loadtest.engine.client.sample import RequestSample
from loadtest.errors import EngineError

V4, V6 = socket.AF_INET, socket.AF_INET6


class Given(AddressResolver):
    def __init__(self, *ports: int) -> None:
        super().__init__()
        self._answer = [Address(V4, ("127.0.0.1", port)) for port in ports]

    def addresses(self, host: str, port: int) -> list[Address]:
        return self._answer


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


def test_a_user_tries_an_address_last_that_let_it_wait(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dead once; who visits for the first time knows nothing of that."""
    tried: list[int] = []
    begin_connect = Dialer._begin_connect

    def noted(self: Dialer, address: Address) -> Any:
        tried.append(address.sockaddr[1])
        return begin_connect(self, address)

    monkeypatch.setattr(Dialer, "_begin_connect", noted)
    with ScriptServer(answering(OK, then_close=True)) as server:
        resolver = Given(silent, server.port)
        with client_of("http://dual.example", resolver=resolver) as (client, samples):
            for _ in range(3):
                client.get("/")
            client.get("/", new_connection=True)
        assert [s.error for s in samples] == [""] * 4
        live = server.port
    assert tried == [silent, live, live, live, silent, live]


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


class Asked:
    """A system that tells what it was asked, and answers with an address of its own."""

    def __init__(self, ttl_s: float | None = None) -> None:
        self.names: list[str] = []
        self._ttl_s = ttl_s

    def look_up(self, host: str, port: int) -> list[Address] | OSError:
        self.names.append(host)
        return [Address(V4, (f"127.0.0.{len(self.names)}", port))]

    def ttl_s(self, _: str) -> float | None:
        return self._ttl_s

    def hosts(self, lookups: str, asked: int = 3) -> list[str]:
        resolver = AddressResolver(lookups, look_up=self.look_up, ttl_s=self.ttl_s)
        found = []
        for _ in range(asked):
            found.append(resolver.addresses("shop.example", 80)[0].host)
            gevent.wait(timeout=5)  # until it is known how long the answer counts
        return found


@pytest.mark.parametrize(
    ("lookups", "ttl_s", "asked"),
    [
        ("connection", None, 3),
        ("once", 0.0, 1),
        ("ttl", 300.0, 1),
        ("ttl", 0.0, 3),
        ("ttl", None, 3),
    ],
)
def test_a_name_is_looked_up_when_the_plan_says(
    lookups: str, ttl_s: float | None, asked: int
) -> None:
    system = Asked(ttl_s)
    system.hosts(lookups)
    assert len(system.names) == asked


def test_a_given_address_takes_the_place_of_a_look_up() -> None:
    system = Asked()
    resolver = AddressResolver(
        given={"Shop.example": "127.0.0.9", "bücher.example": "::1"}, look_up=system.look_up
    )
    assert resolver.addresses("shop.example", 80)[0].sockaddr == ("127.0.0.9", 80)
    assert resolver.addresses("xn--bcher-kva.example", 80)[0].family == V6
    assert resolver.addresses("127.0.0.4", 80)[0].host == "127.0.0.4"
    assert system.names == []


def test_a_name_beyond_ascii_goes_out_as_dns_has_it() -> None:
    origin = Origin("http://Bücher.example:81")
    assert (origin.name, origin.host_header) == (
        "xn--bcher-kva.example",
        "xn--bcher-kva.example:81",
    )
    with pytest.raises(EngineError, match="is no name"):
        Origin("http://a\u0640b.example")


@pytest.mark.contract
def test_each_new_connection_pays_its_look_up() -> None:
    delay_s = 0.08

    def slow(_: str, port: int) -> list[Address] | OSError:
        threading.Event().wait(delay_s)
        return [Address(V4, ("127.0.0.1", port))]

    with ScriptServer(answering(OK)) as server:
        resolver = AddressResolver(look_up=slow)
        url = f"http://shop.example:{server.port}"
        with client_of(url, resolver=resolver) as (client, samples):
            for cold in (True, True, False, False):
                client.get("/", new_connection=cold)
    assert [sample.dns_ns >= delay_s * 1e9 for sample in samples] == [True, True, True, False]
    assert all(s.cold_ttfb_ns >= delay_s * 1e9 for s in samples if s.cold)


def test_a_name_that_leads_elsewhere_is_noted_once() -> None:
    answers = iter(["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"])
    resolver = AddressResolver(look_up=lambda _, port: [Address(V4, (next(answers), port))])
    for _ in range(5):
        resolver.addresses("shop.example", 80)
    assert [move[1:] for move in resolver.moves] == [
        ("shop.example", ("127.0.0.1",), ("127.0.0.2",))
    ]
