"""Machines of Redis images: what their commands ask, and a server that does it."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_world as small
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.errors import WorldError
from loadtest.fly.values import is_cache
from loadtest.world.caches.binary import SETTING, find_cache_server
from loadtest.world.caches.command import configuration, read_command
from loadtest.world.handle import WorldHandle, start_world

LINE = "redis-server --maxmemory 64mb --maxmemory-policy allkeys-lru"
ASKED = (("maxmemory", "64mb"), ("maxmemory-policy", "allkeys-lru"))
OURS = (("save", ""), ("protected-mode", "no"))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("redis", True),
        ("redis:7-alpine", True),
        ("flyio/redis:6.2.6", True),
        ("docker.io/library/redis@sha256:ab", True),
        ("localhost:5000/valkey/valkey:8", True),
        ("bitnami/valkey", True),
        ("registry.fly.io/my-redis:v1", False),
        ("redis/redis-stack-server", False),
        ("redis.example.com/app", False),
    ],
)
def test_an_image_is_a_cache_by_the_last_word_of_its_repository(image: str, expected: bool) -> None:
    assert expected == is_cache(image)


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        LINE.removeprefix("redis-server "),
        f"docker-entrypoint.sh {LINE}",
        f"/usr/local/bin/{LINE}",
        LINE.replace("redis", "valkey"),
        f"sh -c 'sysctl vm.overcommit_memory=1 && exec {LINE}'",
        "sh -c 'redis-server --maxmemory ${SIZE} --maxmemory-policy $POLICY'",
        "redis-server /etc/cache.conf",
        f"{LINE} --dir /data --daemonize yes --logfile /log --unixsocket /run/r.sock",
    ],
)
def test_every_way_to_write_the_command_means_the_same(line: str) -> None:
    env = {"SIZE": "64mb", "POLICY": "allkeys-lru"}
    files = {
        "/etc/cache.conf": "# small\nmaxmemory 64mb\n\nmaxmemory-policy allkeys-lru\ndir /data"
    }
    command = read_command("redis", shlex.split(line), env, files)
    assert (command.before, command.port, command.directives) == ((), 6379, OURS + ASKED)


def test_a_life_line_stays_around_the_server() -> None:
    words = ["python", "-m", "loadtest.lifeline", *shlex.split(LINE)]
    command = read_command("redis", words, {}, {})
    assert command.before == ("python", "-m", "loadtest.lifeline")
    assert command.directives == OURS + ASKED


def test_images_that_read_passwords_from_the_environment_get_them() -> None:
    env = {"REDIS_PASSWORD": "s e", "REDIS_PORT_NUMBER": "6400", "REDIS_EXTRA_FLAGS": "--hz 5"}
    bitnami = read_command("bitnami/redis", [], env, {})
    assert bitnami.port == 6400
    assert bitnami.directives == (*OURS, ("requirepass", "s e"), ("hz", "5"))
    assert read_command("redis", [], {"REDIS_PASSWORD": "s"}, {}).directives == OURS


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("node app.js", "runs Valkey, not 'node'"),
        ("sh -c 'sleep 1'", "no redis-server stands in the shell line"),
        ("redis-server /etc/redis.conf", r"bring it along under \[\[files\]\]"),
        ("redis-server --loadmodule /m.so", "modules are not offered"),
        ("redis-server --port 0", "from 1 to 65535"),
        ("redis-server -p 6379", "written as --name value"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(line: str, told: str) -> None:
    with pytest.raises(WorldError, match=told):
        read_command("redis", shlex.split(line), {}, {})


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(WORDS | WORDS.map(lambda word: f"--{word}") | st.just("--hz"), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_word_gives_a_command_or_a_sentence(words: list[str]) -> None:
    try:
        command = read_command("bitnami/redis", words, {}, {})
    except WorldError:
        return
    own_bind = any(name == "bind" for name, *_ in command.directives)
    text = configuration(command, Path("/w"), 7000, ("*",))
    assert len(text.splitlines()) == len(command.directives) + 4 - own_bind


def test_a_setting_that_is_no_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="is no server of Valkey or Redis"):
        find_cache_server({SETTING: str(tmp_path)})


def say(port: int, *words: str) -> bytes:
    """Send one command and return the answer's first line."""
    line = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(f"*{len(words)}\r\n{line}".encode())
        return sock.makefile("rb").readline().rstrip()


def machines_of(world: WorldHandle) -> list[dict[str, Any]]:
    """Return what the world tells of its machines; it names the server of its caches, too."""
    headers = {"authorization": f"Bearer {world.token}"}
    told = httpx.get(f"{world.api_url}/world", headers=headers).json()
    assert told["cache"]["version"].startswith("Valkey ")
    found: list[dict[str, Any]] = told["machines"]
    return found


CACHE = """
app = "store"
primary_region = "cdg"

[build]
image = "redis:7-alpine"

[processes]
app = "redis-server --maxmemory 3mb --maxmemory-policy allkeys-lru"

[checks.redis]
type = "tcp"
port = 6379
interval = "2s"
"""
READER = """
app = "reader"
primary_region = "cdg"

[env]
STORE = "redis://top1.nearest.of.store.internal:6379/0"

[processes]
app = "python app.py"

[http_service]
internal_port = 8080
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldHandle]:
    folder = tmp_path_factory.mktemp("image")
    small.write_app(folder)
    with start_world(small.spec(folder)) as handle:
        yield handle


@pytest.fixture(scope="module")
def machines(world: WorldHandle) -> dict[str, dict[str, int]]:
    """Return the real port of every machine by app and region."""
    small.deploy_hello(world.api_url, world.token, toml=CACHE, image="", public=False)
    small.deploy_hello(world.api_url, world.token, toml=READER)
    found: dict[str, dict[str, int]] = {"store": {}, "reader": {}}
    for machine in machines_of(world):
        found[machine["app"]][machine["region"]] = next(iter(machine["ports"].values()))
    return found


@pytest.mark.contract
class TestACacheInAWorld:
    """Of a world whose machines share one loopback."""

    def test_its_options_are_honoured(self, machines: dict[str, dict[str, int]]) -> None:
        port = machines["store"]["cdg"]
        assert say(port, "PING") == b"+PONG"
        for number in range(300):
            assert say(port, "SET", f"k{number}", "x" * 10_000) == b"+OK"
        assert say(port, "DBSIZE") < b":300"

    def test_apps_reach_the_one_of_their_region(self, machines: dict[str, dict[str, int]]) -> None:
        for number, port in enumerate(machines["store"].values(), 1):
            assert say(port, "SET", "where", "x" * number) == b"+OK"
        for region, port in machines["reader"].items():
            own = list(machines["store"]).index(region) + 1
            env = httpx.get(f"http://127.0.0.1:{port}/").json()
            near = int(env["STORE"].removeprefix("redis://127.0.0.1:").removesuffix("/0"))
            assert say(near, "STRLEN", "where") == b":%d" % own

    def test_it_is_not_left_behind(self, tmp_path: Path) -> None:
        small.write_app(tmp_path)
        handle = start_world(small.spec(tmp_path))
        small.deploy_hello(handle.api_url, handle.token, toml=CACHE, image="", public=False)
        found = small.Footprint.of(handle.guardian_pid, [])
        servers = [p for p in found.pids if "valkey" in _command(p)]
        assert len(servers) == 2
        subprocess.run(["kill", "-9", str(small.world_pid(handle.guardian_pid))], check=True)
        small.nothing(found.left)
        handle.stop()

    def test_files_of_fly_toml_configure_it(self, world: WorldHandle) -> None:
        toml = CACHE.replace('"store"', '"filed"').replace(
            "--maxmemory 3mb --maxmemory-policy allkeys-lru", "/etc/cache.conf"
        )
        toml += '[[files]]\nguest_path = "/etc/cache.conf"\nraw_value = "requirepass secret"\n'
        small.deploy_hello(
            world.api_url, world.token, toml=toml, image="", public=False, regions=("cdg",)
        )
        (port,) = (m["ports"]["6379"] for m in machines_of(world) if m["app"] == "filed")
        assert say(port, "PING").startswith(b"-NOAUTH")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


ASK = """
import socket
near = socket.create_connection(("top1.nearest.of.store.internal", 6379), timeout=5)
near.sendall(b"*1\\r\\n$4\\r\\nPING\\r\\n")
raise SystemExit(0 if near.recv(100) == b"+PONG\\r\\n" else 1)
"""


@pytest.mark.contract
def test_a_cache_that_is_a_host_of_its_own_has_its_name_and_port(tmp_path: Path) -> None:
    small.write_app(tmp_path)
    (tmp_path / "ask.py").write_text(ASK)
    try:
        world = start_world(small.spec(tmp_path, layer="hosts"))
    except WorldError as error:
        pytest.skip(f"no hosts here: {error}")
    with world as handle:
        at = handle.api_url, handle.token
        small.deploy_hello(*at, toml=CACHE, image="", public=False)
        toml = small.TOML + '[deploy]\nrelease_command = "python ask.py"\n'
        small.deploy_hello(*at, toml=toml, regions=("cdg",))
