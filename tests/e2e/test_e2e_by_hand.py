"""A coordinator and workers that a person starts in hosts of an emulated world, one a region."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import small_app
from whole_program import PATIENCE_S, Program, finished, has_measured, loadtest, read

from loadtest.errors import EXIT_ENGINE, EXIT_INVALID, EXIT_PASS
from loadtest.run.own_keys import make_keys
from loadtest.world.hosts.layer import ask_obstacle

OBSTACLE = ask_obstacle()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,  # tenths of a millisecond: on a machine that does nothing else
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(OBSTACLE), reason=f"no hosts here: {OBSTACLE}"),
]

REGIONS = ("cdg", "ord", "syd")
WITHIN_MS = 0.3
NUMBERS = ("--duration", "12", "--warmup", "2", "--looks", "1", "--rate", "15")
TOKEN = "LOADTEST_WORLD_TOKEN"
PLAN = """
paths = ["/"]
reproduce = false

[network]
layer = "hosts"
"""
APART_MS = 0.5
"""How far a host is from the edge of its region (`network.same_region_ms`); the world's own workers
are not.  At no distance at all a pass through the links, which takes a moment, could not be hidden
in it.
"""


class BusyMachineError(Exception):
    """The run itself said that this machine was too busy to be measured on."""


class ByHand:
    """What a person types in terminals of a world that is up."""

    def __init__(self, folder: Path, world: Program, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        make_keys(folder / "keys")
        lines: list[str] = []
        while not (lines and lines[-1].startswith("Ctrl-C")):
            lines.append(world.process.stdout.readline().strip())  # type: ignore[union-attr]
            assert world.process.poll() is None
        line = next(line for line in lines if line.startswith(TOKEN))
        token, *self.run = line.split()
        self.api_url = self.run[-1]
        patch.setenv(*token.split("=", 1))

    def words(self, region: str, *command: str) -> list[str]:
        """Return what runs a command of ours in a region's place."""
        inside = ("world", "exec", "--world", self.api_url, region, "--", "env")
        return [*inside, "LOADTEST_LOST_AFTER_S=2.5", sys.executable, "-m", "loadtest", *command]

    def start(self, name: str, region: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a command of ours in a region's place."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "loadtest", *self.words(region, *command)],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a terminal of its own: a share of the CPU of its own
                stdout=log,
                stderr=log,
            )
        self.started[name] = process
        return process

    def worker(self, name: str, region: str, keys: str = "worker") -> subprocess.Popen[bytes]:
        where = ("--region", region, "--coordinator", "cdg.visitors.internal:5557")
        return self.start(name, region, "worker", *where, "--keys", self.keys(keys))

    def keys(self, who: str) -> str:
        return str(self.folder / "keys" / f"{who}.env")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def measure(self, out: str, *more: str) -> list[str]:
        """Return what drives the coordinator from where it stands."""
        url, where = "http://shop.fly.dev/", ("--coordinator", "http://127.0.0.1:8089")
        keys = ("--keys", self.keys("driver"))
        return self.words("cdg", "run", url, *where, *keys, "--out", str(self.folder / out), *more)

    @staticmethod
    def until(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            time.sleep(0.05)

    def close(self) -> None:
        for process in self.started.values():
            process.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    """Bring up a world with an app, a coordinator in Paris and a worker in each region."""
    folder = tmp_path_factory.mktemp("by_hand")
    path = small_app.write(folder, regions='["cdg", "ord", "syd"]')
    text = path.read_text().replace('"scenario.py"', '"scenarios/pages.py"')
    path.write_text(text.replace("\n[database]", f"{PLAN}\n[database]", 1))
    with (
        pytest.MonkeyPatch.context() as patch,
        loadtest("world", "up", "plan.toml", cwd=folder) as world,
    ):
        found = ByHand(folder, world, patch)
        try:
            keys = ("--keys", found.keys("coordinator"))
            silent = ("--bind-workers", "::", "--driver-silent", "4s")
            found.start("coordinator", "cdg", "coordinator", *keys, *silent)
            for region in REGIONS:
                found.worker(region, region)
            ready = "reported as ready"
            found.until(lambda: found.log("coordinator").count(ready) == len(REGIONS), "workers")
            yield found
        finally:
            found.close()
            world.process.send_signal(signal.SIGINT)
            world.process.wait(30)


def medians(out: Path, *command: str) -> dict[str, float]:
    """Run a command that measures into a folder; return the median TTFB of each region."""
    done = finished(*command, *NUMBERS, cwd=out.parent)
    if done.returncode == EXIT_INVALID or "quieter machine" in done.stderr:
        raise BusyMachineError(done.stdout + done.stderr)
    assert done.returncode == EXIT_PASS, done.stderr
    cells = read(out / "summary.json")["cells"]
    assert {cell["errors"] for cell in cells} == {0}
    return {cell["region"]: cell["ttfb_ms"]["p50"] for cell in cells}


def test_a_worker_with_another_key_ends_and_says_why(by_hand: ByHand) -> None:
    lines = Path(by_hand.keys("worker")).read_text().splitlines()
    lines[-1] = f"{lines[-1].partition('=')[0]}={'5e' * 32}"
    Path(by_hand.keys("wrong")).write_text("\n".join(lines))
    assert by_hand.worker("stranger", "syd", "wrong").wait(PATIENCE_S) == EXIT_ENGINE
    assert "refuses the keys of this worker" in by_hand.log("stranger")


@pytest.mark.flaky(reruns=2, only_rerun="BusyMachineError")
def test_they_measure_what_the_worlds_own_workers_do(by_hand: ByHand) -> None:
    ask = "from loadtest.world.links.wait import sharpen; print(sharpen())"
    granted = subprocess.check_output([sys.executable, "-c", ask], text=True).strip()
    if granted != "realtime":
        pytest.skip(f"links are {granted} here, and one pass more through them shows")
    folder, theirs = by_hand.folder, by_hand.run[1:]
    before = medians(folder / "before", *theirs, "--out", "before")
    ours = medians(folder / "ours", *by_hand.measure("ours"))
    after = medians(folder / "after", *theirs, "--out", "after")
    assert set(ours) == set(REGIONS)
    if before != pytest.approx(after, abs=WITHIN_MS):
        raise BusyMachineError(f"the world's own workers told {before}, then {after}")
    theirs_ms = {code: (before[code] + after[code]) / 2 for code in before}
    from_there = {code: ours[code] - APART_MS for code in ours}
    assert from_there == pytest.approx(theirs_ms, abs=WITHIN_MS)


def test_a_driver_that_falls_silent_ends_the_load_alone(by_hand: ByHand) -> None:
    with loadtest(*by_hand.measure("long", "--duration", "10m"), cwd=by_hand.folder) as program:
        program.wait_for(lambda: has_measured(by_hand.folder / "long"), "steady rows")
        program.process.kill()
        program.process.wait()
    said = "nobody has asked for 4 s: ending the run"
    by_hand.until(lambda: said in by_hand.log("coordinator"), "the end of the load")
    assert by_hand.started["coordinator"].poll() is None


def test_a_worker_that_is_lost_costs_its_region_alone(by_hand: ByHand) -> None:
    out = by_hand.folder / "lost"
    with loadtest(*by_hand.measure("lost", *NUMBERS), cwd=by_hand.folder) as program:
        program.wait_for(lambda: has_measured(out), "steady rows")
        by_hand.started["ord"].kill()
        assert program.process.wait(PATIENCE_S) == EXIT_INVALID
    states = {w["region"]: w["state"] for w in read(out / "engine.json")["workers"]}
    assert states == {"cdg": "finished", "ord": "lost", "syd": "finished"}
    cells = {cell["region"]: cell for cell in read(out / "summary.json")["cells"]}
    assert (cells["cdg"]["n"], cells["syd"]["n"]) == (180, 180)
    assert not cells["ord"]["valid"]
