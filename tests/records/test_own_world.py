"""The account of machines of one's own says what they cannot tell, and nothing that they cannot."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.errors import RecordsError
from loadtest.frozen import to_json
from loadtest.plan.resolve import url_plan
from loadtest.records.world_facts import OrderFacts, read_world
from loadtest.run.own_machines import CANNOT_TELL, OwnCoordinator
from loadtest.run.run_world import RunWorld


@pytest.fixture
def told() -> dict[str, Any]:
    """What a run with such machines writes of them."""
    own = OwnCoordinator("https://lt.example", "secret")
    plan = url_plan(["https://shop.example"], "", {"world": "own", "regions": ["cdg", "syd"]})
    content: dict[str, Any] = to_json(RunWorld(own.url, own.token, None, own=own).describe(plan))
    return {**content, "run": to_json(OrderFacts("r1", ""))}


def test_it_says_that_links_counts_cost_and_places_are_unknown(told: dict[str, Any]) -> None:
    world = read_world(told)
    assert (world.kind, world.api, world.links, world.cost) == (
        "own",
        "https://lt.example",
        (),
        None,
    )
    assert told["watch"]["cannot_tell"] == CANNOT_TELL
    assert all(word in CANNOT_TELL for word in ("link", "count", "cost", "region"))
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("watch", None, "does not say what machines of your own cannot tell"),
        ("watch", {"schema": 2, "cannot_tell": " "}, "does not say what"),
        ("counters", {"before": {"links": [], "edges": []}, "after": {"links": [], "edges": []},
                      "segments": []}, "counters: told"),
        ("edges", {}, "edges: told"),
        ("machines", [], "machines: told"),
        ("cost", {"prices_of": "2026-01-01", "budget_usd": 0, "machine_seconds": 0, "usd": 0,
                  "machines": []}, "cost: told"),
        ("links", [{"from": "cdg", "to": "syd", "configured_rtt_ms": 1, "n": 0, "ok": True,
                    "measured_rtt_p50_ms": None, "measured_rtt_p95_ms": None}], "links: told"),
        ("kind", "mine", "'mine' is not one of embedded, fly, own"),
    ],
)  # fmt: skip
def test_what_they_cannot_know_is_never_taken_as_known(
    told: dict[str, Any], key: str, value: Any, words: str
) -> None:
    with pytest.raises(RecordsError, match=words):
        read_world({**told, key: value})
