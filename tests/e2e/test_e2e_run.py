"""The whole program with real parts: run, break, interrupt, kill; and nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
import small_app
from whole_program import SMALL, finished, gone_within, has_measured, loadtest, read

from loadtest.errors import EXIT_INTERRUPTED, EXIT_INVALID, EXIT_PASS
from loadtest.plan.resolve import DEFAULT_PLAN

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def test_a_run_measures_judges_reports_and_leaves_nothing(tmp_path: Path) -> None:
    """
    The main job, small: exit code 0, every file of the run folder, the known order of arms.

    The arms differ by what is spoken, too: plain, over TLS, and HTTP/2.
    """
    plan = (ROOT / DEFAULT_PLAN).read_text()
    for name, spoken in (("multi", 'scheme = "https"\nhttp = "1.1"'), ("replica", 'http = "2"')):
        plan = plan.replace(f'name = "{name}"', f'name = "{name}"\n{spoken}')
    (tmp_path / "plan.toml").write_text(plan)
    # One rule that holds on a busy machine too: a factor of ten at the median.
    rule = ("--threshold", "ttfb.p50(replica) <= 0.5 * ttfb.p50(multi) for each region in syd")
    words = ("run", "plan.toml", *SMALL, *rule, "--duration", "13", "--out", "run")
    with loadtest(*words, cwd=tmp_path) as program:
        program.wait_for(lambda: bool(program.pids_of("loadtest.engine.worker.main")), "workers")
        out, err = program.process.communicate(timeout=120)

    folder = tmp_path / "run"
    assert program.process.returncode == EXIT_PASS, out + err
    assert "verdict: PASS" in out
    assert gone_within(program, 5) == []
    names = {path.name for path in folder.iterdir()}
    assert names == {
        ".loadtest",
        "plan.json", "world.json", "engine.json", "records.parquet", "summary.json",
        "verdict.json", "report.html", "report.md", "junit.xml", "manifest.json",
    }  # fmt: skip
    # no `latest` in a folder that is not ours
    assert {path.name for path in tmp_path.iterdir()} == {"run", "plan.toml"}
    cells = {(c["deployment"], c["region"]): c for c in read(folder / "summary.json")["cells"]}
    p50 = {key: cell["ttfb_ms"]["p50"] for key, cell in cells.items()}
    assert p50["replica", "syd"] < p50["single", "syd"] < p50["multi", "syd"]
    assert cells["single", "syd"]["served_by"].keys() == {"cdg"}
    assert cells["multi", "syd"]["served_by"].keys() == {"syd"}
    assert {cell["db_round_trips"] for cell in cells.values()} == {2.0}
    assert sum(cell["errors"] for cell in cells.values()) == 0
    protocols = {arm: set(cell["protocols"]) for (arm, _), cell in cells.items()}
    assert protocols == {"single": {"1.1"}, "multi": {"1.1"}, "replica": {"2"}}
    for worker in read(folder / "engine.json")["workers"]:
        rows = worker["rows"]
        assert rows["sent"] == rows["received"] == rows["merged"] > 0
        assert rows["missing"] == 0

    before = {n: (folder / n).read_bytes() for n in ("summary.json", "verdict.json")}
    again = finished("analyze", "run", cwd=tmp_path)
    assert again.returncode == EXIT_PASS, again.stderr
    assert {n: (folder / n).read_bytes() for n in before} == before


def test_a_killed_command_line_takes_everything_with_it(tmp_path: Path) -> None:
    """kill -9 in mid-run: nothing is left five seconds later but what was measured."""
    words = ("run", *SMALL, "--deployments", "replica", "--duration", "60", "--out", "run")
    with loadtest(*words, cwd=tmp_path) as program:
        program.wait_for(
            lambda: len(program.pids_of("loadtest.engine.worker.main")) == 2, "workers"
        )
        program.wait_for(lambda: has_measured(tmp_path / "run"), "steady rows")
        assert len(program.offspring) > 15
        assert program.folders
        program.process.send_signal(signal.SIGKILL)
        program.process.wait()

        assert gone_within(program, 5) == []
    done = finished("analyze", "run", cwd=tmp_path)
    assert done.returncode == EXIT_INVALID, done.stderr
    assert "verdict: INVALID" in done.stdout
    assert sum(cell["n"] for cell in read(tmp_path / "run" / "summary.json")["cells"]) > 0


def test_a_killed_worker_invalidates_its_region_and_no_other(tmp_path: Path) -> None:
    """Load is never moved: the region's cells are invalid, the others stand."""
    small_app.write(tmp_path)
    words = ("run", "plan.toml", "--duration", "8", "--out", "run")
    with loadtest(*words, cwd=tmp_path) as program:
        program.wait_for(lambda: has_measured(tmp_path / "run"), "steady rows")
        victim = next(
            p for p in program.pids_of("loadtest.engine.worker.main") if region_of(p) == "ord"
        )
        os.kill(victim, signal.SIGKILL)
        out, err = program.process.communicate(timeout=120)

    assert program.process.returncode == EXIT_INVALID, out + err
    assert gone_within(program, 5) == []
    cells = read(tmp_path / "run" / "summary.json")["cells"]
    assert {c["valid"] for c in cells if c["region"] == "ord"} == {False}
    assert {c["valid"] for c in cells if c["region"] == "cdg"} == {True}, out + err
    lost = [w for w in read(tmp_path / "run" / "engine.json")["workers"] if w["state"] == "lost"]
    assert [w["region"] for w in lost] == ["ord"]


def test_an_interrupted_run_keeps_what_it_measured(tmp_path: Path) -> None:
    """Ctrl-C: exit code 130, records and report are there, marked partial."""
    small_app.write(tmp_path)
    with loadtest("run", "plan.toml", "--out", "run", cwd=tmp_path) as program:
        program.wait_for(lambda: has_measured(tmp_path / "run"), "steady rows")
        program.process.send_signal(signal.SIGINT)
        out, err = program.process.communicate(timeout=60)

    assert program.process.returncode == EXIT_INTERRUPTED, out + err
    assert gone_within(program, 5) == []
    assert read(tmp_path / "run" / "engine.json")["state"] == "stopped"
    assert sum(c["n"] for c in read(tmp_path / "run" / "summary.json")["cells"]) > 0
    assert "partial" in (tmp_path / "run" / "report.html").read_text().lower()


def test_a_write_from_afar_lands_in_the_primary_and_is_read_back_there(tmp_path: Path) -> None:
    """POST from syd is replayed to cdg, comes back once, and syd's next read shows it."""
    with loadtest(
        "world", "up", *SMALL, "--deployments", "single,replica", cwd=tmp_path
    ) as program:
        lines: list[str] = []
        while not (lines and lines[-1].startswith("Ctrl-C")):
            lines.append(program.process.stdout.readline().strip())  # type: ignore[union-attr]
            assert program.process.poll() is None
        program.look()
        urls = {tuple(w[:2]): w[2] for line in lines if len(w := line.split()) == 3}
        with httpx.Client(base_url=urls["syd", "recipes-replica"], trust_env=False) as client:
            first = client.get("/recipes?city=Sydney")
            answer = client.post(
                "/recipes",
                data={"city": "Sydney", "title": "Soup of the evening", "summary": "s",
                      "ingredients": "water", "minutes": "10"},
            )  # fmt: skip
            after = client.get("/recipes?city=Sydney")
        with httpx.Client(base_url=urls["cdg", "recipes-single"], trust_env=False) as client:
            primary = client.get("/recipes?city=Sydney")
        program.process.send_signal(signal.SIGINT)
        program.process.wait(30)

    assert first.headers["fly-region"] == "syd"
    assert "Soup of the evening" not in first.text
    assert answer.status_code in (201, 303)
    assert answer.headers["fly-region"] == "cdg"
    assert "fly-replay-threshold" in answer.headers["set-cookie"]
    assert after.headers["fly-region"] == "cdg"
    assert after.text.count("Soup of the evening") == 1
    assert primary.text.count("Soup of the evening") == 1
    assert gone_within(program, 5) == []


def region_of(pid: int) -> str:
    """Return the region that a machine's process was started in."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return next(e.removeprefix("FLY_REGION=") for e in environment if e.startswith("FLY_REGION="))
