"""A run on Fly that loses its program, its laptop or its way in any stage: what comes of it."""

from __future__ import annotations

import http.server
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fly_tap import FlyTap, fly_tap
from whole_program import Program, finished, has_measured, loadtest, read

from loadtest.errors import EXIT_ENGINE, EXIT_INVALID, EXIT_PASS
from loadtest.fly.transport import LIMITED
from loadtest.world.handle import WorldHandle, start_world

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

SILENT_S = 5
WITHIN_S = 60.0
PLAN = """
schema = 1
name = "far"
regions = ["cdg", "ord"]
primary_region = "cdg"
world = "fly"

[load]
rate = 5.0
duration_s = {duration_s}
warmup_s = 1.0
block_s = 1.0

[gate]
max_looks = 1

[generator]
driver_silent_s = {silent_s}

[[deployments]]
name = "shop"
url = "{url}"
"""


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers everything with nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Fly:
    """An embedded world in Fly's place, and the folder that a person works in."""

    handle: WorldHandle
    folder: Path
    tap: FlyTap

    def machines(self) -> list[dict[str, Any]]:
        """Return the machines that are there."""
        found: list[dict[str, Any]] = self.call("GET", "/world")["machines"]
        return found

    def made(self) -> int:
        """Return how many apps have been made."""
        return self.tap.seen.count(("POST", "/v1/apps?wait=true", 201))

    def apps(self) -> list[str]:
        """Return the names of the apps that are there."""
        return [app["name"] for app in self.call("GET", "/v1/apps?org_slug=acme")["apps"]]

    def call(self, method: str, path: str) -> Any:
        headers = {"authorization": f"Bearer {self.handle.token}"}
        url = f"{self.handle.api_url}{path}"
        with httpx.Client(headers=headers, trust_env=False, timeout=20) as client:
            while (answer := client.request(method, url)).status_code == LIMITED:
                time.sleep(float(answer.headers["retry-after"]))
        return answer.raise_for_status().json() if answer.content else None

    def cut_off(self) -> None:
        """Take the coordinator's addresses away: nobody outside reaches it any more."""
        (app,) = self.apps()
        for address in self.call("GET", f"/v1/apps/{app}/ip_assignments")["ips"]:
            self.call("DELETE", f"/v1/apps/{app}/ip_assignments/{address['ip']}")


@pytest.fixture
def fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fly]:
    spec = {
        "schema": 1,
        "regions": ["cdg", "ord"],
        "primary_region": "cdg",
        "rtt_ms": {"cdg-ord": 20.0},
        "layer": "relay",
        "images": {"loadtest": {"cwd": str(tmp_path), "env": {}}},
        "strict_regions": True,
    }
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FLY_ORG", "acme")
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server,
        start_world(spec) as handle,
        fly_tap(handle.api_url) as tap,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        plan = PLAN.format(url=url, silent_s=SILENT_S, duration_s=60)
        (tmp_path / "plan.toml").write_text(plan)
        monkeypatch.setenv("FLY_FLAPS_BASE_URL", tap.url)
        monkeypatch.setenv("FLY_API_TOKEN", handle.token)
        yield Fly(handle, tmp_path, tap)
        server.shutdown()


def run(fly: Fly, *more: str) -> Any:
    image = ("--image", "registry.example/loadtest:1")
    return loadtest("run", "plan.toml", *image, "--yes", "--out", "run", *more, cwd=fly.folder)


def started(fly: Fly) -> int:
    return sum(machine["state"] == "started" for machine in fly.machines())


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what happens by itself."""
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


STAGES: dict[str, Callable[[Fly], bool]] = {
    "its app is made": lambda fly: fly.made() == 1,
    "a machine is ordered": lambda fly: bool(fly.machines()),
    "all machines have started": lambda fly: started(fly) == 3,
    "it measures": lambda fly: has_measured(fly.folder / "run"),
}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_a_program_that_ends_leaves_nothing_that_is_not_found(
    fly: Fly, stage: str, how: signal.Signals
) -> None:
    with run(fly) as program:
        program.wait_for(lambda: STAGES[stage](fly), stage)
        program.process.send_signal(how)
        if how == signal.SIGTERM and stage == "it measures":
            program.process.send_signal(how)  # the first one ends the load and keeps it
        program.process.wait(timeout=WITHIN_S)
    heard = stage == "it measures"
    if heard or how == signal.SIGTERM:
        until(lambda: not fly.machines(), "the end of all machines")
    cleaned = finished("fly", "clean", "--yes", cwd=fly.folder)
    assert cleaned.returncode == 0, cleaned.stderr
    assert (fly.machines(), fly.apps()) == ([], [])


def test_a_laptop_that_is_closed_leaves_nothing_and_says_so_when_it_is_opened(fly: Fly) -> None:
    with run(fly) as program:
        program.wait_for(lambda: has_measured(fly.folder / "run"), "steady rows")
        program.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: not fly.machines(), "the end of all machines")
        finally:
            program.process.send_signal(signal.SIGCONT)
        told = ended(program)
    assert program.process.returncode == EXIT_ENGINE, told
    assert "Traceback" not in told
    assert (fly.machines(), fly.apps()) == ([], [])


def test_a_coordinator_that_cannot_be_reached_ends_the_run_with_a_sentence(fly: Fly) -> None:
    with run(fly) as program:
        program.wait_for(lambda: has_measured(fly.folder / "run"), "steady rows")
        fly.cut_off()
        told = ended(program)
    assert program.process.returncode == EXIT_ENGINE, told
    assert "Traceback" not in told
    assert (fly.machines(), fly.apps()) == ([], [])


def test_two_runs_at_once_in_one_organization_do_not_meet(fly: Fly) -> None:
    short = ("--duration", "3")
    with (
        run(fly, *short, "--prefix", "one", "--out", "one") as one,
        run(fly, *short, "--prefix", "two", "--out", "two") as two,
    ):
        one.wait_for(lambda: fly.made() == 2, "both")
        assert set(fly.apps()) == {"one-loadtest", "two-loadtest"}
        for program in (one, two):
            told = ended(program)
            assert program.process.returncode in (EXIT_PASS, EXIT_INVALID), told
    for name in ("one", "two"):
        cells = read(fly.folder / name / "summary.json")["cells"]
        assert [(cell["n"], cell["errors"]) for cell in cells] == [(15, 0), (15, 0)]
    assert (fly.machines(), fly.apps()) == ([], [])


def ended(program: Program) -> str:
    """Wait for the end of a program and return what it said."""
    out, err = program.process.communicate(timeout=2 * WITHIN_S)
    return f"{out}{err}"
