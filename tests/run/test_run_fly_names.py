"""Names of a run's apps on Fly: an organization's own, remembered, and only ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.fly.orders import placements
from loadtest.plan.resolve import load_plan
from loadtest.run.fly_names import (
    FlyNames,
    app_names,
    config_folder,
    named_for_fly,
    names_of,
    org_of,
    random_word,
    remembered_prefix,
    with_hosts,
)
from loadtest.run.run_deployment import RunDeployment, orders_of
from loadtest.run.run_secrets import Secrets

IMAGE = "registry.fly.io/mine:v1"


def ordered(**keys: Any) -> RunDeployment:
    plan = load_plan().model_copy(update={"world": "fly", **keys})
    return orders_of(plan, "r1", Secrets(database="p"), image=IMAGE)


def named(use_apps: tuple[str, ...] = ()) -> RunDeployment:
    return named_for_fly(ordered(), FlyNames("acme", "acme-kobalu", use_apps))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FLY_ORG", raising=False)
    return tmp_path


def test_every_app_is_the_organizations_own_and_marked_as_a_runs() -> None:
    orders = named()
    assert app_names(orders)[0] == "acme-kobalu-recipes-db"
    assert orders.generator.name == "acme-kobalu-loadtest"
    assert orders.apps["single"].name == "acme-kobalu-recipes-single"
    assert orders.database is not None
    for order in (orders.database, orders.generator, *orders.apps.values()):
        assert (order.org, order.mark, order.adopt) == ("acme", True, False)


def test_private_names_of_other_apps_follow() -> None:
    orders = named()
    worker = next(p for p in placements(orders.generator) if p.config.group == "worker")
    told = worker.config.env["COORDINATOR"]
    assert told == "coordinator.process.acme-kobalu-loadtest.internal:5557"
    assert (
        "@cdg.acme-kobalu-recipes-db.internal:5433/"
        in orders.apps["single"].secrets["DATABASE_URL"]
    )


@given(st.text(alphabet="ab-.:", max_size=12))
def test_only_whole_host_names_are_renamed(around: str) -> None:
    whole = {"db": "p-db", "db-2": "p-db-2"}
    assert with_hosts(f"x{around}db.example.org", whole) == f"x{around}db.example.org"
    assert with_hosts("a.db-2.internal:1,db.flycast", whole) == "a.p-db-2.internal:1,p-db.flycast"
    assert with_hosts("my-db.internal", whole) == "my-db.internal"


def test_an_app_that_is_named_to_be_used_keeps_its_name_and_is_deployed_to() -> None:
    orders = named(("recipes-single", "acme-kobalu-recipes-multi"))
    assert orders.apps["single"].name == "recipes-single"
    assert orders.apps["single"].adopt
    assert orders.apps["multi"].name == "acme-kobalu-recipes-multi"
    assert orders.apps["multi"].adopt
    assert not orders.generator.adopt


def test_an_app_to_use_that_the_plan_does_not_deploy_is_a_fault() -> None:
    with pytest.raises(PlanError, match=r"--use-app: the plan deploys no app 'shop'; it deploys"):
        named(("shop",))


def test_a_name_that_is_no_host_name_is_a_fault() -> None:
    with pytest.raises(PlanError, match=r"--prefix: 'p+' makes the app name .* allowed are 62"):
        FlyNames("acme", "p" * 31).app("n" * 31)


def test_a_prefix_is_made_once_for_an_organization_and_kept(home: Path) -> None:
    first = remembered_prefix("acme", home / "loadtest")
    assert re.fullmatch(r"acme-[a-z]{6}", first)
    assert remembered_prefix("acme", home / "loadtest") == first
    assert remembered_prefix("personal", home / "loadtest").startswith("personal-")
    kept = json.loads((home / "loadtest" / "fly-prefixes.json").read_text())
    assert kept["acme"] == first


@pytest.mark.parametrize("content", ["", "[]", '{"acme": 1}', '{"acme": "No Name"}'])
def test_a_broken_memory_is_made_anew(home: Path, content: str) -> None:
    (home / "fly-prefixes.json").write_text(content)
    first = remembered_prefix("acme", home)
    assert remembered_prefix("acme", home) == first


def test_a_folder_that_cannot_be_written_costs_the_memory_only(home: Path) -> None:
    (home / "file").write_text("")
    assert remembered_prefix("acme", home / "file").startswith("acme-")


def test_a_long_organization_leaves_room_for_the_names() -> None:
    assert len(FlyNames("o" * 60, remembered_prefix("o" * 60, config_folder())).app("x")) < 31


def test_words_differ() -> None:
    assert len({random_word() for _ in range(50)}) > 45


def test_the_organization_is_the_flags_then_the_plans_then_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert org_of("") == "personal"
    monkeypatch.setenv("FLY_ORG", "theirs")
    assert org_of("") == "theirs"
    plan = load_plan(None, {"org": "ours", "prefix": "mine"})
    assert names_of(plan) == FlyNames("ours", "mine")
    monkeypatch.setenv("FLY_ORG", "Not A Slug")
    with pytest.raises(PlanError, match=r"FLY_ORG: 'Not A Slug' is no slug"):
        org_of("")
    with pytest.raises(PlanError, match="org"):
        load_plan(None, {"org": "Not A Slug"})
