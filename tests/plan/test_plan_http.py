"""What is spoken to a deployment: the plan's word, a deployment's own, and what no edge speaks."""

from __future__ import annotations

import pytest

from loadtest.errors import PlanError
from loadtest.plan.resolve import resolve_plan
from loadtest.regions import HERE

RAW = {
    "regions": [HERE],
    "primary_region": HERE,
    "http": "1.1",
    "base": "0",
    "deployments": [
        {"name": "one", "url": "https://shop.example"},
        {"name": "two", "url": "https://shop.example", "http": "2"},
        {"name": "three", "of": "two", "url": "https://shop.example"},
    ],
}


def test_arms_of_one_url_may_differ_by_what_is_spoken() -> None:
    plan = resolve_plan(RAW)
    assert [plan.http_of(d) for d in plan.deployments] == ["1.1", "2", "2"]


def test_what_is_not_spoken_is_refused_before_anything_starts() -> None:
    """An unknown version, and HTTP/2 to an edge of the embedded world, which speaks 1.1."""
    with pytest.raises(PlanError, match=r"deployments.0.http: '3' is not allowed"):
        resolve_plan({**RAW, "deployments": [{**RAW["deployments"][0], "http": "3"}]})  # type: ignore[index, dict-item]
    app = {"name": "app", "fly_toml": "fly/recipes-single/fly.toml", "http": "2"}
    regions = {"regions": ["cdg"], "primary_region": "cdg"}
    with pytest.raises(PlanError, match=r"deployments.app.http: '2' is not allowed: the edges"):
        resolve_plan({**RAW, **regions, "deployments": [app]})
