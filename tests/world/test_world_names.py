"""Names of the private network: their grammar, whom they select, how values are rewritten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.world.machines.names import Name, Row, find_names, parse_name, rewrite, select

RTT_MS = {"cdg-ord": 104.0, "cdg-syd": 280.0, "ord-syd": 200.0}


def distance(a: str, b: str) -> float:
    return 0.5 if a == b else RTT_MS["-".join(sorted((a, b)))]


ROWS = (
    Row("m1", "db", "cdg", primary=True),
    Row("m2", "db", "ord"),
    Row("m3", "db", "syd", started=False),
    Row("m4", "web", "syd", group="worker", metadata={"tier": "gold"}),
    Row("m5", "web", "cdg", group="coordinator"),
)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("db.internal", Name("any", "db")),
        ("global.db.internal", Name("any", "db")),
        ("cdg.db.internal", Name("region", "db", "cdg")),
        ("top1.nearest.of.db.internal", Name("nearest", "db", count=1)),
        ("148ed21.vm.db.internal", Name("machine", "db", "148ed21")),
        ("worker.process.web.internal", Name("process", "web", "worker")),
        ("gold.tier.kv._metadata.web.internal", Name("metadata", "web", "gold", "tier")),
        ("web.flycast", Name("flycast", "web")),
        ("Web.FLYCAST", Name("flycast", "web")),
        ("a.web.flycast", None),
        ("example.com", None),
        ("internal", None),
        ("paris.db.internal", None),
    ],
)
def test_a_name_says_what_it_selects(host: str, name: Name | None) -> None:
    assert parse_name(host) == name


@pytest.mark.parametrize(
    ("host", "asker", "machine"),
    [
        ("db.internal", "ord", "m2"),
        ("syd.db.internal", "cdg", "m3"),
        ("top1.nearest.of.db.internal", "syd", "m2"),
        ("top2.nearest.of.db.internal", "cdg", "m1"),
        ("m1.vm.db.internal", "syd", "m1"),
        ("coordinator.process.web.internal", "syd", "m5"),
        ("gold.tier.kv._metadata.web.internal", "cdg", "m4"),
        ("lhr.db.internal", "cdg", None),
        ("other.internal", "cdg", None),
    ],
)
def test_the_nearest_started_machine_that_matches_is_selected(
    host: str, asker: str, machine: str | None
) -> None:
    name = parse_name(host)
    assert name is not None
    row = select(name, ROWS, asker, distance)
    assert (row.machine_id if row else None) == machine


def test_the_port_of_the_primary_leads_there_whatever_the_name_selects() -> None:
    name = parse_name("ord.db.internal")
    assert name is not None
    row = select(name, ROWS, "ord", distance, primary=True)
    assert row is not None
    assert row.machine_id == "m1"


def test_values_are_rewritten_in_place_and_strangers_stay() -> None:
    addresses = {("db.internal", 5432): ("127.0.0.1", 4001), ("x.flycast", 80): ("127.0.0.1", 4002)}
    text = "postgres://u:p%40@db.internal:5432/d?host=db.internal:54321,http://x.flycast:80/a"
    assert rewrite(text, addresses) == (
        "postgres://u:p%40@127.0.0.1:4001/d?host=db.internal:54321,http://127.0.0.1:4002/a"
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("redis://c.internal:6379,c.internal:6379", [("c.internal", 6379)]),
        ("c.internal", []),
        ("c.internal:0 c.internal:65536 c.internal:123456", []),
        ("c.internal.example.com:80", []),
        ("db.internal:5432", [("db.internal", 5432)]),
        ("user:pw@my-db.internal:1", [("my-db.internal", 1)]),
    ],
)
def test_names_are_found_with_their_ports_once_each(
    text: str, names: list[tuple[str, int]]
) -> None:
    assert find_names(text) == names


@settings(max_examples=200)
@given(st.text())
def test_any_text_without_addresses_stays_as_it_is(text: str) -> None:
    assert rewrite(text, {}) == text
    assert all(parse_name(host) for host, _ in find_names(text))


@settings(max_examples=100)
@given(st.text(alphabet="ab-.:@/0159 internalflycast"), st.integers(1, 65_535))
def test_what_is_rewritten_names_nobody_any_more(around: str, port: int) -> None:
    text = f"{around} db.internal:{port} {around}"
    addresses = dict.fromkeys(find_names(text), ("127.0.0.1", 4001))
    assert find_names(rewrite(text, addresses)) == []
