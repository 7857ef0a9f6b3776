"""A world that somebody keeps up, and runs that use it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import small_app
from whole_program import finished, gone_within, loadtest, read

from loadtest.errors import EXIT_WORLD

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

TOKEN = "LOADTEST_WORLD_TOKEN"


def test_runs_use_a_standing_world_one_after_the_other_and_leave_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_app.write(tmp_path)
    with loadtest("world", "up", "plan.toml", cwd=tmp_path) as program:
        lines: list[str] = []
        while not (lines and lines[-1].startswith("Ctrl-C")):
            lines.append(program.process.stdout.readline().strip())  # type: ignore[union-attr]
            assert program.process.poll() is None
        program.wait_for(lambda: len(program.pids_of("shop.py")) == 2, "the app in two regions")
        before = set(program.alive())
        token, *command = next(line for line in lines if line.startswith(TOKEN)).split()
        monkeypatch.setenv(*token.split("=", 1))
        assert command[:3] == ["loadtest", "run", "plan.toml"]

        for name in ("one", "two"):
            done = finished(*command[1:], "--duration", "2", "--out", name, cwd=tmp_path)
            assert "Traceback" not in done.stderr
            cells = read(tmp_path / name / "summary.json")["cells"]
            assert {(cell["region"], cell["n"], cell["errors"]) for cell in cells} == {
                ("cdg", 40, 0),
                ("ord", 40, 0),
            }
        other = finished(*command[1:], "--regions", "cdg,syd", "--out", "three", cwd=tmp_path)
        assert other.returncode == EXIT_WORLD
        assert "regions: the world has cdg, ord, but not syd" in other.stderr
        program.look()
        assert set(program.alive()) == before

        program.process.send_signal(signal.SIGINT)
        program.process.wait(30)
        assert gone_within(program, 5) == []
