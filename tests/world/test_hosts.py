"""Machines as hosts of their own: real names, addresses and ports, and distances between them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_world as small

from loadtest.errors import WorldError
from loadtest.run.standing_world import command_inside
from loadtest.world.handle import WorldHandle, start_world
from loadtest.world.hosts.layer import ask_obstacle, choose

OBSTACLE = ask_obstacle()
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(bool(OBSTACLE), reason=f"no hosts here: {OBSTACLE}"),
]

# Every way in which an app may find a peer: it builds the name when it is asked, as the fly-ruby
# gem does, it listens on a port that is written into its code, and it reads nothing but FLY_*.
APP = """
import http.client, http.server, json, os, socket, sys, urllib.request

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, _, argument = self.path[1:].partition("/")
        try:
            answer = getattr(self, "do_" + (kind or "env"))(argument)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_env(self, _):
        return dict(os.environ)

    def do_fetch(self, address):
        url = address if address.startswith("https:") else "http://" + address
        return json.load(urllib.request.urlopen(url, timeout=5))

    def do_names(self, name):
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(row[4][0] for row in found))

    def do_hold(self, host):
        Handler.held = http.client.HTTPConnection(host, 8080, timeout=5)
        return self.do_held("")

    def do_held(self, _):
        Handler.held.request("GET", "/env")
        return json.load(Handler.held.getresponse())["FLY_REGION"]

    def do_hostname(self, _):
        return [socket.gethostname(), socket.getaddrinfo("fly-local-6pn", 80)[0][4][0]]

    def log_message(self, *args):
        pass

side = Server(("::", 9000), Handler)  # no service tells of it
import threading
threading.Thread(target=side.serve_forever, daemon=True).start()
Server((sys.argv[1] if len(sys.argv) > 1 else "::", 8080), Handler).serve_forever()
"""

TOML = """
app = "hello"
primary_region = "cdg"
[processes]
app = "python app.py"
[http_service]
internal_port = 8080
[[http_service.checks]]
path = "/"
interval = "2s"
"""


def host_spec(folder: Path, **more: Any) -> dict[str, Any]:
    return small.spec(folder, layer="hosts", **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image")
    (path / "app.py").write_text(APP)
    return path


@pytest.fixture(scope="module")
def world(folder: Path) -> Iterator[WorldHandle]:
    with start_world(host_spec(folder)) as handle:
        yield handle


class Stage:
    """A deployed app, asked from its edges."""

    def __init__(self, world: WorldHandle, **more: Any) -> None:
        headers = {"authorization": f"Bearer {world.token}"}
        self.http = httpx.Client(base_url=world.api_url, headers=headers, trust_env=False)
        toml = more.pop("toml", TOML)
        self.machines = small.deploy_hello(world.api_url, world.token, toml=toml, **more)
        self.edges = self.http.get("/world").json()["edges"]

    def ask(self, region: str, path: str) -> Any:
        return httpx.get(f"{self.edges[region]['hello']}/{path}", trust_env=False).json()

    def close(self) -> None:
        self.http.delete("/v1/apps/hello?force=true")
        self.http.close()


@pytest.fixture
def stage(world: WorldHandle) -> Iterator[Stage]:
    found = Stage(world, env={"PEER": "http://ord.hello.internal:8080/x", "SMTP_PORT": "2525"})
    yield found
    found.close()


class TestPlace:
    def test_two_machines_listen_on_one_fixed_port_and_nothing_is_rewritten(
        self, stage: Stage
    ) -> None:
        for region, machine in zip(("cdg", "ord"), stage.machines, strict=True):
            env = stage.ask(region, "env")
            assert env["FLY_REGION"] == region
            assert env["PEER"] == "http://ord.hello.internal:8080/x"
            assert env["SMTP_PORT"] == "2525"
            assert env["PORT"] == "8080"
            assert stage.ask(region, "hostname") == [machine.id, env["FLY_PRIVATE_IP"]]
        assert stage.http.get("/world").json()["link_layer"] == "hosts"

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fly-local-6pn"])
    def test_an_app_may_listen_on_any_address_of_its_own(
        self, world: WorldHandle, address: str
    ) -> None:
        if address == "127.0.0.1":
            toml = TOML.replace("app.py", "app.py ::ffff:127.0.0.1")
        else:
            toml = TOML.replace("app.py", f"app.py {address}")
        stage = Stage(world, toml=toml)
        try:
            assert stage.ask("ord", "env")["FLY_REGION"] == "ord"
        finally:
            stage.close()

    def test_a_wrong_port_is_told_with_the_right_one(self, world: WorldHandle) -> None:
        toml = TOML.replace("8080", "8081")
        with pytest.raises(Exception, match=r"the program listens on 8080, 9000.*asks 8081"):
            small.deploy_hello(world.api_url, world.token, toml=toml, deadline_s=3.0)
        headers = {"authorization": f"Bearer {world.token}"}
        httpx.delete(f"{world.api_url}/v1/apps/hello?force=true", headers=headers)


class TestNames:
    def test_a_name_made_at_run_time_leads_there_and_takes_its_round_trip(
        self, stage: Stage
    ) -> None:
        began = time.monotonic()
        assert stage.ask("cdg", "fetch/ord.hello.internal:8080/env")["FLY_REGION"] == "ord"
        assert time.monotonic() - began >= 0.08  # handshake and request: two trips of 40 ms
        links = stage.http.get("/world/counters").json()["links"]
        counted = [link for link in links if link["connections"]]
        assert [(link["target_app"], link["flights"]) for link in counted] == [("hello", 1)]
        assert counted[0]["machine"] == stage.machines[0].id
        assert counted[0]["bytes_in"] > counted[0]["bytes_out"] > 0

    def test_names_stand_for_the_addresses_of_started_machines_nearest_first(
        self, stage: Stage
    ) -> None:
        own = {r: stage.ask(r, "env")["FLY_PRIVATE_IP"] for r in ("cdg", "ord")}
        both = [own["ord"], own["cdg"]]
        assert sorted(stage.ask("ord", "names/hello.internal")) == sorted(both)
        assert stage.ask("ord", "names/top1.nearest.of.hello.internal") == [own["ord"]]
        assert stage.ask("cdg", "names/top1.nearest.of.hello.internal") == [own["cdg"]]
        assert stage.ask("cdg", f"names/{stage.machines[1].id}.vm.hello.internal") == [own["ord"]]
        assert stage.ask("cdg", "names/localhost")[0] in ("127.0.0.1", "::1")
        for unknown in ("syd.hello.internal", "other.internal", "nonsense"):
            assert "gaierror" in stage.ask("cdg", f"names/{unknown}")["error"]

    def test_a_stopped_machine_loses_its_name_and_gets_it_back(self, stage: Stage) -> None:
        one = f"/v1/apps/hello/machines/{stage.machines[1].id}"
        assert stage.ask("cdg", "names/ord.hello.internal")
        stage.http.post(f"{one}/stop", json={})
        stage.http.get(f"{one}/wait", params={"state": "stopped", "timeout": 10})
        assert "gaierror" in stage.ask("cdg", "names/ord.hello.internal")["error"]
        stage.http.post(f"{one}/start")
        small.nothing(lambda: "error" in stage.ask("cdg", "fetch/ord.hello.internal:8080/env"))

    def test_a_port_that_no_service_tells_of_is_reached_too(self, stage: Stage) -> None:
        small.nothing(lambda: "error" in stage.ask("cdg", "fetch/ord.hello.internal:9000/env"))
        assert stage.ask("cdg", "fetch/ord.hello.internal:9000/env")["FLY_REGION"] == "ord"

    @pytest.mark.parametrize("name", ["hello.flycast", "hello.fly.dev", "https://hello.fly.dev"])
    def test_the_public_name_leads_to_the_edge_of_the_region(self, stage: Stage, name: str) -> None:
        found = stage.ask("ord", f"fetch/{name}/env")
        assert found["FLY_REGION"] == "ord"

    def test_a_port_that_nobody_listens_on_is_refused(self, stage: Stage) -> None:
        assert "refused" in stage.ask("cdg", "fetch/ord.hello.internal:7777/env")["error"]


def test_a_connection_to_what_was_nearest_is_reset_before_load(
    world: WorldHandle, stage: Stage
) -> None:
    """A pool that was opened to a far machine would stay there: a world settles before load."""
    toml = TOML.replace('"hello"', '"peer"')
    near = small.deploy_hello(world.api_url, world.token, toml=toml)[1]
    one = f"/v1/apps/peer/machines/{near.id}"
    stage.http.post(f"{one}/stop", json={})
    stage.http.get(f"{one}/wait", params={"state": "stopped", "timeout": 10})
    assert stage.ask("ord", "hold/top1.nearest.of.peer.internal") == "cdg"
    stage.http.post("/world/measure?pings=1", timeout=30)
    assert stage.ask("ord", "held") == "cdg", "there is nothing nearer"
    stage.http.post(f"{one}/start")
    small.nothing(
        lambda: "error" in stage.ask("ord", "fetch/top1.nearest.of.peer.internal:8080/env")
    )
    stage.http.post("/world/measure?pings=1", timeout=30)
    assert "ConnectionReset" in stage.ask("ord", "held")["error"]
    assert stage.ask("ord", "hold/top1.nearest.of.peer.internal") == "ord"
    stage.http.delete("/v1/apps/peer?force=true")


class TestVisitors:
    """A person's command in a region's place, or in a machine's, as `world exec` runs it."""

    def run(self, world: WorldHandle, where: str, *command: str) -> str:
        words = command_inside(where, command, url=world.api_url)
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "PYTHONPATH": root}
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=20, env=env, check=False
        )
        return done.stdout + done.stderr

    def test_a_command_runs_where_a_machine_is(self, world: WorldHandle, stage: Stage) -> None:
        name, address = stage.ask("ord", "hostname")
        told = self.run(
            world, "hello/ord", "sh", "-c", "hostname; cat /etc/hosts; echo $FLY_REGION"
        )
        assert told.splitlines()[0] == name
        assert address in told
        assert told.splitlines()[-1] == "ord"
        assert "No such file" in self.run(world, "hello/ord", "no-such-program")

    def test_a_region_is_a_place_with_its_own_distance(
        self, world: WorldHandle, stage: Stage
    ) -> None:
        del stage
        code = (
            "import time, urllib.request as u; t = time.monotonic();"
            "u.urlopen('http://cdg.hello.internal:8080/env').read(); print(time.monotonic() - t)"
        )
        took_s = float(self.run(world, "ord", sys.executable, "-c", code))
        assert took_s >= 0.04  # the round trip of ord and cdg
        assert float(self.run(world, "cdg", sys.executable, "-c", code)) < took_s

    @pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
    def test_curl_trusts_the_edge_of_its_region_and_speaks_http_2_to_it(
        self, world: WorldHandle, stage: Stage
    ) -> None:
        """By the system's own store: nothing is said about certificates."""
        del stage
        words = ("-sS", "-o", "/dev/null", "-w", "%{http_version} %{ssl_verify_result}")
        old = self.run(world, "ord", "curl", "--http1.1", *words, "https://hello.fly.dev/env")
        told = self.run(world, "ord", "env", "-u", "SSL_CERT_FILE", "curl", *words,
                        "https://hello.fly.dev/env")  # fmt: skip
        assert (old, told) == ("1.1 0", "2 0")

    def test_what_is_no_place_is_told_with_what_is(self, world: WorldHandle) -> None:
        with pytest.raises(WorldError, match="'nrt' is no place: name a region"):
            command_inside("nrt", ["true"], url=world.api_url)
        with pytest.raises(WorldError, match="no machine 'hello/nrt' runs"):
            command_inside("hello/nrt", ["true"], url=world.api_url)


class TestOutside:
    def test_a_service_of_this_machine_is_reached_as_the_environment_names_it(
        self, world: WorldHandle
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            body = json.dumps({"outside": True}).encode()

            def serve() -> None:
                while True:
                    try:
                        sock, _ = listener.accept()
                    except OSError:
                        return
                    with sock:
                        if sock.recv(4_096):
                            head = b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
                            sock.sendall(head + body)

            threading.Thread(target=serve, daemon=True).start()
            stage = Stage(world, env={"CACHE_URL": f"redis://localhost:{port}/0"})
            try:
                assert stage.ask("cdg", f"fetch/localhost:{port}/") == {"outside": True}
            finally:
                stage.close()


def test_nothing_stays_behind_whoever_is_killed(folder: Path) -> None:
    for victim, number in (("guardian", signal.SIGKILL), ("world", signal.SIGKILL)):
        handle = start_world(host_spec(folder))
        small.deploy_hello(handle.api_url, handle.token, toml=TOML)
        found = small.Footprint.of(handle.guardian_pid, [])
        pid = handle.guardian_pid if victim == "guardian" else small.world_pid(handle.guardian_pid)
        os.kill(pid, number)
        small.nothing(found.left)
        handle.stop()
        mounts = Path("/proc/self/mounts").read_text()
        assert str(found.base) not in mounts


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_gets_hosts_too(folder: Path, tmp_path: Path) -> None:
    """The whole chain as nobody, with a Python that nobody may run."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("no Python that every user may run")
    code = "from loadtest.world.hosts.layer import choose; print(choose('auto'))"
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run(
        [python, "-c", code],
        user=65_534,
        group=65_534,
        extra_groups=[],
        env={"PYTHONPATH": str(root), "TMPDIR": "/tmp"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if "PermissionError" in told.stderr or "No module named 'loadtest'" in told.stderr:
        pytest.skip("this checkout is not readable for everybody")
    assert told.stdout.strip() == "('hosts', '')", told.stderr


def test_relay_is_there_for_who_asks() -> None:
    assert choose("relay") == ("relay", "asked for")


def test_hosts_that_cannot_be_had_are_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loadtest.world.hosts.layer.obstacle", lambda: "no kernel for it")
    assert choose("auto") == ("relay", "no kernel for it")
    with pytest.raises(WorldError, match=r"layer = 'hosts'.*no kernel for it; choose 'relay'"):
        choose("hosts")
