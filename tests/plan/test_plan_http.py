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
    """An unknown version, HTTP/2 without TLS to an edge, plain HTTP on Fly, a url's scheme."""
    with pytest.raises(PlanError, match=r"deployments.0.http: '3' is not allowed"):
        resolve_plan({**RAW, "deployments": [{**RAW["deployments"][0], "http": "3"}]})  # type: ignore[dict-item]
    app = {"name": "app", "fly_toml": "fly/recipes-single/fly.toml", "http": "2"}
    regions = {"regions": ["cdg"], "primary_region": "cdg"}
    with pytest.raises(PlanError, match=r"deployments.app.scheme: 'http' is not allowed with http"):
        resolve_plan({**RAW, **regions, "deployments": [{**app, "scheme": "http"}]})
    plain = {**app, "http": "1.1", "scheme": "http"}
    with pytest.raises(PlanError, match=r"deployments.app.scheme: 'http' is not allowed on Fly"):
        resolve_plan({**RAW, **regions, "world": "fly", "deployments": [plain]})
    url = {"name": "one", "url": "https://shop.example", "scheme": "https"}
    with pytest.raises(PlanError, match=r"deployments.one.scheme: is for an app that is deployed"):
        resolve_plan({**RAW, "deployments": [url]})


@pytest.mark.parametrize(
    ("plan", "deployment", "expected"),
    [
        ({}, {}, "http"),
        ({}, {"http": "2"}, "https"),
        ({"http": "2"}, {"http": "1.1"}, "http"),
        ({"scheme": "https"}, {}, "https"),
        ({"scheme": "https"}, {"scheme": "http"}, "http"),
        ({"world": "fly"}, {}, "https"),
    ],
)
def test_an_app_is_called_over_tls_where_plan_or_protocol_wants_it(
    plan: dict[str, str], deployment: dict[str, str], expected: str
) -> None:
    app = {"name": "app", "fly_toml": "fly/recipes-single/fly.toml", **deployment}
    regions = {"regions": ["cdg"], "primary_region": "cdg", "base": "0"}
    resolved = resolve_plan({**regions, **plan, "deployments": [app]})
    assert resolved.scheme_of(resolved.deployment("app")) == expected
