"""Calls of the Machines API that few make: what flyctl and operators do to one machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
import small_world as small

from loadtest.world.handle import WorldHandle, start_world

pytestmark = pytest.mark.contract

SLEEP = "import time; print('here', flush=True); time.sleep(60)"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldHandle]:
    folder = tmp_path_factory.mktemp("image")
    small.write_app(folder)
    with start_world(small.spec(folder, full_regions=["ord"], paid_regions=["cdg"])) as handle:
        yield handle


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldHandle]:
    folder = tmp_path_factory.mktemp("image")
    small.write_app(folder)
    with start_world(small.spec(folder)) as handle:
        yield handle


@pytest.fixture
def http(roomy: WorldHandle) -> Iterator[httpx.Client]:
    with client_of(roomy) as client:
        client.post("/v1/apps", json={"name": "a", "org_slug": "personal"}).raise_for_status()
        yield client
        client.delete("/v1/apps/a?force=true")


def client_of(world: WorldHandle) -> httpx.Client:
    headers = {"authorization": f"Bearer {world.token}"}
    return httpx.Client(base_url=world.api_url, headers=headers, trust_env=False)


def started(http: httpx.Client, **more: Any) -> str:
    """Return the path of a machine that runs."""
    config = {"image": "hello:local", "init": {"cmd": ["python", "-c", SLEEP]}, **more}
    machine = http.post("/v1/apps/a/machines", json={"config": config}).json()
    path = f"/v1/apps/a/machines/{machine['id']}"
    assert http.get(f"{path}/wait?timeout=10").status_code == 200
    return path


def state_of(http: httpx.Client, path: str) -> str:
    return str(http.get(path).json()["state"])


def test_a_command_runs_beside_the_program(http: httpx.Client) -> None:
    path = started(http, env={"MOOD": "good"})
    words = ["sh", "-c", "read line; echo $MOOD $line; echo oops >&2; exit 3"]
    told = http.post(f"{path}/exec", json={"command": words, "stdin": "day\n"}).json()
    assert told == {"exit_code": 3, "exit_signal": 0, "stdout": "good day\n", "stderr": "oops\n"}
    killed = http.post(f"{path}/exec", json={"cmd": "sh -c 'kill -9 $$'"}).json()
    assert (killed["exit_code"], killed["exit_signal"]) == (137, 9)
    late = http.post(f"{path}/exec", json={"command": ["sleep", "30"], "timeout": 1})
    assert late.status_code == 408
    for wrong in ({}, {"cmd": "'"}, {"command": ["true"], "timeout": 90}):
        assert http.post(f"{path}/exec", json=wrong).status_code == 400


def test_processes_are_those_of_the_program_and_below(http: httpx.Client) -> None:
    path = started(http)
    (process,) = http.get(f"{path}/ps").json()
    assert SLEEP in process["command"]
    assert process["rss"] > 1_000_000
    http.post(f"{path}/stop", json={"signal": "SIGKILL"})
    http.get(f"{path}/wait?state=stopped")
    assert http.get(f"{path}/ps").status_code == 412
    assert http.post(f"{path}/exec", json={"command": ["true"]}).status_code == 412


def test_a_suspended_machine_stands_still_until_it_is_started(http: httpx.Client) -> None:
    path = started(http)
    (process,) = http.get(f"{path}/ps").json()
    assert http.post(f"{path}/suspend").json() == {"ok": True}
    assert http.get(f"{path}/wait?state=suspended&timeout=10").status_code == 200
    assert http.post(f"{path}/suspend").status_code == 412
    assert http.get(f"{path}/wait?state=settled&timeout=1").json()["state"] == "suspended"
    assert http.post(f"{path}/start").json()["previous_state"] == "suspended"
    assert state_of(http, path) == "started"
    assert http.get(f"{path}/ps").json()[0]["pid"] == process["pid"]
    http.post(f"{path}/suspend")
    http.get(f"{path}/wait?state=suspended&timeout=10")
    assert http.delete(path).json() == {"ok": True}


def test_metadata_is_changed_by_key_or_together(http: httpx.Client) -> None:
    path = started(http, metadata={"a": "1", "b": "2"})
    version = http.get(path).json()["version"]
    stale = {"metadata": {"a": "9"}, "machine_version": "x"}
    assert http.patch(f"{path}/metadata", json=stale).status_code == 412
    change = {"metadata": {"a": None, "b": "", "c": "3"}, "machine_version": version}
    assert http.patch(f"{path}/metadata", json=change).status_code == 204
    assert http.put(f"{path}/metadata", json={"metadata": {"d": "4"}}).status_code == 204
    assert http.get(f"{path}/metadata").json() == {"c": "3", "d": "4"}
    assert http.get(f"{path}/metadata/c").json() == {"value": "3"}
    assert http.get(f"{path}/metadata/a").status_code == 404
    assert http.post(f"{path}/metadata/e", json={"value": "5"}).status_code == 204
    assert http.delete(f"{path}/metadata/c").status_code == 204
    assert http.get(f"{path}/metadata").json() == {"d": "4", "e": "5"}
    assert http.patch(f"{path}/metadata", json={"metadata": {"d": 4}}).status_code == 400
    assert http.get(path).json()["version"] == version


def test_an_update_of_a_version_that_is_not_current_is_refused(http: httpx.Client) -> None:
    path = started(http)
    config = http.get(path).json()["config"]
    assert config["guest"] == {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}  # Fly's smallest
    stale = http.post(path, json={"config": config, "current_version": "01X"})
    assert stale.status_code == 409
    version = http.get(path).json()["version"]
    fresh = http.post(path, json={"config": config, "current_version": version})
    assert fresh.json()["version"] != version


def test_a_lease_lasts_as_long_as_it_was_asked_for(http: httpx.Client) -> None:
    config = {"image": "hello:local", "init": {"cmd": ["sleep", "60"]}}
    body = {"config": config, "lease_ttl": 60, "skip_launch": True}
    machine = http.post("/v1/apps/a/machines", json=body).json()
    path, nonce = f"/v1/apps/a/machines/{machine['id']}", machine["nonce"]
    assert http.post(f"{path}/start").status_code == 409
    headers = {"fly-machine-lease-nonce": nonce}
    renewed = http.post(f"{path}/lease?ttl=600", headers=headers).json()["data"]
    assert renewed["nonce"] == nonce
    assert 590 < renewed["expires_at"] - time.time() <= 600
    http.delete(f"{path}/lease", headers=headers).raise_for_status()
    taken = http.post(f"{path}/lease?ttl=1").json()["data"]["nonce"]
    small.nothing(lambda: http.get(f"{path}/lease").status_code == 200)
    assert http.post(f"{path}/lease?ttl=60").json()["data"]["nonce"] != taken


def test_secrets_are_told_by_name_and_version(http: httpx.Client) -> None:
    first = http.post("/v1/apps/a/secrets", json={"values": {"A": "1", "B": "2"}}).json()
    second = http.post("/v1/apps/a/secrets/C", json={"value": "3"})
    assert (second.status_code, second.json()["version"]) == (201, first["version"] + 1)
    assert "value" not in http.get("/v1/apps/a/secrets/C").json()
    assert http.get("/v1/apps/a/secrets/C?show_secrets=true").json()["value"] == "3"
    assert http.get("/v1/apps/a/secrets?min_version=9").status_code == 412
    assert http.delete("/v1/apps/a/secrets/C").json()["version"] == 3
    assert http.get("/v1/apps/a/secrets/C").status_code == 404
    assert http.post("/v1/apps/a/secrets", json={"values": {"A": 1}}).status_code == 422
    digests = {s["name"]: s["digest"] for s in http.get("/v1/apps/a/secrets").json()["secrets"]}
    assert len(set(digests.values())) == 2


def test_a_volume_is_one_machines_and_one_regions(http: httpx.Client) -> None:
    volume = http.post("/v1/apps/a/volumes", json={"name": "data", "region": "cdg"}).json()
    path = f"/v1/apps/a/volumes/{volume['id']}"
    mounts = [{"volume": volume["id"], "path": "/data"}]
    config = {"image": "hello:local", "init": {"cmd": ["sleep", "60"]}, "mounts": mounts}

    def create(region: str, config: dict[str, Any] = config) -> httpx.Response:
        return http.post("/v1/apps/a/machines", json={"config": config, "region": region})

    for refused, told in (
        (create("ord"), "is in cdg, the machine in ord"),
        (create("cdg", {**config, "mounts": [{"volume": "vol_x", "path": "/"}]}), "does not exist"),
    ):
        assert (refused.status_code, told in refused.json()["error"]) == (422, True)
    machine = create("cdg").json()
    assert http.get(path).json()["attached_machine_id"] == machine["id"]
    assert create("cdg").status_code == 422
    assert http.delete(path).status_code == 412
    extended = http.put(f"{path}/extend", json={"size_gb": 5}).json()
    assert (extended["volume"]["size_gb"], extended["needs_restart"]) == (5, True)
    assert http.put(f"{path}/extend", json={"size_gb": 4}).status_code == 422
    assert http.put(path, json={"snapshot_retention": 9}).json()["snapshot_retention"] == 9
    assert http.put(path, json={"snapshot_retention": "9"}).status_code == 400
    http.delete(f"/v1/apps/a/machines/{machine['id']}?force=true").raise_for_status()
    assert http.get(path).json()["attached_machine_id"] is None
    assert http.delete(path).json()["state"] == "pending_destroy"
    assert http.get(path).status_code == 404
    assert http.post("/v1/apps/a/volumes", json={"name": "A b"}).status_code == 422


def test_a_machine_that_is_to_destroy_itself_does(http: httpx.Client) -> None:
    config = {
        "image": "hello:local",
        "init": {"cmd": ["true"]},
        "auto_destroy": True,
        "restart": {"policy": "no"},
    }
    machine = http.post("/v1/apps/a/machines", json={"config": config}).json()
    gone = http.get(f"/v1/apps/a/machines/{machine['id']}/wait?state=destroyed&timeout=10")
    assert gone.status_code == 200


def test_full_regions_and_paid_ones_are_told_before_and_refused(world: WorldHandle) -> None:
    with client_of(world) as http:
        regions = {r["code"]: r for r in http.get("/v1/platform/regions").json()["regions"]}
        assert regions["cdg"]["requires_paid_plan"] is True
        http.post("/v1/apps", json={"name": "a", "org_slug": "personal"})
        for region, told in (("cdg", "paid plans"), ("ord", "insufficient resources")):
            body = {"config": {"image": "hello:local"}, "region": region}
            refused = http.post("/v1/apps/a/machines", json=body)
            assert (refused.status_code, told in refused.json()["error"]) == (422, True)
        body = {"name": "data", "region": "ord"}
        full = http.post("/v1/apps/a/volumes", json=body).json()
        assert full["status"] == "volume_placement_capacity"
        asked = {"org_slug": "personal", "region": "ord,any", "count": 2}
        told_regions = http.post("/v1/platform/placements", json=asked).json()["regions"]
        assert [(r["region"], r["count"]) for r in told_regions] == [("cdg", 2)]
        for wrong in ({}, {"org_slug": "a", "count": -1}, {"org_slug": "a", "count": "2"}):
            assert http.post("/v1/platform/placements", json=wrong).status_code == 400
        http.delete("/v1/apps/a?force=true")


def test_a_database_that_is_deployed_again_begins_with_nothing(http: httpx.Client) -> None:
    """What was written and the passwords of before have gone with its machine."""
    told = []
    for password in ("one", "two"):
        values = {"OPERATOR_PASSWORD": password, "REPL_PASSWORD": "x"}
        http.post("/v1/apps/a/secrets", json={"values": values}).raise_for_status()
        config = {"image": "flyio/postgres-flex:17", "restart": {"policy": "no"}}
        machine = http.post("/v1/apps/a/machines", json={"config": config}).json()
        path = f"/v1/apps/a/machines/{machine['id']}"
        small.nothing(lambda p=path: [c["status"] for c in checks(http, p)] != ["passing"])  # type: ignore[misc]
        (port,) = {
            found["ports"]["5432"]
            for found in http.get("/world").json()["machines"]
            if found["id"] == machine["id"]
        }
        url = f"postgres://postgres:{password}@127.0.0.1:{port}/recipes"
        with psycopg.connect(url, autocommit=True) as connection:
            tables = "select count(*) from pg_tables where tablename = 'kept'"
            told.append(connection.execute(tables).fetchone())
            connection.execute("create table kept (x int)")
        http.delete(f"{path}?force=true").raise_for_status()
    assert told == [(0,), (0,)]


def checks(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(path).json()["checks"]
    return found
