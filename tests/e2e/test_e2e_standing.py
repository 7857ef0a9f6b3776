"""A world that somebody keeps up, and runs that use it."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_app
from whole_program import Program, finished, gone_within, has_measured, loadtest, read

from loadtest.errors import EXIT_WORLD
from loadtest.plan.resolve import load_plan
from loadtest.run.run_deployment import orders_of
from loadtest.run.run_secrets import Secrets
from loadtest.run.run_world import world_spec
from loadtest.world.handle import start_world

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

TOKEN = "LOADTEST_WORLD_TOKEN"


def test_runs_use_a_standing_world_and_leave_it_as_it_was_however_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a killed run, nothing but its own silence tells the world that it is gone."""
    path = small_app.write(tmp_path)
    path.write_text(f"{path.read_text()}\n[generator]\ndriver_silent_s = 6\n")
    with loadtest("world", "up", "plan.toml", cwd=tmp_path) as world:
        lines: list[str] = []
        while not (lines and lines[-1].startswith("Ctrl-C")):
            lines.append(world.process.stdout.readline().strip())  # type: ignore[union-attr]
            assert world.process.poll() is None
        world.wait_for(lambda: len(world.pids_of("shop.py")) == 2, "the app in two regions")
        before = set(machines_of(world))
        token, *command = next(line for line in lines if line.startswith(TOKEN)).split()
        monkeypatch.setenv(*token.split("=", 1))
        assert command[:3] == ["loadtest", "run", "plan.toml"]
        api_url = command[command.index("--world") + 1]
        headers = {"authorization": f"Bearer {token.partition('=')[2]}"}

        def generators() -> list[dict[str, Any]]:
            machines = httpx.get(f"{api_url}/world", headers=headers).json()["machines"]
            return [machine for machine in machines if machine["app"] == "loadtest"]

        def killed(program: Program) -> None:
            program.process.kill()
            program.process.wait()
            end = time.monotonic() + 30
            while generators() and time.monotonic() < end:
                time.sleep(0.1)
            assert generators() == []

        with loadtest(*command[1:], "--out", "killed", cwd=tmp_path) as program:
            program.wait_for(lambda: has_measured(tmp_path / "killed"), "steady rows")
            assert len(generators()) == 3
            killed(program)

        done = finished(*command[1:], "--duration", "2", "--out", "next", cwd=tmp_path)
        assert "Traceback" not in done.stderr
        cells = read(tmp_path / "next" / "summary.json")["cells"]
        assert {(cell["region"], cell["n"], cell["errors"]) for cell in cells} == {
            ("cdg", 40, 0),
            ("ord", 40, 0),
        }, done.stderr
        other = finished(*command[1:], "--regions", "cdg,syd", "--out", "other", cwd=tmp_path)
        assert other.returncode == EXIT_WORLD
        assert "regions: the world has cdg, ord, but not syd" in other.stderr
        world.look()
        assert set(machines_of(world)) == before

        world.process.send_signal(signal.SIGINT)
        world.process.wait(30)
        assert gone_within(world, 5) == []


def test_a_run_that_is_killed_while_it_deploys_leaves_no_machine_in_a_standing_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app that never listens keeps it at that."""
    monkeypatch.chdir(tmp_path)
    path = small_app.write(tmp_path, small_app.NEVER_LISTENS)
    path.write_text(f"{path.read_text()}\n[generator]\ndriver_silent_s = 6\n")
    plan = load_plan(str(path))
    with start_world(world_spec(plan, orders_of(plan, "r1", Secrets()))) as handle:
        monkeypatch.setenv(TOKEN, handle.token)
        headers = {"authorization": f"Bearer {handle.token}"}

        def machines() -> list[dict[str, Any]]:
            url = f"{handle.api_url}/world"
            found: list[dict[str, Any]] = httpx.get(url, headers=headers).json()["machines"]
            return found

        words = ("run", "plan.toml", "--out", "run", "--world", handle.api_url)
        with loadtest(*words, cwd=tmp_path) as program:
            program.wait_for(lambda: len(machines()) == 5, "all machines")
            health = coordinator_url(handle.api_url, headers) + "/healthz"
            program.wait_for(lambda: httpx.get(health).status_code == 200, "the coordinator")
            heard_s = time.monotonic() + 3.0  # several beats of half a second
            program.wait_for(lambda: time.monotonic() > heard_s, "the coordinator to hear of it")
            program.process.kill()
            program.process.wait()
            end = time.monotonic() + 30
            while machines() and time.monotonic() < end:
                time.sleep(0.1)
            assert machines() == []


def machines_of(world: Program) -> list[str]:
    """Return what runs in a world, but for what it forks the next run's machines from."""
    return [
        command for command in world.alive() if "loadtest.world.machines.template" not in command
    ]


def coordinator_url(api_url: str, headers: dict[str, str]) -> str:
    """Return where a standing world's edge of the primary region takes in the coordinator."""
    edges = httpx.get(f"{api_url}/world", headers=headers).json()["edges"]
    return str(edges["cdg"]["loadtest"])
