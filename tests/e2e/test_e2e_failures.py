"""What goes wrong is one sentence and an exit code: no traceback, no hang, nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import small_app
from whole_program import Program, gone_within, has_measured, loadtest, read

from loadtest.errors import EXIT_ENGINE, EXIT_INTERRUPTED, EXIT_PLAN, EXIT_WORLD

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def failure(folder: Path, *arguments: str, until: Callable[[Program], None] | None = None) -> str:
    """
    Run a plan that ends badly, and check what holds of every failure.

    Args:
        folder: Where the plan is.
        *arguments: Further words of the command.
        until: Called once the program runs; breaks something.

    Returns:
        The exit code and what the program said, as ``code: text``.
    """
    words = ("run", "plan.toml", "--out", "run", *arguments)
    with loadtest(*words, cwd=folder) as program:
        if until is not None:
            until(program)
        while program.process.poll() is None:
            program.look()
            time.sleep(0.05)
        out, err = program.process.communicate(timeout=60)
        assert gone_within(program, 5) == []
    assert "Traceback (most recent call last)" not in err.replace("  | Traceback", "")
    assert out == "" or "verdict" in out
    return f"{program.process.returncode}: {err}"


def measuring(program: Program, folder: Path) -> None:
    """Wait until records of a run are on disk."""
    program.wait_for(lambda: has_measured(folder / "run"), "steady rows")


def test_an_app_that_crashes_is_told_with_its_last_words(tmp_path: Path) -> None:
    small_app.write(tmp_path, small_app.CRASHES)
    told = failure(tmp_path)
    assert told.startswith(f"{EXIT_WORLD}: ")
    assert "of app shop in" in told
    assert "does not stay up: it ended with exit code 1; its last output:" in told
    assert "| opening the shop" in told
    assert told.count("| RuntimeError: the setting FLAVOUR is missing") == 1
    (kept,) = (entry for entry in (tmp_path / "run").iterdir() if entry.name != ".loadtest")
    assert kept.name == "logs"
    assert "FLAVOUR is missing" in "".join(log.read_text() for log in kept.glob("shop-*.log"))


def test_an_app_that_never_listens_is_told_after_the_plans_deadline(tmp_path: Path) -> None:
    small_app.write(tmp_path, small_app.NEVER_LISTENS, healthy_within_s="3")
    told = failure(tmp_path)
    assert told.startswith(f"{EXIT_WORLD}: ")
    assert "did not become healthy within 3 s: check servicecheck-00-http-8080" in told
    assert "| waiting for the message queue" in told
    assert "| connection failed: Connection refused" in told


def test_no_database_server_is_told_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_app.write(tmp_path)
    plan.write_text(
        plan.read_text().replace('fly_toml = ""', 'fly_toml = "fly/recipes-db/fly.toml"')
    )
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("LOADTEST_POSTGRES_BIN", str(tmp_path / "empty"))
    told = failure(tmp_path)
    assert told.startswith(f"{EXIT_WORLD}: ")
    assert f"LOADTEST_POSTGRES_BIN is {tmp_path}/empty, which has no initdb" in told


def test_a_scenario_that_is_no_python_is_told_with_file_and_line(tmp_path: Path) -> None:
    small_app.write(tmp_path, scenario="from locust import task\n\ndef broken(:\n    pass\n")
    told = failure(tmp_path)
    assert told.startswith(f"{EXIT_PLAN}: ")
    assert f"{tmp_path}/scenario.py, line 3: invalid syntax" in told
    assert not (tmp_path / "run").exists()


def test_an_interrupt_before_there_is_load_ends_at_once(tmp_path: Path) -> None:
    small_app.write(tmp_path, small_app.NEVER_LISTENS)

    def interrupt(program: Program) -> None:
        program.wait_for(lambda: bool(program.pids_of("shop.py")), "the app")
        program.process.send_signal(signal.SIGTERM)

    assert failure(tmp_path, until=interrupt).startswith(f"{EXIT_INTERRUPTED}: ")
    assert not (tmp_path / "run").exists()


def test_a_world_that_dies_in_mid_run_leaves_what_was_measured(tmp_path: Path) -> None:
    small_app.write(tmp_path)

    def kill(program: Program) -> None:
        measuring(program, tmp_path)
        os.kill(program.pids_of("loadtest.world")[0], signal.SIGKILL)

    told = failure(tmp_path, until=kill)
    assert told.startswith(f"{EXIT_WORLD}: ")
    assert told.count("error   ") == 1
    assert "error   the world at http://127.0.0.1:" in told
    kept = read(tmp_path / "run" / "summary.json")["cells"]
    assert sum(cell["n"] for cell in kept) > 0
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_coordinator_that_dies_in_mid_run_leaves_what_was_measured(tmp_path: Path) -> None:
    small_app.write(tmp_path)

    def kill(program: Program) -> None:
        measuring(program, tmp_path)
        os.kill(program.pids_of("loadtest.engine.coordinator.main")[0], signal.SIGKILL)

    told = failure(tmp_path, until=kill)
    assert told.startswith(f"{EXIT_ENGINE}: ")
    assert told.count("error   ") == 1
    assert "it was started anew since" in told
    kept = read(tmp_path / "run" / "summary.json")["cells"]
    assert sum(cell["n"] for cell in kept) > 0
