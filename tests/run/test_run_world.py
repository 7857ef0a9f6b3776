"""Where a run takes place: targets and addresses, tokens, and worlds that do not answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from run_places import world_facts

from loadtest.errors import PlanError, WorldError
from loadtest.frozen import to_json
from loadtest.plan.model import Plan
from loadtest.plan.resolve import load_plan, resolve_plan
from loadtest.run import run_world as module
from loadtest.run.embedded_extras import (
    GONE_S,
    WORLD_TIMEOUT_S,
    WORLD_TOKEN_VARIABLE,
    EmbeddedExtras,
)
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import (
    FLY_TOKEN_VARIABLES,
    RunWorld,
    fly_place,
    open_place,
    world_spec,
)

KEYS = Secrets()
FLY = RunWorld("https://api.machines.dev", "t", None)


def small() -> tuple[Plan, RunDeployment]:
    plan = load_plan(None, {"regions": ["cdg", "scl"], "deployments": ["single", "single-mixed"]})
    return plan, orders_of(plan, "r1", KEYS)


def extras(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception) -> EmbeddedExtras:
    """Return the extra routes of a world that answers like this."""

    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    real = httpx.Client
    monkeypatch.setattr(
        httpx, "Client", lambda **k: real(**k, transport=httpx.MockTransport(handle))
    )
    return EmbeddedExtras("http://127.0.0.1:9", "t")


def test_on_fly_every_region_asks_the_apps_own_name() -> None:
    plan, orders = small()
    targets = FLY.targets(plan, orders, FLY.describe(plan))
    assert targets["cdg"]["single"].url == "https://recipes-single.fly.dev"
    assert list(targets["scl"]) == ["single", "single-mixed"]
    assert list(targets["cdg"]) == ["single"]


def test_embedded_every_region_asks_its_own_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    place = RunWorld("http://127.0.0.1:9", "t", extras(monkeypatch, httpx.Response(200, json={})))
    world = world_facts(edges={"scl": {"recipes-single": "http://127.0.0.1:7"}})
    assert place.app_url("recipes-single", "scl", world) == "http://127.0.0.1:7"
    with pytest.raises(WorldError, match=r"no edge for app 'recipes-single' in cdg.*http_service"):
        place.app_url("recipes-single", "cdg", world)


def test_embedded_over_tls_the_authority_of_the_world_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = RunWorld("http://127.0.0.1:9", "t", extras(monkeypatch, httpx.Response(200, json={})))
    plan, orders = small()
    plan = plan.model_copy(update={"scheme": "https"})
    apps = {app.name: f"https://127.0.0.1:{port}" for port, app in enumerate(orders.apps.values())}
    edges = {"cdg": apps, "scl": apps}
    world = world_facts(secure_edges=edges, authority="/world/authority.pem")
    target = place.targets(plan, orders, world)["scl"]["single"]
    assert (target.url, target.host, target.ca_file) == (
        apps["recipes-single"], "recipes-single.fly.dev", "/world/authority.pem"
    )  # fmt: skip


def test_a_deployment_with_a_url_is_asked_there() -> None:
    plan = resolve_plan(
        {
            "regions": ["cdg"],
            "primary_region": "cdg",
            "deployments": [{"name": "there", "url": "https://example.org/"}],
        }
    )
    targets = FLY.targets(plan, orders_of(plan, "r1", KEYS), FLY.describe(plan))
    assert targets["cdg"]["there"].url == "https://example.org"


def test_the_world_gets_the_plans_network_and_folders() -> None:
    plan, orders = small()
    spec = world_spec(plan, orders)
    assert spec.rtt_between_ms("cdg", "scl") == plan.rtt_between_ms("cdg", "scl")
    assert spec.primary_region == "cdg"
    assert set(spec.images) == {"loadtest"}


@pytest.mark.parametrize("key", ["schema", "regions", "links", "watch"])
def test_a_world_of_another_version_is_told_by_the_key(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = to_json(world_facts())
    told["other"] = told.pop(key)
    with pytest.raises(WorldError, match=rf"of another version: /world\.{key}: missing"):
        extras(monkeypatch, httpx.Response(200, json=told)).describe()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx.ConnectError("Connection refused"), "does not answer: Connection refused"),
        (httpx.ReadTimeout(""), "does not answer: ReadTimeout"),
        (httpx.Response(200, text="<html>"), "is not the Machines API of a world"),
        (httpx.Response(200, json=[]), "is not the Machines API of a world"),
        (httpx.Response(401, json={"error": "no token"}), "401: no token; set LOADTEST_WORLD_TOK"),
        (httpx.Response(500, text="oops"), "GET /world: HTTP 500: oops"),
    ],
    ids=["refused", "silent", "web page", "list", "token", "broken"],
)
def test_a_world_that_fails_is_told_in_a_sentence(
    answer: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorldError, match=sentence):
        extras(monkeypatch, answer).describe()


def test_a_missing_token_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (WORLD_TOKEN_VARIABLE, *FLY_TOKEN_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    plan, orders = small()
    with pytest.raises(PlanError, match=WORLD_TOKEN_VARIABLE):
        open_place(plan, orders, "http://127.0.0.1:9").__enter__()
    on_fly = plan.model_copy(update={"world": "fly"})
    with pytest.raises(PlanError, match="FLY_API_TOKEN or FLY_ACCESS_TOKEN"):
        open_place(on_fly, orders, "").__enter__()


def test_an_address_that_is_none_is_the_flags_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORLD_TOKEN_VARIABLE, "t")
    plan, orders = small()
    with pytest.raises(PlanError, match="--world: 'http://x:abc' is no URL: Invalid port"):
        open_place(plan, orders, "http://x:abc").__enter__()


def test_on_fly_the_token_and_the_address_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLY_API_TOKEN", "FlyV1 my-own")
    monkeypatch.setenv("FLY_FLAPS_BASE_URL", "http://_api.internal:4280")
    plan, orders = small()
    with open_place(plan.model_copy(update={"world": "fly"}), orders, "") as place:
        assert (place.api_url, place.token) == ("http://_api.internal:4280", "FlyV1 my-own")
        assert place.describe(plan).kind == "fly"
        assert place.app_url("shop", "cdg", place.describe(plan)) == "https://shop.fly.dev"
    assert "my-own" not in repr(place)


def test_a_world_that_plays_fly_tells_where_its_edges_are(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = {"cdg": {"shop": "http://127.0.0.1:7"}}
    told = extras(monkeypatch, httpx.Response(200, json=to_json(world_facts(edges=edges))))
    monkeypatch.setattr(module, "EmbeddedExtras", lambda *_, **__: told)
    monkeypatch.setenv("FLY_API_TOKEN", "t")
    monkeypatch.delenv("FLY_FLAPS_BASE_URL", raising=False)
    monkeypatch.setenv("FLY_API_HOSTNAME", "http://127.0.0.1:9")
    plan, _orders = small()
    with fly_place() as place:
        world = place.describe(plan)
        assert (world.kind, world.edges) == ("fly", edges)
        assert place.app_url("shop", "cdg", world) == "http://127.0.0.1:7"


def test_a_tunnel_to_flys_api_is_no_world(monkeypatch: pytest.MonkeyPatch) -> None:
    told = extras(monkeypatch, httpx.Response(404, json={"error": "no such route"}))
    monkeypatch.setattr(module, "EmbeddedExtras", lambda *_, **__: told)
    monkeypatch.setenv("FLY_API_TOKEN", "t")
    monkeypatch.setenv("FLY_FLAPS_BASE_URL", "http://localhost:4280")
    plan, _orders = small()
    with fly_place() as place:
        assert place.app_url("shop", "cdg", place.describe(plan)) == "https://shop.fly.dev"


def test_a_world_that_stands_still_is_not_waited_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a run whose world was stopped would end minutes after its load."""
    still = extras(monkeypatch, httpx.ReadTimeout("timed out"))
    asked: list[float] = []
    real = still._http.request
    monkeypatch.setattr(
        still._http,
        "request",
        lambda *a, **k: asked.append(still._http.timeout.read or 0) or real(*a, **k),
    )
    with pytest.raises(WorldError, match="does not answer"):
        RunWorld("http://127.0.0.1:9", "t", still).still_there()
    with pytest.raises(WorldError, match="does not answer"):
        still.counters()
    assert asked == [GONE_S, GONE_S]


def test_a_world_that_answers_in_a_hurry_has_its_time_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fine = extras(monkeypatch, httpx.Response(200, json=to_json(world_facts())))
    RunWorld("http://127.0.0.1:9", "t", fine).still_there()
    assert fine._http.timeout.read == WORLD_TIMEOUT_S
