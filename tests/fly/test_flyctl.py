"""Fly's own command, where it is on PATH: it takes our files and reads the emulated API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loadtest.world.handle import WorldHandle, start_world

TOP = Path(__file__).resolve().parents[2]
FLYCTL = shutil.which("flyctl") or shutil.which("fly") or ""
FILES = sorted((*(TOP / "fly").glob("*/fly.toml"), *(TOP / "tests/foreign").glob("*/fly.toml")))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.contract,
    pytest.mark.skipif(not FLYCTL, reason="flyctl is not on PATH"),
]


def flyctl(home: Path, *words: str, url: str = "http://127.0.0.1:9", token: str = "x") -> str:
    """Run flyctl with no other Fly than the one at a URL of this machine; return its output."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "FLY_API_TOKEN": token,
        "FLY_API_BASE_URL": url,
        "FLY_FLAPS_BASE_URL": url,
        "FLY_NO_UPDATE_CHECK": "1",
        "FLY_SEND_METRICS": "0",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        [FLYCTL, *words], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_flyctl_takes_the_file(file: Path, tmp_path: Path) -> None:
    told = flyctl(tmp_path, "config", "validate", "--strict", "-c", str(file))
    assert "Configuration is valid" in told


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldHandle]:
    spec = {
        "schema": 1,
        "regions": ["cdg", "ord"],
        "primary_region": "cdg",
        "rtt_ms": {"cdg-ord": 40.0},
        "layer": "relay",
        "images": {"app": {"cwd": str(tmp_path_factory.mktemp("image"))}},
    }
    with start_world(spec) as handle:
        yield handle


@pytest.fixture(scope="module")
def machine(world: WorldHandle) -> str:
    """Make an app with a secret and a machine with a check; return the machine's id."""
    serve = f'exec {sys.executable} -m http.server --bind 127.0.0.1 "$PORT"'
    check = {"type": "tcp", "port": 8080, "interval": "1s"}
    service = {"protocol": "tcp", "internal_port": 8080, "ports": [{"port": 80}]}
    headers = {"authorization": f"Bearer {world.token}"}
    with httpx.Client(base_url=world.api_url, headers=headers, trust_env=False) as http:
        http.post("/v1/apps", json={"name": "shop", "org_slug": "personal"}).raise_for_status()
        while http.get("/v1/apps/shop").status_code in (401, 404):  # as flyctl waits for a new app
            pass
        http.post("/v1/apps/shop/secrets", json={"values": {"MOOD": "good"}}).raise_for_status()
        config = {
            "image": "app:1",
            "init": {"cmd": ["sh", "-c", serve]},
            "checks": {"up": check},
            "services": [service],
            "metadata": {"fly_platform_version": "v2", "fly_process_group": "app"},
        }
        made = http.post("/v1/apps/shop/machines", json={"name": "one", "config": config})
        return str(made.raise_for_status().json()["id"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("machine", "list", "-a", "shop"), "one"),
        (("machine", "list", "-a", "shop", "--json"), "fdaa:"),
        (("checks", "list", "-a", "shop"), "up"),
        (("secrets", "list", "-a", "shop"), "MOOD"),
        (("platform", "regions"), "Paris"),
    ],
)
def test_flyctl_reads_the_emulated_api(
    words: tuple[str, ...], told: str, world: WorldHandle, machine: str, tmp_path: Path
) -> None:
    shown = flyctl(tmp_path, *words, url=world.api_url, token=world.token)
    assert told in shown
    assert machine in shown or words[0] in ("secrets", "platform")


def test_flyctl_drives_a_machine(world: WorldHandle, machine: str, tmp_path: Path) -> None:
    """Each command waits for what it did: states, versions, leases and checks are as it knows."""
    for words, told in (
        ("status", "started"),
        ("exec {} hostname", ""),
        ("cordon", "done"),
        ("uncordon", "done"),
        ("leases view", "No leases found"),
        ("suspend", "suspended"),
        ("start", "has been started"),
        ("restart", "to become healthy (started, 1/1)"),
        ("stop", "successfully stopped"),
        ("wait {} --state stopped", 'reached state "stopped"'),
        ("update {} --metadata mood=good --yes --skip-health-checks", "updated successfully"),
        ("clone {} --region ord", "successfully cloned"),
    ):
        line = words.format(machine) if "{}" in words else f"{words} {machine}"
        words_of = ("machine", *line.split(), "-a", "shop")
        assert told in flyctl(tmp_path, *words_of, url=world.api_url, token=world.token), line
