"""Machines of one's own: whose coordinator is talked to, and what a plan may ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from loadtest.errors import EngineError, PlanError
from loadtest.plan.resolve import resolve_plan, url_plan
from loadtest.records.load_status import CoordinatorStatus, PresentWorker
from loadtest.run import own_machines as module
from loadtest.run.own_machines import (
    OwnCoordinator,
    find_coordinator,
    regions_there,
    spare_workers,
)
from loadtest.run.run_deployment import orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import open_place
from loadtest.versions import versions_of

OURS = versions_of(("loadtest",))["loadtest"]
TOKEN = {"LOADTEST_TOKEN": "t"}
OWN = {"world": "own", "regions": ["cdg", "syd"]}


class Standing:
    """A coordinator that tells this."""

    def __init__(self, *regions: str, version: str = OURS, **refused: str) -> None:
        workers = tuple(PresentWorker(f"w{n}", r, "idle") for n, r in enumerate(regions))
        self.told = CoordinatorStatus(version, workers, refused, None)

    def present(self) -> CoordinatorStatus:
        return self.told


def standing(monkeypatch: pytest.MonkeyPatch, coordinator: Standing) -> OwnCoordinator:
    @contextmanager
    def connect(*_: Any, **__: Any) -> Iterator[Standing]:
        yield coordinator

    monkeypatch.setattr(module, "connect", connect)
    return OwnCoordinator("https://lt.example", "t")


@pytest.mark.parametrize(
    "url", ["https://lt.example/", "http://127.0.0.1:8089", "http://localhost:1", "http://[::1]:9"]
)
def test_a_coordinator_is_reached_by_https_or_on_this_machine(url: str) -> None:
    assert find_coordinator(url, None, TOKEN) == OwnCoordinator(url.rstrip("/"), "t")


@pytest.mark.parametrize(
    ("url", "more", "told"),
    [
        ("http://lt.example", {}, "would get the token unencrypted"),
        ("http://10.0.0.1:8089", {}, "would get the token unencrypted"),
        ("lt.example:8089", {}, "--coordinator: .* is not http"),
        ("https://lt.example/v1", {}, "did you mean 'https://lt.example'"),
        ("https://lt.example", {"LOADTEST_COORDINATOR_CA": "/no/ca"}, "there is no file '/no/ca'"),
    ],
)
def test_what_is_no_way_to_a_coordinator_is_refused(
    url: str, more: dict[str, str], told: str
) -> None:
    with pytest.raises(PlanError, match=told):
        find_coordinator(url, None, {**TOKEN, **more})


def test_the_token_is_in_no_words_of_it() -> None:
    assert "secret" not in repr(OwnCoordinator("https://lt.example", "secret"))


def test_regions_are_those_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    own = standing(monkeypatch, Standing("syd", "cdg", "syd"))
    assert regions_there(own) == ["cdg", "syd"]


@pytest.mark.parametrize(
    ("coordinator", "told"),
    [
        (Standing("syd", version="0.0.9"), f"runs loadtest 0.0.9, this is {OURS}: use one version"),
        (Standing(), "has no workers; start them: loadtest worker"),
        (Standing(w9="(syd) runs another"), "has no workers: w9 .syd. runs another; start them"),
    ],
)
def test_a_coordinator_that_cannot_measure_is_told(
    monkeypatch: pytest.MonkeyPatch, coordinator: Standing, told: str
) -> None:
    own = standing(monkeypatch, coordinator)
    with pytest.raises(EngineError, match=told):
        regions_there(own)


def test_a_worker_too_many_is_named() -> None:
    plan = url_plan(["https://shop.example"], "", OWN)
    there: Any = Standing("cdg", "syd", "syd", "ord", "ord")
    (note,) = spare_workers(there, plan)
    assert note.startswith("syd has 2 workers and the plan takes 1 of them")
    assert note.endswith("w2 stands by")


def test_a_url_is_measured_from_the_regions() -> None:
    plan = url_plan(["https://shop.example/tea"], "", OWN)
    assert (plan.world, plan.regions, plan.primary_region) == ("own", ("cdg", "syd"), "cdg")


@pytest.mark.parametrize(
    ("flags", "at", "told"),
    [
        ({"world": "own"}, "", "--regions: name the regions"),
        (OWN, "cdg", "no distance is emulated between machines of your own"),
        ({**OWN, "regions": ["here"]}, "", "'here' is this machine"),
        ({**OWN, "client.certificate": "mine.pem"}, "", "not on those of the workers"),
    ],
)
def test_what_machines_of_ones_own_cannot_do_is_refused(
    flags: dict[str, Any], at: str, told: str
) -> None:
    with pytest.raises(PlanError, match=told):
        url_plan(["https://shop.example"], at, flags)


def test_nothing_is_deployed_to_them() -> None:
    raw = {
        "regions": ["cdg"],
        "primary_region": "cdg",
        "world": "own",
        "deployments": [{"name": "shop", "fly_toml": "fly/recipes-multi/fly.toml"}],
        "companions": [{"name": "cache", "fly_toml": "fly/redis/fly.toml"}],
        "faults": [{"what": "cut cdg-syd", "at_s": 1, "for_s": 1}],
    }
    with pytest.raises(PlanError) as caught:
        resolve_plan(raw)
    told = "\n".join(caught.value.faults)
    assert "deployments.shop: machines of your own deploy nothing" in told
    assert "companions.cache: machines of your own deploy nothing" in told
    assert "faults: the network of your machines is not ours to bend" in told


def test_a_plan_for_them_says_where_their_coordinator_is() -> None:
    plan = url_plan(["https://shop.example"], "", OWN)
    orders = orders_of(plan, "r1", Secrets())
    with pytest.raises(PlanError, match="--coordinator URL"), open_place(plan, orders, ""):
        pass
