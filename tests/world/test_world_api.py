"""The Machines API of a real world: Fly's shapes, states, errors; deploying through the client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import small_world as small

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.cleanup import destroy_run
from loadtest.fly.deploy import deploy
from loadtest.run.standing_world import command_inside
from loadtest.world.handle import WorldHandle, start_world

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image")
    small.write_app(path)
    return path


@pytest.fixture(scope="module")
def world(folder: Path) -> Iterator[WorldHandle]:
    with start_world(small.spec(folder)) as handle:
        yield handle


@pytest.fixture
def http(world: WorldHandle) -> Iterator[httpx.Client]:
    headers = {"authorization": f"FlyV1 {world.token}"}
    with httpx.Client(
        base_url=world.api_url, headers=headers, trust_env=False, timeout=small.DEADLINE_S
    ) as client:
        yield client
        for app in client.get("/v1/apps?org_slug=personal").json()["apps"]:
            client.delete(f"/v1/apps/{app['name']}?force=true")


def config(command: str = "import time; time.sleep(60)", **more: Any) -> dict[str, Any]:
    return {"image": "hello:local", "init": {"cmd": ["python", "-c", command]}, **more}


def create(http: httpx.Client, **body: Any) -> dict[str, Any]:
    """Make app "a" if need be and a machine in it."""
    http.post("/v1/apps", json={"name": "a", "org_slug": "personal"})
    response = http.post("/v1/apps/a/machines", json={"config": config(), **body})
    assert response.status_code == 200, response.text
    machine: dict[str, Any] = response.json()
    return machine


def wait(http: httpx.Client, machine: dict[str, Any], state: str) -> httpx.Response:
    query = {"state": state, "timeout": 10, "instance_id": machine["instance_id"]}
    return http.get(f"/v1/apps/a/machines/{machine['id']}/wait", params=query)


def deployed(world: WorldHandle, **overrides: Any) -> tuple[Machine, ...]:
    return small.deploy_hello(world.api_url, world.token, **overrides)


def connected(password: str, port: int) -> psycopg.Connection:
    """Connect to a database once it takes connections."""
    until = time.monotonic() + small.DEADLINE_S
    while True:
        try:
            return psycopg.connect(f"postgres://postgres:{password}@127.0.0.1:{port}/recipes")
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.02)


class TestShapes:
    def test_no_token_no_answer(self, world: WorldHandle) -> None:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": world.token}):
            response = httpx.get(f"{world.api_url}/world", headers=headers)
            assert response.status_code == 401
            assert "fly-request-id" in response.headers

    def test_a_machine_is_created_started_stopped_and_destroyed(self, http: httpx.Client) -> None:
        machine = create(http, name="one", region="ord")
        assert machine["state"] == "created"
        assert len(machine["id"]) == 14
        assert len(machine["instance_id"]) == 26
        assert wait(http, machine, "started").json()["ok"] is True
        one = f"/v1/apps/a/machines/{machine['id']}"
        assert http.delete(one).status_code == 412
        assert http.post(f"{one}/stop", json={"signal": "SIGKILL"}).json() == {"ok": True}
        assert wait(http, machine, "stopped").status_code == 200
        events = [event["type"] for event in http.get(f"{one}/events").json()]
        assert events == ["exit", "stop", "start", "start", "launch"]
        assert http.delete(one).json() == {"ok": True}
        assert wait(http, machine, "destroyed").status_code == 200
        assert http.get(one).json()["state"] == "destroyed"
        assert http.get("/v1/apps/a/machines").json() == []

    def test_a_database_ends_with_what_stands_before_its_command(self, http: httpx.Client) -> None:
        words = "python -m loadtest.lifeline python -m loadtest.world.postgres"
        silence = {"LOADTEST_LIFELINE_S": "0.2", "LOADTEST_LIFELINE_FIRST_S": "0.2"}
        passwords = {"OPERATOR_PASSWORD": "one", "REPL_PASSWORD": "two"}
        nobody = {"LOADTEST_LIFELINE": f"127.0.0.1:{small.free_port()}"}
        machine = create(
            http,
            config={
                "image": "hello:local",
                "init": {"cmd": words.split()},
                "env": {**silence, **passwords, **nobody},
                "restart": {"policy": "no"},
            },
        )
        assert wait(http, machine, "stopped").json()["ok"] is True
        events = http.get(f"/v1/apps/a/machines/{machine['id']}/events").json()
        assert [event["type"] for event in events] == ["exit", "start", "start", "launch"]

    def test_a_database_whose_machine_and_volume_are_destroyed_has_lost_its_data(
        self, http: httpx.Client
    ) -> None:
        """The next one in the same world begins with nothing, whatever its passwords are."""
        for password in ("one", "one", "another"):
            http.post("/v1/apps", json={"name": "a", "org_slug": "personal"})
            asked = {"name": "data", "region": "cdg", "size_gb": 1}
            volume = http.post("/v1/apps/a/volumes", json=asked).json()["id"]
            config = {
                "image": "hello:local",
                "init": {"cmd": ["python", "-m", "loadtest.world.postgres"]},
                "env": {"OPERATOR_PASSWORD": password, "REPL_PASSWORD": "two"},
                "mounts": [{"volume": volume, "path": "/data"}],
            }
            machine = create(http, config=config)
            assert wait(http, machine, "started").json()["ok"] is True
            ports = {m["id"]: m["ports"] for m in http.get("/world").json()["machines"]}
            with connected(password, ports[machine["id"]]["5433"]) as connection:
                assert connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)
                connection.execute("CREATE TABLE kept ()")
            http.delete(f"/v1/apps/a/machines/{machine['id']}?force=true").raise_for_status()
            assert wait(http, machine, "destroyed").status_code == 200
            http.delete(f"/v1/apps/a/volumes/{volume}").raise_for_status()

    def test_a_wait_that_runs_out_is_408_and_a_wrong_state_400(self, http: httpx.Client) -> None:
        machine = create(http, skip_launch=True)
        path = f"/v1/apps/a/machines/{machine['id']}/wait"
        response = http.get(path, params={"timeout": 1})
        assert response.status_code == 408
        assert response.json()["error"] == (
            "deadline_exceeded: machine failed to reach desired state, started, currently created"
        )
        assert http.get(path, params={"state": "happy"}).status_code == 400
        assert http.get(path, params={"timeout": "soon"}).status_code == 400

    @pytest.mark.parametrize(
        ("body", "status", "told"),
        [
            ({"config": {}}, 422, "image is required"),
            ({"config": {"image": "nginx:1"}}, 422, "has no stand-in in this world; there are:"),
            ({"region": "lhr"}, 422, "it has cdg, ord"),
            ({"config": config(env={"FLY_REGION": "x"})}, 422, "config.env.FLY_REGION"),
            ({"config": config(restart={"policy": "maybe"})}, 422, "not one of no, always"),
            ({"config": config(stop_config={"signal": "SIGNOPE"})}, 422, "SIGNOPE"),
            ({"config": config(checks={"x": {"type": "tcp"}})}, 422, "needs a port"),
            ({"config": 3}, 422, "an object is wanted"),
        ],
    )
    def test_what_cannot_be_is_refused_in_a_sentence(
        self, http: httpx.Client, body: dict[str, Any], status: int, told: str
    ) -> None:
        http.post("/v1/apps", json={"name": "a"})
        response = http.post("/v1/apps/a/machines", json={"config": config(), **body})
        assert response.status_code == status
        assert told in response.json()["error"]

    def test_names_are_taken_once(self, http: httpx.Client) -> None:
        assert http.post("/v1/apps", json={"name": "a"}).status_code == 201
        taken = http.post("/v1/apps", json={"name": "a"})
        assert (taken.status_code, taken.json()["status"]) == (422, "name_taken")
        assert http.post("/v1/apps", json={"name": "A b"}).status_code == 422
        create(http, name="one", skip_launch=True)
        again = http.post("/v1/apps/a/machines", json={"name": "one", "config": config()})
        assert again.status_code == 409
        assert "unique machine name violation" in again.json()["error"]

    def test_machines_are_found_by_metadata_region_and_state(self, http: httpx.Client) -> None:
        first = create(http, region="ord", config=config(metadata={"k": "v"}), skip_launch=True)
        create(http, skip_launch=True)
        for query in ({"metadata.k": "v"}, {"region": "ord"}):
            found = http.get("/v1/apps/a/machines", params=query).json()
            assert [machine["id"] for machine in found] == [first["id"]]
        assert http.get("/v1/apps/a/machines", params={"state": "started"}).json() == []

    def test_a_lease_keeps_others_out(self, http: httpx.Client) -> None:
        one = f"/v1/apps/a/machines/{create(http, skip_launch=True)['id']}"
        lease = http.post(f"{one}/lease", json={"ttl": 60})
        assert lease.status_code == 201
        assert http.post(f"{one}/start").status_code == 409
        nonce = {"fly-machine-lease-nonce": lease.json()["data"]["nonce"]}
        assert http.post(f"{one}/start", headers=nonce).status_code == 200
        assert http.delete(f"{one}/lease", headers=nonce).json() == {"ok": True}
        assert http.get(f"{one}/lease").status_code == 404

    def test_regions_are_those_of_the_world(self, http: httpx.Client) -> None:
        answer = http.get("/v1/platform/regions").json()
        assert [region["code"] for region in answer["regions"]] == ["cdg", "ord"]
        assert answer["regions"][0]["name"] == "Paris"

    def test_an_unknown_path_is_an_error_body(self, http: httpx.Client) -> None:
        response = http.get("/v1/apps/none/machines")
        assert (response.status_code, response.json()["error"]) == (404, "app not found: none")


class TestRuntime:
    def test_exit_code_and_output_are_told_and_failures_restarted(self, http: httpx.Client) -> None:
        machine = create(
            http,
            config=config(
                "print('no such table'); raise SystemExit(3)",
                restart={"policy": "on-failure", "max_retries": 1},
            ),
        )
        wait(http, machine, "stopped")
        events = http.get(f"/v1/apps/a/machines/{machine['id']}/events").json()
        exits = [event["request"] for event in events if event["type"] == "exit"]
        assert [entry["exit_event"]["exit_code"] for entry in exits] == [3, 3]
        assert [entry["exit_event"]["restarting"] for entry in exits] == [False, True]
        assert exits[0]["exit_event"]["output"].endswith("no such table")

    def test_a_command_that_is_not_there_stops_the_machine(self, http: httpx.Client) -> None:
        body = {"image": "hello:local", "init": {"cmd": ["nope"]}, "restart": {"policy": "no"}}
        machine = create(http, config=body)
        wait(http, machine, "stopped")
        event = http.get(f"/v1/apps/a/machines/{machine['id']}").json()["events"][0]
        assert "command 'nope' was not found" in event["request"]["exit_event"]["output"]

    def test_an_update_makes_a_new_version(self, http: httpx.Client) -> None:
        machine = create(http)
        one = f"/v1/apps/a/machines/{machine['id']}"
        wait(http, machine, "started")
        updated = http.post(one, json={"config": config(env={"NEW": "1"})}).json()
        assert updated["instance_id"] != machine["instance_id"]
        assert wait(http, updated, "started").status_code == 200
        assert http.get(one).json()["config"]["env"] == {"NEW": "1"}


VISITS = """
import json, sys
from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.origin import Origin

told = []
for target in json.loads(sys.argv[1]):
    rows = []
    client = TTFBClient(Origin(*target), rows.append)
    for new in (True, True, True, False, False, False):
        client.get("/", new_connection=new).raise_for_status()
    colds, warms = rows[:3], rows[4:]  # the fourth opens what the others use
    told.append({
        "protocol": rows[0].protocol,
        "cold_ms": min(row.cold_ttfb_ns for row in colds) / 1e6,
        "warm_ms": min(row.wait_ns for row in warms) / 1e6,
    })
    client.close()
print(json.dumps(told))
"""


class TestDeployment:
    def test_an_app_is_reached_at_the_edge_of_every_region(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        machines = deployed(
            world,
            env={"PEER": "http://ord.hello.internal:8080/x"},
            env_by_region={"ord": {"WHERE": "there"}},
            secrets={"SECRET": "s", "PEER_SECRET": "tcp://cdg.hello.internal:8080"},
        )
        assert [machine.region for machine in machines] == ["cdg", "ord"]
        edges = http.get("/world").json()["edges"]
        for region in ("cdg", "ord"):
            env = httpx.get(edges[region]["hello"]).json()
            assert env["FLY_REGION"] == region
            assert env["PRIMARY_REGION"] == "cdg"
            assert env["FLY_PROCESS_GROUP"] == "app"
            assert env["SECRET"] == "s"
            assert env["PEER"].startswith("http://127.0.0.1:")
            assert ".internal" not in env["PEER_SECRET"]
        assert env["WHERE"] == "there"

    def test_a_link_between_machines_takes_its_round_trip_and_is_counted(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        machines = deployed(world, env={"PEER": "http://ord.hello.internal:8080/x"})
        edges = http.get("/world").json()["edges"]
        peer = httpx.get(edges["cdg"]["hello"]).json()["PEER"]
        began = time.monotonic()
        assert httpx.get(peer).json()["FLY_REGION"] == "ord"
        assert time.monotonic() - began >= 0.08  # handshake and request: two trips of 40 ms
        links = http.get("/world/counters").json()["links"]
        counted = {entry["machine"]: entry for entry in links}[machines[0].id]
        assert counted["target"] == "ord.hello.internal:8080"
        assert (counted["connections"], counted["flights"]) == (1, 1)
        assert counted["bytes_in"] > counted["bytes_out"] > 0

    def test_a_first_visit_pays_a_round_trip_each_for_tcp_tls_and_the_request(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        """Our own client in ord, asking the edge of cdg: 40 ms away, so that trips can be told."""
        deployed(world)
        told = http.get("/world").json()
        targets = []
        for edges, http_version in (
            ("edges", "1.1"),
            ("secure_edges", "1.1"),
            ("secure_edges", "2"),
        ):
            url = urlsplit(told[edges]["cdg"]["hello"])
            way = {"host": "127.0.0.1", "port": url.port, "from": "ord", "at": "cdg"}
            port = http.post("/world/ways", json=way).json()["port"]
            base = f"{url.scheme}://127.0.0.1:{port}"
            targets.append([base, "hello.fly.dev", told["authority"], http_version])
        words = [sys.executable, "-c", VISITS, json.dumps(targets)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        visits = json.loads(done.stdout or json.dumps(done.stderr))
        assert [visit["protocol"] for visit in visits] == ["1.1", "1.1", "2"]
        assert [round(visit["cold_ms"] / 40) for visit in visits] == [2, 3, 3]
        assert [round(visit["warm_ms"] / 40) for visit in visits] == [1, 1, 1]

    def test_links_are_measured_within_tolerance(self, http: httpx.Client) -> None:
        links = http.post("/world/measure?pings=5", timeout=30).json()["links"]
        assert {(link["from"], link["to"]) for link in links} == {
            ("cdg", "ord"),
            ("cdg", "cdg"),
            ("ord", "ord"),
        }
        assert all(link["n"] == 5 for link in links)
        assert http.get("/world").json()["links"] == links

    def test_a_machine_that_dies_leaves_the_edges_and_comes_back(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        machines = deployed(world)
        ord_edge = http.get("/world").json()["edges"]["ord"]["hello"]
        one = f"/v1/apps/hello/machines/{machines[1].id}"
        http.post(f"{one}/stop", json={})
        http.get(f"{one}/wait", params={"state": "stopped", "timeout": 10})
        assert httpx.get(ord_edge).json()["FLY_REGION"] == "cdg"
        http.post(f"{one}/start")
        small.nothing(lambda: httpx.get(ord_edge).json()["FLY_REGION"] != "ord")

    def test_deploying_again_takes_up_what_is_there(self, world: WorldHandle) -> None:
        first, second = deployed(world), deployed(world)
        assert [machine.id for machine in first] == [machine.id for machine in second]

    def test_a_run_is_torn_down_by_its_id(self, world: WorldHandle, http: httpx.Client) -> None:
        deployed(world, run_id="r1")
        deployed(world, run_id="r2", regions=("cdg",))
        removed = small.with_client(
            world.api_url, world.token, lambda client: destroy_run(client, "hello", "r1")
        )
        assert removed == 2
        assert len(http.get("/v1/apps/hello/machines").json()) == 1

    def test_an_unhealthy_app_is_told_with_its_last_output(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        with pytest.raises(WorldError, match=r"in cdg did not become healthy within 1 s") as caught:
            deployed(world, env={"HEALTHY": "0"}, regions=("cdg",), deadline_s=1.0)
        assert "GET /healthz answered 503" in str(caught.value)

    def test_an_app_that_crashes_is_told_before_the_deadline(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        toml = small.TOML.replace("app.py", "crash.py")
        with pytest.raises(WorldError, match="ended with exit code 1") as caught:
            deployed(world, toml=toml, regions=("cdg",))
        assert "| no database" in str(caught.value)

    def test_release_and_seed_commands_run_once_per_database(
        self, world: WorldHandle, http: httpx.Client, tmp_path: Path
    ) -> None:
        toml = small.TOML + (
            '[deploy]\nseed_command = "python seed.py"\nrelease_command = "python release.py"\n'
        )
        note, done = tmp_path / "note", set[tuple[str, str]]()
        for app in ("hello", "again"):
            order = small.order(
                toml, app=app, env={"NOTE": str(note)}, secrets={"DATABASE_URL": "one"}
            )
            small.with_client(
                world.api_url,
                world.token,
                lambda client, o=order: deploy(client, o, done),  # type: ignore[misc]
            )
        assert note.read_text() == "1 seed"
        assert len(http.get("/v1/apps/hello/machines").json()) == 2

    def test_a_release_command_that_fails_stops_the_deployment(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        toml = small.TOML + '[deploy]\nrelease_command = "python crash.py"\n'
        with pytest.raises(WorldError, match="ended with exit code 1"):
            deployed(world, toml=toml)
        assert http.get("/v1/apps/hello/machines").json() == []

    def test_a_cut_stops_delivery_until_it_heals(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        deployed(world, regions=("cdg",))
        edge = http.get("/world").json()["edges"]["ord"]["hello"]
        told = http.post("/world/faults", json={"what": "cut ord>cdg"}).json()
        assert told == {"what": "cut ord>cdg", "roads": ["ord>cdg"], "machines": []}
        assert http.get("/world/faults").json()["standing"] == ["cut ord>cdg"]
        with pytest.raises(httpx.TimeoutException):
            httpx.get(edge, timeout=0.5)
        http.post("/world/faults", json={"what": "heal *"})
        assert httpx.get(edge).status_code == 200
        assert http.get("/world/faults").json()["standing"] == []
        for wrong in ("mend ord-cdg", "cut ord-nrt", "kill hello/ord", "restart database"):
            assert http.post("/world/faults", json={"what": wrong}).status_code == 422

    def test_on_one_loopback_a_machine_is_a_place_and_a_region_is_none(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        deployed(world, regions=("cdg",))
        with pytest.raises(WorldError, match=r"layer relay.*its edge is reached from here: hello"):
            command_inside("ord", ["true"], url=world.api_url)
        assert http.post("/world/visitors", json={"region": "ord"}).status_code == 409
        words = command_inside("hello/cdg", ["sh", "-c", "echo $FLY_REGION"], url=world.api_url)
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        assert subprocess.check_output(words, env=env, timeout=20) == b"cdg\n"

    def test_what_happens_while_it_is_watched_is_told(
        self, world: WorldHandle, http: httpx.Client
    ) -> None:
        (machine,) = deployed(world, regions=("cdg",))
        assert http.get("/world/watch").status_code == 409
        assert http.post("/world/watch").json()["astray"] == []
        http.post("/world/faults", json={"what": "loss 90% cdg-ord", "for_s": 0.05})
        told = http.post("/world/faults", json={"what": "kill hello/cdg"}).json()
        assert told["machines"] == [machine.id]
        small.nothing(lambda: http.get("/world/faults").json()["standing"])
        small.nothing(lambda: not http.get("/world/watch").json()["machine_events"])
        seen = http.delete("/world/watch").json()
        assert [f["what"] for f in seen["faults"]] == ["loss 90% cdg-ord", "kill hello/cdg"]
        assert seen["faults"][0]["pairs"] == ["cdg-ord"]
        assert all(fault["ended_ms"] is not None for fault in seen["faults"])
        (exit_event,) = [e for e in seen["machine_events"] if e["event"] == "exit"]
        assert (exit_event["exit_code"], exit_event["restarting"]) == (137, True)
        assert {p["name"] for p in seen["processes"]} == {"links", "world"}
        assert len(seen["pairs"]) == 3


def test_retired_regions_are_refused_by_a_strict_world_only(folder: Path) -> None:
    overrides = {"regions": ["cdg", "scl"], "rtt_ms": {"cdg-scl": 1.0}}
    for strict, status in ((False, 200), (True, 422)):
        with start_world(small.spec(folder, strict_regions=strict, **overrides)) as handle:
            headers = {"authorization": f"Bearer {handle.token}"}
            with httpx.Client(base_url=handle.api_url, headers=headers) as http:
                http.post("/v1/apps", json={"name": "a"})
                body = {"region": "scl", "config": config(), "skip_launch": True}
                response = http.post("/v1/apps/a/machines", json=body)
                assert response.status_code == status
    assert response.json()["error"].endswith("an alternate region such as gru")


def test_a_world_is_as_strict_as_fly_once_its_maker_has_brought_it_up(folder: Path) -> None:
    with start_world(small.spec(folder)) as handle:
        headers = {"authorization": f"Bearer {handle.token}"}
        with httpx.Client(base_url=handle.api_url, headers=headers, trust_env=False) as http:
            before = [http.get("/v1/apps?org_slug=personal") for _ in range(9)]
            assert {answer.status_code for answer in before} == {200}
            assert http.post("/world/strict").status_code == 200
            assert http.post("/v1/apps?wait=true", json={"name": "fresh"}).status_code == 201
            paths = ("/v1/apps/fresh", "/v1/apps/fresh/secrets", "/v1/apps/fresh/machines")
            assert [http.get(path).status_code for path in paths] == [404, 401, 200]
            listed = [http.get("/v1/apps?org_slug=personal") for _ in range(4)]
        assert [answer.status_code for answer in listed] == [200, 200, 200, 429]
        assert listed[-1].headers["retry-after"] == "1"
        assert len(deployed(handle, regions=("cdg",), secrets={"A": "1"})) == 1


@pytest.fixture(scope="module")
def strict(folder: Path) -> Iterator[WorldHandle]:
    rules = {"foreign_apps": ["shop"], "full_regions": ["ord"]}
    with start_world(small.spec(folder, **rules)) as handle:
        yield handle


@pytest.fixture
def calls(strict: WorldHandle) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {strict.token}"}
    with httpx.Client(base_url=strict.api_url, headers=headers, trust_env=False) as client:
        yield client
        for app in client.get("/v1/apps?org_slug=personal").json()["apps"]:
            client.delete(f"/v1/apps/{app['name']}?force=true")


class TestStrictness:
    """What Fly refuses, the world refuses; the deployment copes or says why it cannot."""

    def test_a_name_of_somebody_else_is_not_ours_to_use(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        assert calls.get("/v1/apps/shop").status_code == 403
        refused = calls.post("/v1/apps", json={"name": "shop"})
        assert (refused.status_code, refused.json()["status"]) == (422, "name_taken")
        with pytest.raises(WorldError, match=r"app shop: the name belongs to .*--prefix"):
            deployed(strict, app="shop", regions=("cdg",))

    def test_a_region_without_room_is_told(self, strict: WorldHandle, calls: httpx.Client) -> None:
        with pytest.raises(WorldError, match=r"insufficient resources available .* in ord"):
            deployed(strict)
        assert calls.get("/v1/apps/hello").json()["machine_count"] < 2

    def test_an_app_without_an_address_has_no_edge(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        deployed(strict, regions=("cdg",), public=False)
        assert "hello" not in calls.get("/world").json()["edges"]["ord"]
        assert calls.post("/v1/apps/hello/ip_assignments", json={"type": "x"}).status_code == 422
        given = calls.post("/v1/apps/hello/ip_assignments", json={"type": "v6"}).json()
        edge = calls.get("/world").json()["edges"]["ord"]["hello"]
        assert httpx.get(edge).status_code == 200
        gone = calls.delete(f"/v1/apps/hello/ip_assignments/{given['ip']}")
        assert gone.status_code == 204
        assert "hello" not in calls.get("/world").json()["edges"]["ord"]

    def test_a_machine_does_not_start_with_secrets_older_than_it_wants(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        deployed(strict, regions=("cdg",), secrets={"A": "1"})
        body = {"config": config(), "region": "cdg", "min_secrets_version": 2}
        assert calls.post("/v1/apps/hello/machines", json=body).status_code == 412

    def test_an_app_that_no_run_made_is_left_alone(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        small.with_client(strict.api_url, strict.token, lambda client: client.ensure_app("hello"))
        calls.post("/v1/apps/hello/secrets", json={"values": {"DATABASE_URL": "theirs"}})
        with pytest.raises(WorldError, match=r"app hello: exists, with the secret .*--use-app"):
            deployed(strict, regions=("cdg",), adopt=False, secrets={"OURS": "1"})
        names = [item["name"] for item in calls.get("/v1/apps/hello/secrets").json()["secrets"]]
        assert names == ["DATABASE_URL"]
        assert deployed(strict, regions=("cdg",), secrets={"OURS": "1"})

    def test_an_app_that_a_run_made_is_marked_and_goes_with_its_machines(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        def clear(run_id: str) -> None:
            small.with_client(
                strict.api_url, strict.token, lambda client: destroy_run(client, "hello", run_id)
            )

        deployed(strict, regions=("cdg",), adopt=False, mark=True, secrets={"OURS": "1"})
        deployed(strict, regions=("cdg",), adopt=False, mark=True, secrets={"OTHER": "1"})
        with pytest.raises(WorldError, match=r"app hello: has machines of run r1\. .*fly clean"):
            deployed(strict, regions=("cdg",), adopt=False, mark=True, run_id="r2")
        clear("r2")
        assert calls.get("/v1/apps/hello").json()["machine_count"] == 1
        clear("r1")
        assert calls.get("/v1/apps/hello").status_code == 404

    def test_an_app_that_was_there_before_stays(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        small.with_client(strict.api_url, strict.token, lambda client: client.ensure_app("hello"))
        deployed(strict, regions=("cdg",), mark=True)
        small.with_client(
            strict.api_url, strict.token, lambda client: destroy_run(client, "hello", "r1")
        )
        assert calls.get("/v1/apps/hello").json()["machine_count"] == 0

    def test_one_machine_that_cannot_go_does_not_keep_the_others(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        first, second = deployed(strict, regions=("cdg",), counts={"app": 2})
        calls.post(f"/v1/apps/hello/machines/{first.id}/lease?ttl=600")
        with pytest.raises(WorldError, match=r"of run r1 left after clean-up\n .* 409"):
            small.with_client(
                strict.api_url, strict.token, lambda client: destroy_run(client, "hello", "r1")
            )
        left = [machine["id"] for machine in calls.get("/v1/apps/hello/machines").json()]
        assert left == [first.id]
        assert second.id not in left

    def test_a_machine_is_told_as_the_schema_has_it(
        self, strict: WorldHandle, calls: httpx.Client
    ) -> None:
        deployed(strict, regions=("cdg",))
        (machine,) = calls.get("/v1/apps/hello/machines").json()
        assert machine["version"] == machine["instance_id"]
        assert machine["private_ip"].startswith("fdaa:")
        assert machine["image_ref"]["registry"] == "registry-1.docker.io"
        assert all(check["updated_at"] for check in machine["checks"])
