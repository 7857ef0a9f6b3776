"""What the world's name server answers, and in which form."""

from __future__ import annotations

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.world.hosts.listeners import parse
from loadtest.world.machines.directory import Entry, look_up
from loadtest.world.machines.hosts import named_ports
from loadtest.world.machines.names import Row
from loadtest.world.machines.nameserver import Records, answer

ROWS = [
    Row("m1", "shop", "cdg", group="web"),
    Row("m2", "shop", "syd", group="worker", metadata={"tier": "gold"}),
    Row("m3", "shop", "ord", group="web", started=False),
    Row("m4", "db", "cdg", primary=True),
]
FAR = {"cdg": 0.0, "ord": 100.0, "syd": 300.0}


def find(host: str, region: str = "cdg") -> Entry | None:
    return look_up(host, ROWS, ["shop", "db"], region, lambda a, b: abs(FAR[a] - FAR[b]))


class TestLookUp:
    @pytest.mark.parametrize(
        ("host", "machines"),
        [
            ("shop.internal", ("m1", "m2")),
            ("SHOP.internal", ("m1", "m2")),
            ("global.shop.internal", ("m1", "m2")),
            ("syd.shop.internal", ("m2",)),
            ("top1.nearest.of.shop.internal", ("m1",)),
            ("top2.nearest.of.shop.internal", ("m1", "m2")),
            ("worker.process.shop.internal", ("m2",)),
            ("m2.vm.shop.internal", ("m2",)),
            ("gold.tier.kv._metadata.shop.internal", ("m2",)),
        ],
    )
    def test_a_name_stands_for_started_machines(self, host: str, machines: tuple[str, ...]) -> None:
        assert find(host) == Entry(machines)

    def test_the_nearest_to_the_asker_comes_first(self) -> None:
        assert find("shop.internal", "syd") == Entry(("m2", "m1"))
        assert find("top1.nearest.of.shop.internal", "syd") == Entry(("m2",))

    @pytest.mark.parametrize("host", ["shop.flycast", "shop.fly.dev"])
    def test_public_names_lead_to_the_edge(self, host: str) -> None:
        assert find(host) == Entry(edge="shop")

    @pytest.mark.parametrize(
        "host",
        ["ord.shop.internal", "m3.vm.shop.internal", "other.internal", "other.flycast", "x.y", ""],
    )
    def test_what_is_stopped_or_unknown_has_no_name(self, host: str) -> None:
        assert find(host) is None

    @pytest.mark.parametrize(
        ("host", "text"),
        [
            ("_apps.internal", "db,shop"),
            ("regions.shop.internal", "cdg,syd"),
            ("vms.shop.internal", "m1 cdg,m2 syd"),
        ],
    )
    def test_lists_are_texts(self, host: str, text: str) -> None:
        assert find(host) == Entry(texts=(text,))
        instances = find("_instances.internal")
        assert instances is not None
        assert instances.texts[0].startswith("instance=m1,app=shop,region=cdg;")


async def _known(name: str) -> Records | None:
    if name == "broken.internal":
        raise RuntimeError
    records = Records(ip6=("fdaa::5", "fdaa::6"), ip4=("198.18.0.1",), texts=("a,b", "x" * 300))
    return records if name == "shop.internal" else None


def ask(name: str, kind: str) -> dns.message.Message:
    wire = asyncio.run(answer(dns.message.make_query(name, kind).to_wire(), _known))
    assert wire is not None
    return dns.message.from_wire(wire)


class TestAnswer:
    def test_addresses_with_the_time_that_fly_gives_them(self) -> None:
        found = ask("Shop.INTERNAL", "AAAA")
        assert found.rcode() == dns.rcode.NOERROR
        assert found.flags & dns.flags.AA
        assert [str(item) for item in found.answer[0]] == ["fdaa::5", "fdaa::6"]
        assert found.answer[0].ttl == 5
        assert [str(item) for item in ask("shop.internal", "A").answer[0]] == ["198.18.0.1"]

    def test_texts_of_any_length(self) -> None:
        texts = [b"".join(item.strings) for item in ask("shop.internal", "TXT").answer[0]]
        assert sorted(texts) == [b"a,b", b"x" * 300]

    def test_another_kind_of_a_name_that_exists_is_no_error(self) -> None:
        found = ask("shop.internal", "MX")
        assert (found.rcode(), found.answer) == (dns.rcode.NOERROR, [])

    def test_an_unknown_name_is_told_and_a_fault_is_no_silence(self) -> None:
        assert ask("other.internal", "AAAA").rcode() == dns.rcode.NXDOMAIN
        assert ask("broken.internal", "AAAA").rcode() == dns.rcode.SERVFAIL

    @given(st.binary(max_size=200))
    def test_nonsense_never_stops_it(self, data: bytes) -> None:
        asyncio.run(answer(data, _known))

    def test_an_answer_is_no_question(self) -> None:
        reply = dns.message.make_response(dns.message.make_query("shop.internal", "A"))
        assert asyncio.run(answer(reply.to_wire(), _known)) is None


def test_listening_sockets_are_read_as_the_kernel_writes_them() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n"
        "   1: 0100007F:1F91 0100007F:C350 01 00000000:00000000\n"
        "   2: 00000000000000000000000001000000:0050 "
        "00000000000000000000000000000000:0000 0A 00000000:00000000\n"
        "rubbish\n"
    )
    assert parse(table) == [("127.0.0.1", 8080), ("::1", 80)]


def test_an_environment_names_hosts_and_their_ports() -> None:
    env = {
        "DATABASE_URL": "postgres://u:p@db.example:5433/x?host=other.example:5434",
        "REDIS_HOST": "Cache.example",
        "REDIS_PORT": "6380",
        "LOCAL": "redis://localhost:6379/0",
        "TIME": "12:30",
        "HUGE": "host:99999",
    }
    found = named_ports(env)
    assert found["db.example"] == {5433}
    assert found["other.example"] == {5434}
    assert found["cache.example"] == {6380}
    assert found["localhost"] == {6379}
    assert "host" not in found
