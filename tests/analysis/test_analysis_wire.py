"""Database round trips that the links counted, for apps that do not report their own."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis.wire import databases_passed_by, round_trips_on_the_wire
from loadtest.records.world_facts import (
    CountersFacts,
    EdgeCounts,
    LinkCounts,
    MachineFacts,
    SegmentCounts,
    WorldCounts,
    WorldFacts,
)

NONE = WorldCounts((), ())


def link(region: str, flights: int, connections: int = 0, target: str = "db") -> LinkCounts:
    return LinkCounts(
        f"m-{region}", "shop", region, f"{target}:5432", target, flights, 0, 0, connections
    )


def edge(region: str, requests: int, **served: int) -> EdgeCounts:
    return EdgeCounts(region, "shop", requests, 0, 0, 0, served)


def world(
    before: WorldCounts,
    after: WorldCounts,
    *segments: SegmentCounts,
    database: str = "db",
    layer: str = "relay",
) -> WorldFacts:
    facts = SimpleNamespace(
        apps={"multi": "shop"},
        database=database,
        link_layer=layer,
        counters=CountersFacts(before, after, segments),
    )
    return cast(WorldFacts, facts)


def test_each_region_has_what_its_own_machines_spent() -> None:
    after = WorldCounts(
        (link("cdg", 200), link("ord", 90, 10), link("ord", 999, target="cache")),
        (edge("cdg", 100, cdg=100), edge("ord", 100, ord=100)),
    )
    assert round_trips_on_the_wire(world(NONE, after)) == {
        ("multi", "cdg"): 2.0,
        ("multi", "ord"): 1.0,
    }


def test_machines_in_one_region_serve_all_alike() -> None:
    after = WorldCounts((link("cdg", 500),), (edge("cdg", 100, cdg=100), edge("ord", 150, cdg=150)))
    assert set(round_trips_on_the_wire(world(NONE, after)).values()) == {2.0}


def test_what_spilled_over_is_counted_where_it_was_asked() -> None:
    """Ten of Chicago's requests went to Paris; a page costs two round trips wherever it runs."""
    after = WorldCounts(
        (link("cdg", 220), link("ord", 180)),
        (edge("cdg", 100, cdg=100), edge("ord", 100, ord=90, cdg=10)),
    )
    assert set(round_trips_on_the_wire(world(NONE, after)).values()) == {2.0}


def test_a_replayed_request_costs_what_both_machines_spent() -> None:
    after = WorldCounts(
        (link("cdg", 300), link("ord", 0)),
        (edge("cdg", 100, cdg=100), edge("ord", 50, ord=50, cdg=50)),
    )
    assert round_trips_on_the_wire(world(NONE, after)) == {
        ("multi", "cdg"): 2.0,
        ("multi", "ord"): 2.0,
    }


def test_what_a_pilot_did_is_left_out_where_segments_were_counted() -> None:
    start = WorldCounts((link("cdg", 60, 20),), (edge("cdg", 40, cdg=40),))
    end = WorldCounts((link("cdg", 160, 20),), (edge("cdg", 140, cdg=140),))
    later = WorldCounts((link("cdg", 170, 20),), (edge("cdg", 140, cdg=140),))
    last = WorldCounts((link("cdg", 370, 20),), (edge("cdg", 240, cdg=240),))
    segments = (SegmentCounts(start, end), SegmentCounts(later, last))
    assert round_trips_on_the_wire(world(NONE, last, *segments)) == {("multi", "cdg"): 1.5}
    assert round_trips_on_the_wire(world(NONE, last)) == {("multi", "cdg"): 1.625}


def test_where_it_cannot_be_shared_out_every_region_has_the_mean() -> None:
    """A machine works though nobody asks it."""
    edges = (edge("cdg", 100, cdg=100), edge("ord", 100, cdg=100))
    after = WorldCounts((link("cdg", 300), link("ord", 100)), edges)
    assert set(round_trips_on_the_wire(world(NONE, after)).values()) == {2.0}


def test_who_served_nothing_or_has_no_database_has_no_count() -> None:
    asked = WorldCounts((), (edge("cdg", 9, cdg=9),))
    for layer in ("relay", "hosts"):
        none = world(NONE, WorldCounts((link("cdg", 3),), ()), layer=layer)
        assert round_trips_on_the_wire(none) == {}
        assert round_trips_on_the_wire(world(NONE, asked, layer=layer, database="")) == {}


def test_an_app_that_never_opens_its_database_spends_nothing_where_nothing_passes_links_by() -> (
    None
):
    asked = WorldCounts((link("cdg", 9, target="cache"),), (edge("cdg", 9, cdg=9),))
    assert round_trips_on_the_wire(world(NONE, asked, layer="hosts")) == {("multi", "cdg"): 0.0}
    assert round_trips_on_the_wire(world(NONE, asked, layer="relay")) == {}


@given(
    st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(
        lambda n: min(sum(n[:2]), sum(n[2:])) > 0
    ),
    st.tuples(st.integers(0, 500), st.integers(0, 500)),
)
def test_no_round_trip_is_lost_or_made_up(ways: list[int], spent: tuple[int, int]) -> None:
    """Weighted by its requests, the cells add up to what the links counted."""
    asked = (ways[0] + ways[1], ways[2] + ways[3])
    after = WorldCounts(
        (link("cdg", spent[0]), link("ord", spent[1])),
        (
            edge("cdg", asked[0], cdg=ways[0], ord=ways[1]),
            edge("ord", asked[1], cdg=ways[2], ord=ways[3]),
        ),
    )
    found = round_trips_on_the_wire(world(NONE, after))
    total = found["multi", "cdg"] * asked[0] + found["multi", "ord"] * asked[1]
    assert total == pytest.approx(sum(spent), abs=0.001 * sum(asked))


def _beside(layer: str, *links: LinkCounts) -> WorldFacts:
    """Return a world with a primary in cdg and replicas in ord and syd."""
    facts = world(NONE, WorldCounts(links, ()), layer=layer)
    facts.primary_region = "cdg"  # type: ignore[misc]
    facts.machines = tuple(  # type: ignore[misc]
        MachineFacts(region, region, "db", region, "app", "started", 1, {})
        for region in ("cdg", "ord", "syd")
    )
    return facts


def _dialled(region: str, target: str, flights: int) -> LinkCounts:
    return LinkCounts(f"m-{region}", "shop", region, target, "db", flights, 0, 0, 0)


def test_an_app_that_never_asks_its_own_replica_is_told_of_in_relays() -> None:
    links = (
        _dialled("cdg", "db.internal:5432", 50),
        _dialled("ord", "db.internal:5432", 50),
        _dialled("syd", "db.internal:5432", 5),
        _dialled("syd", "syd.db.internal:5433", 50),
    )
    (sentence,) = databases_passed_by(_beside("relay", *links))
    assert sentence.startswith("shop: its machines in ord asked the database in cdg and never")
    assert not databases_passed_by(_beside("hosts", *links))


@pytest.mark.parametrize(
    "replica", ["ord.db.internal:5432", "db.internal:5433", "top1.nearest.of.db.internal:5433"]
)
def test_an_app_that_asks_its_own_replica_by_any_name_is_not(replica: str) -> None:
    links = (_dialled("ord", "db.internal:5432", 9), _dialled("ord", replica, 1))
    assert databases_passed_by(_beside("relay", *links)) == ()


@pytest.mark.parametrize("port", [5432, 6432])
def test_a_replica_that_follows_its_primary_passes_nobody_by(port: int) -> None:
    followed = replace(_dialled("ord", "db.internal:5432", 9), app="db")
    assert databases_passed_by(_beside("relay", followed)) == ()
    (sentence,) = databases_passed_by(
        _beside("relay", followed, _dialled("ord", f"db.internal:{port}", 9))
    )
    assert sentence.startswith("shop: ")
