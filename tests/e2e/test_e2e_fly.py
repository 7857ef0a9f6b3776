"""`loadtest run --world fly`, as it is typed, against an embedded world that plays Fly."""

from __future__ import annotations

import http.server
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_app
from whole_program import finished, has_measured, loadtest, read

from loadtest.errors import EXIT_ENGINE, EXIT_FAIL, EXIT_INVALID, EXIT_PASS, EXIT_PLAN, EXIT_WORLD
from loadtest.fly.transport import LIMITED
from loadtest.plan.resolve import load_plan
from loadtest.world.handle import WorldHandle, start_world

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
RUN = ("run", "plan.toml", "--world", "fly", "--image", "registry.example/loadtest:1", "--yes")
MEASURED = (EXIT_PASS, EXIT_INVALID)
"""A machine that is busy with other things measures as much, and says that it was busy."""
SHORT = ("--duration", "2", "--out", "run")


@dataclass
class Fly:
    """An embedded world in Fly's place, and the folder that a person works in."""

    handle: WorldHandle
    folder: Path

    def apps(self) -> list[str]:
        """Return the names of all apps that are there."""
        orgs = ("acme", "personal")
        found = [self._get(f"/v1/apps?org_slug={org}")["apps"] for org in orgs]
        return [app["name"] for apps in found for app in apps]

    def machines(self) -> list[dict[str, Any]]:
        """Return every machine that is there."""
        found: list[dict[str, Any]] = self._get("/world")["machines"]
        return found

    def _get(self, path: str) -> Any:
        headers = {"authorization": f"Bearer {self.handle.token}"}
        url = f"{self.handle.api_url}{path}"
        while (answer := httpx.get(url, headers=headers, trust_env=False)).status_code == LIMITED:
            time.sleep(float(answer.headers["retry-after"]))
        return answer.raise_for_status().json()


@pytest.fixture
def fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fly]:
    small_app.write(tmp_path)
    toml = tmp_path / "shop" / "fly.toml"
    toml.write_text(f'{small_app.FLY_TOML}\n[build]\nimage = "registry.example/shop:7"\n')
    spec = {
        "schema": 1,
        "regions": ["cdg", "ord"],
        "primary_region": "cdg",
        "rtt_ms": {"cdg-ord": 20.0},
        "layer": "relay",
        "images": {
            "shop": {"cwd": str(tmp_path / "shop"), "env": {}},
            "loadtest": {"cwd": str(tmp_path), "env": {}},
        },
        "foreign_apps": ["shop", "loadtest"],
        "strict_regions": True,
    }
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with start_world(spec) as handle:
        monkeypatch.setenv("FLY_FLAPS_BASE_URL", handle.api_url)
        monkeypatch.setenv("FLY_API_TOKEN", handle.token)
        yield Fly(handle, tmp_path)


def prefix_of(fly: Fly) -> str:
    """Return the prefix that was made and remembered."""
    path = fly.folder / "config" / "loadtest" / "fly-prefixes.json"
    (prefix,) = json.loads(path.read_text()).values()
    assert isinstance(prefix, str)
    return prefix


def test_from_no_apps_to_a_report_and_back_to_none(fly: Fly) -> None:
    done = finished(*RUN, *SHORT, "--org", "acme", cwd=fly.folder)
    assert done.returncode in MEASURED, done.stderr
    prefix = prefix_of(fly)
    assert f"organization acme, apps {prefix}-shop, {prefix}-loadtest" in done.stderr
    cells = read(fly.folder / "run" / "summary.json")["cells"]
    assert {(cell["region"], cell["n"], cell["errors"]) for cell in cells} == {
        ("cdg", 40, 0),
        ("ord", 40, 0),
    }
    assert (fly.machines(), fly.apps()) == ([], [])
    cost = read(fly.folder / "run" / "world.json")["cost"]
    assert len(cost["machines"]) == 5  # the app twice, a coordinator, two workers
    assert all(machine["gone"] for machine in cost["machines"])
    by_hand = sum(machine["seconds"] * machine["usd_per_s"] for machine in cost["machines"])
    assert cost["usd"] == pytest.approx(by_hand, rel=0.01)
    said = " ".join(done.stderr.split())
    reckoned = re.search(r"5 machines .* at \$([\d.]+) an hour; up to", said)
    per_h = sum(machine["usd_per_s"] for machine in cost["machines"]) * 3_600
    assert reckoned, said
    assert float(reckoned[1]) == pytest.approx(per_h, rel=0.01)
    assert "listed again: all are gone" in said
    row = (fly.folder / "run" / "round-trips.csv").read_text().splitlines()[1].split(",")
    assert row[:2] == ["cdg", "ord"]
    assert float(row[2]) == pytest.approx(20.0, abs=5.0)
    assert load_plan(None, {"regions": ["cdg", "ord"], "network.rtt": str(fly.folder / "run")})
    assert "What it cost" in (fly.folder / "run" / "report.html").read_text()
    assert fly.handle.token not in done.stdout + done.stderr


def test_nothing_is_ordered_where_nobody_agrees_or_the_budget_is_too_small(fly: Fly) -> None:
    silent = finished(*RUN[:-1], *SHORT, cwd=fly.folder)
    assert (silent.returncode, silent.stdout) == (EXIT_PLAN, "")
    assert "--yes: the run would order 5 machines" in " ".join(silent.stderr.split())
    small = finished(*RUN, *SHORT, "--budget", "0.001", cwd=fly.folder)
    assert small.returncode == EXIT_PLAN
    assert "--budget: the run may cost $0.0010 and is reckoned at 5 machines" in " ".join(
        small.stderr.split()
    )
    assert (fly.machines(), fly.apps()) == ([], [])


def test_what_a_killed_run_left_is_shown_and_destroyed(fly: Fly) -> None:
    plan = fly.folder / "plan.toml"
    plan.write_text(f"{plan.read_text()}\n[generator]\ndriver_silent_s = 6\n")
    with loadtest(*RUN, "--out", "run", "--org", "acme", cwd=fly.folder) as program:
        program.wait_for(lambda: has_measured(fly.folder / "run"), "steady rows")
        program.process.kill()
        program.process.wait()
        again = finished(*RUN, *SHORT, "--org", "acme", cwd=fly.folder)
        assert again.returncode == EXIT_WORLD
        assert "`loadtest fly clean` destroys what it left" in " ".join(again.stderr.split())
    end = time.monotonic() + 30
    while len(fly.machines()) > 2 and time.monotonic() < end:
        time.sleep(0.1)
    left = {machine["app"].removeprefix(prefix_of(fly)) for machine in fly.machines()}
    assert left == {"-shop"}  # its image is a person's own, so nothing of ours watches in it
    shown = finished("fly", "status", "--org", "acme", cwd=fly.folder)
    # the generator's app goes with the second run's clean-up if its machines had ended by then
    assert re.search(r"; [12] apps that runs made", shown.stdout)
    refused = finished("fly", "clean", "--org", "acme", cwd=fly.folder)
    assert refused.returncode == EXIT_PLAN
    assert "--yes: there is no terminal to ask on" in refused.stderr
    cleaned = finished("fly", "clean", "--org", "acme", "--yes", cwd=fly.folder)
    assert cleaned.returncode == 0, cleaned.stderr
    assert "listed again: nothing of them is left" in cleaned.stdout
    assert (fly.machines(), fly.apps()) == ([], [])


def guide() -> list[list[str]]:
    """Return the words of our commands that fly/README.md leads a newcomer through."""
    page = (ROOT / "fly" / "README.md").read_text()
    steps = page.partition("## From no account to a report")[2].partition("\n### ")[0]
    lines = map(str.strip, steps.splitlines())
    return [line.split()[1:] for line in lines if line.startswith("loadtest ")]


def test_a_url_is_measured_from_the_regions_and_the_generator_alone_is_deployed(
    fly: Fly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the very commands of the guide, but for the site, a shorter time and nobody to ask."""
    measure, *after = guide()
    assert measure[:2] == ["run", "https://shop.example"]
    assert [words[:2] for words in after] == [["fly", "status"], ["fly", "clean"]]
    monkeypatch.setenv("FLY_ORG", "acme")
    asked: set[str] = set()

    class Shop(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.add(self.path)
            self.send_response(200 if self.path == "/tea" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        here = (*measure[2:], *RUN[4:], *SHORT, "--warmup", "1")
        wrong = finished("run", f"{url}/none", *here, cwd=fly.folder)
        assert wrong.returncode == EXIT_ENGINE
        assert "before the load, from this machine:" in wrong.stderr
        assert "Order" not in wrong.stderr
        done = finished("run", f"{url}/tea", *here, cwd=fly.folder)
        server.shutdown()
    for words in after:
        looked = finished(*words, cwd=fly.folder)
        assert looked.returncode == 0
        assert looked.stdout.strip() == "organization acme: no run has left anything"
    assert done.returncode in MEASURED, done.stderr
    assert asked == {"/none", "/tea"}
    cells = read(fly.folder / "run" / "summary.json")["cells"]
    assert {(cell["region"], cell["n"], cell["errors"]) for cell in cells} == {
        ("cdg", 10, 0),
        ("ord", 10, 0),
    }
    cost = read(fly.folder / "run" / "world.json")["cost"]
    assert {machine["app"] for machine in cost["machines"]} == {f"{prefix_of(fly)}-loadtest"}
    assert len(cost["machines"]) == 3
    assert (fly.machines(), fly.apps()) == ([], [])


def test_arms_that_are_compared_change_places_before_they_are_judged(fly: Fly) -> None:
    """What a machine has of its own is on both sides then; a change goes where its arm goes."""
    app = fly.folder / "shop" / "shop.py"
    app.write_text(
        app.read_text()
        .replace("import http.server, os", "import http.server, os, time")
        .replace("        self.send_response", "        time.sleep(float(os.environ['PAUSE_S']))\n"
                 "        self.send_response")
    )  # fmt: skip
    plan = fly.folder / "plan.toml"
    text = plan.read_text().replace("max_looks = 1", "max_looks = 2")
    head, _, _ = text.partition("[[deployments]]")
    arms = "".join(
        f"""
[[deployments]]
name = "{name}"
fly_toml = "shop/fly.toml"
env = {{ PAUSE_S = "{pause_s}" }}
"""
        for name, pause_s in (("base", 0.0), ("candidate", 0.03))
    )
    rule = 'thresholds = ["ttfb.p50 within 5% or 5ms of baseline for each region"]'
    plan.write_text(head.replace("[database]", f"{rule}\n\n[database]", 1) + arms)
    done = finished(*RUN, "--duration", "13", "--out", "run", cwd=fly.folder, timeout_s=110)
    said = " ".join((done.stderr + done.stdout).split())
    assert done.returncode in (EXIT_FAIL, EXIT_INVALID), said
    assert read(fly.folder / "run" / "world.json")["exchanges"] == 1
    assert len(read(fly.folder / "run" / "engine.json")["segments"]) == 2
    verdict = read(fly.folder / "run" / "verdict.json")
    assert "which changed places 1 time" in verdict["holds_for"]
    for rule_result in verdict["rules"]:
        if "ttfb.p50" in rule_result["rule"]:
            assert 25 < rule_result["observed"] < 40, said
    assert (fly.machines(), fly.apps()) == ([], [])
