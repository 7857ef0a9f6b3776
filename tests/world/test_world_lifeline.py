"""Whoever is killed, nothing of a world stays behind: no process, port, folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import small_world as small

from loadtest.errors import WorldError
from loadtest.world.guard.remains import sweep_orphans
from loadtest.world.handle import WorldHandle, start_world, world_begun

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small.write_app(tmp_path)
    return tmp_path


@pytest.fixture
def handle(folder: Path) -> Iterator[WorldHandle]:
    world = start_world(small.spec(folder))
    yield world
    world.stop()


def footprint(handle: WorldHandle) -> small.Footprint:
    headers = {"authorization": f"Bearer {handle.token}"}
    world = httpx.get(f"{handle.api_url}/world", headers=headers).json()
    return small.Footprint.of(handle.guardian_pid, small.ports_of(world, handle.api_url))


def test_a_world_that_is_begun_is_the_next_one_started_and_goes_where_none_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "worlds"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    with world_begun():
        small.nothing(lambda: not list(place.iterdir()))
        (begun,) = place.iterdir()
        with start_world(small.spec(folder)) as handle:
            assert small.Footprint.of(handle.guardian_pid, []).base == begun
    assert list(place.iterdir()) == []
    with world_begun():
        small.nothing(lambda: not list(place.iterdir()))
    assert list(place.iterdir()) == []


def test_a_killed_cli_takes_the_world_with_it(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, small.__file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    ) as cli:
        assert cli.stdout is not None
        told = json.loads(cli.stdout.readline())
        found = small.Footprint.of(told["guardian"], told["ports"])
        # guardian, world, links, two machines, and the daemon that each of them let loose
        assert len(found.pids) == 7
        assert len(found.ports) == 5
        cli.kill()
    small.nothing(found.left)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_guardian_that_ends_takes_the_world_with_it(
    handle: WorldHandle, number: signal.Signals
) -> None:
    small.deploy_hello(handle.api_url, handle.token, env={"WITH_DAEMON": "1"})
    found = footprint(handle)
    os.kill(handle.guardian_pid, number)
    small.nothing(found.left)


def test_a_killed_world_is_cleaned_up_by_its_guardian(handle: WorldHandle) -> None:
    small.deploy_hello(handle.api_url, handle.token, env={"WITH_DAEMON": "1"})
    found = footprint(handle)
    os.kill(small.world_pid(handle.guardian_pid), signal.SIGKILL)
    small.nothing(found.left)


def test_postgresql_leaves_no_shared_memory_when_the_world_is_killed(handle: WorldHandle) -> None:
    secrets = {"OPERATOR_PASSWORD": "one", "REPL_PASSWORD": "two"}
    toml = 'app = "db"\nprimary_region = "cdg"\n'
    small.deploy_hello(
        handle.api_url,
        handle.token,
        toml=toml,
        image="flyio/postgres-flex:17",
        secrets=secrets,
        regions=("cdg",),
    )
    found = footprint(handle)
    own = segments_of(found.base)
    assert own
    assert own <= shared_memory()
    os.kill(small.world_pid(handle.guardian_pid), signal.SIGKILL)
    small.nothing(found.left)
    small.nothing(lambda: own & shared_memory())


def test_when_guardian_and_world_are_killed_together_the_next_look_cleans_up(
    handle: WorldHandle,
) -> None:
    small.deploy_hello(handle.api_url, handle.token, env={"WITH_DAEMON": "1"})
    found = footprint(handle)
    world = small.world_pid(handle.guardian_pid)
    os.kill(handle.guardian_pid, signal.SIGSTOP)
    os.kill(world, signal.SIGKILL)
    os.kill(handle.guardian_pid, signal.SIGKILL)
    handle.stop()
    small.nothing(found.left)


def test_stopping_a_world_leaves_nothing_and_may_be_repeated(folder: Path) -> None:
    with start_world(small.spec(folder)) as handle:
        small.deploy_hello(handle.api_url, handle.token, env={"WITH_DAEMON": "1"})
        found = footprint(handle)
    assert found.left() == []
    assert not handle.alive()
    handle.stop()


def test_a_live_world_is_no_orphan(handle: WorldHandle) -> None:
    found = footprint(handle)
    sweep_orphans()
    assert found.base.is_dir()
    assert handle.alive()


def test_a_port_in_use_is_one_sentence(folder: Path, handle: WorldHandle) -> None:
    port = int(handle.api_url.rsplit(":", 1)[1])
    with pytest.raises(WorldError, match=rf"127.0.0.1:{port}: Address already in use; choose"):
        start_world(small.spec(folder, api_port=port))


def segments_of(base: Path) -> set[str]:
    """Return the segments that the servers in a world's folder name in postmaster.pid."""
    lines = (file.read_text().splitlines() for file in base.rglob("postmaster.pid"))
    return {line[6].split()[1] for line in lines}


def shared_memory() -> set[str]:
    """Return the System V segments of this machine."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}
