"""What runs have left in an organization is found by its marks, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_world as small

from loadtest.errors import PlanError, WorldError
from loadtest.fly.orders import AppOrder
from loadtest.run.leftovers import FlyStatus, destroy, look
from loadtest.world.handle import WorldHandle, start_world

pytestmark = pytest.mark.contract


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    small.write_app(tmp_path)
    with start_world(small.spec(tmp_path)) as handle:
        monkeypatch.setenv("FLY_FLAPS_BASE_URL", handle.api_url)
        monkeypatch.setenv("FLY_API_TOKEN", handle.token)
        monkeypatch.setenv("FLY_ORG", "acme")
        headers = {"authorization": f"Bearer {handle.token}"}
        with httpx.Client(base_url=handle.api_url, headers=headers, trust_env=False) as client:
            populate(handle, client)
            yield client


def left_by(run_id: str, app: str, **more: Any) -> AppOrder:
    return small.order(app=app, run_id=run_id, org="acme", mark=True, public=False, **more)


def populate(handle: WorldHandle, client: httpx.Client) -> None:
    """Leave what two runs, a person and another organization have made."""

    def make(order: AppOrder) -> None:
        small.with_client(handle.api_url, handle.token, lambda c: small.deploy(c, order, set()))

    make(left_by("r1", "acme-a-shop"))
    make(left_by("r2", "acme-b-shop", regions=("cdg",)))
    client.post("/v1/apps", json={"name": "theirs", "org_slug": "acme"}).raise_for_status()
    make(left_by("r2", "theirs", regions=("ord",)))
    client.post("/v1/apps", json={"name": "live", "org_slug": "acme"}).raise_for_status()
    for app in ("theirs", "live"):
        body = {
            "region": "cdg",
            "config": {"image": "hello:local", "init": {"cmd": ["sleep", "99"]}},
        }
        client.post(f"/v1/apps/{app}/machines", json=body).raise_for_status()
    make(small.order(app="elsewhere", run_id="r9", org="other", regions=("cdg",), public=False))


def machines(client: httpx.Client) -> dict[str, int]:
    answers = [client.get(f"/v1/apps?org_slug={org}").json() for org in ("acme", "other")]
    return {app["name"]: app["machine_count"] for answer in answers for app in answer["apps"]}


def test_what_runs_left_is_shown_by_run_and_place(calls: httpx.Client) -> None:
    found = look("")
    assert [(row[0], row[1], row[2], row[4], row[5]) for row in found.rows] == [
        ("acme-a-shop", "r1", "cdg", "1", "started"),
        ("acme-a-shop", "r1", "ord", "1", "started"),
        ("acme-b-shop", "r2", "cdg", "1", "started"),
        ("theirs", "r2", "ord", "1", "started"),
    ]
    assert found.sentence.startswith("organization acme: 4 machines of runs, $0.0")
    assert found.sentence.endswith("2 apps that runs made")
    assert look("nobody").sentence == "organization nobody: no run has left anything"


def test_all_of_it_goes_and_nothing_else(calls: httpx.Client) -> None:
    told = destroy(look("acme"))
    assert told == "destroyed 4 machines and 2 apps; listed again: nothing of them is left"
    assert machines(calls) == {"theirs": 1, "live": 1, "elsewhere": 1}
    assert look("acme").leftovers == ()


def test_one_run_can_be_named(calls: httpx.Client) -> None:
    destroy(look("acme", "r2"))
    assert machines(calls) == {"acme-a-shop": 2, "theirs": 1, "live": 1, "elsewhere": 1}


def test_what_cannot_go_keeps_no_other_and_is_told(calls: httpx.Client) -> None:
    held, _other = calls.get("/v1/apps/acme-a-shop/machines").json()
    nonce = calls.post(f"/v1/apps/acme-a-shop/machines/{held['id']}/lease?ttl=600").json()
    with pytest.raises(WorldError, match=r"^1 of 4 machines are left.*\n.* 409: .*lease"):
        destroy(look("acme"))
    assert machines(calls) == {"acme-a-shop": 1, "theirs": 1, "live": 1, "elsewhere": 1}
    calls.delete(
        f"/v1/apps/acme-a-shop/machines/{held['id']}/lease",
        headers={"fly-machine-lease-nonce": nonce["data"]["nonce"]},
    )
    destroy(look("acme"))
    assert machines(calls) == {"theirs": 1, "live": 1, "elsewhere": 1}


def test_an_empty_app_that_a_run_made_goes_too(calls: httpx.Client) -> None:
    (machine,) = calls.get("/v1/apps/acme-b-shop/machines").json()
    calls.delete(f"/v1/apps/acme-b-shop/machines/{machine['id']}?force=true")
    assert ("acme-b-shop", "", "", "", "none", "", "", "") in look("acme").rows
    destroy(look("acme"))
    assert "acme-b-shop" not in machines(calls)


def test_a_slug_that_is_none_is_refused(calls: httpx.Client) -> None:
    with pytest.raises(PlanError, match="slug"):
        look("No Slug")


def test_an_app_of_a_run_that_was_killed_before_it_marked_it_goes_by_its_name(
    calls: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names with the prefix that was made for us are ours; an empty app of another name is not."""
    for name in ("acme-gudepi-loadtest", "acme-mine"):
        calls.post("/v1/apps", json={"name": name, "org_slug": "acme"}).raise_for_status()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert "acme-gudepi-loadtest" not in {found.app for found in look("").leftovers}
    folder = tmp_path / "config" / "loadtest"
    folder.mkdir(parents=True)
    (folder / "fly-prefixes.json").write_text('{"acme": "acme-gudepi"}')
    found = look("")
    assert {leftover.app: leftover.made for leftover in found.leftovers}["acme-gudepi-loadtest"]
    destroy(found)
    assert machines(calls) == {"theirs": 1, "live": 1, "elsewhere": 1, "acme-mine": 0}


def test_what_could_not_be_looked_at_is_not_nothing() -> None:
    assert FlyStatus("acme", ()).sentence == "organization acme: no run has left anything"
    assert FlyStatus("acme", (), ("app a: 500",)).sentence == (
        "organization acme: no run has left anything in the others; 1 could not be looked at"
    )
