"""Logs of machines: kept where something failed, and never in the way of what is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import WorldError
from loadtest.records.folder import RunFolder
from loadtest.records.watch import MachineLog, MachineLogs
from loadtest.run.machine_logs import KeptLogs
from loadtest.run.progress import Silent

SAID = MachineLogs(
    (MachineLog("shop", "cdg", "1a", "no SECRET_KEY\n"), MachineLog("db", "cdg", "2b", ""))
)


class World:
    def __init__(self, *, gone: bool = False) -> None:
        self.gone = gone

    def logs(self) -> MachineLogs:
        if self.gone:
            raise WorldError("the world does not answer")
        return SAID


def test_a_failure_leaves_the_logs_of_those_that_said_something(tmp_path: Path) -> None:
    folder, progress = RunFolder.claim(tmp_path / "run"), Silent()
    with pytest.raises(WorldError, match="unhealthy"), KeptLogs(folder, progress).of(World()):
        raise WorldError("unhealthy")
    folder.release()

    assert [p.name for p in (tmp_path / "run/logs").iterdir()] == ["shop-cdg-1a.log"]
    assert (tmp_path / "run/logs/shop-cdg-1a.log").read_text() == "no SECRET_KEY\n"
    assert progress.sentences == [f"what the machines printed is in {tmp_path / 'run/logs'}"]


def test_a_run_without_failures_leaves_none(tmp_path: Path) -> None:
    folder, progress = RunFolder.claim(tmp_path / "run"), Silent()
    with KeptLogs(folder, progress).of(World()):
        pass
    folder.release()

    assert not (tmp_path / "run/logs").exists()
    assert progress.sentences == []


def test_a_world_that_is_gone_hides_nothing(tmp_path: Path) -> None:
    folder, progress = RunFolder.claim(tmp_path / "run"), Silent()
    kept = KeptLogs(folder, progress)
    with pytest.raises(WorldError, match="unhealthy"), kept.of(World(gone=True)):
        raise WorldError("unhealthy")
    with kept.of(None):
        pass
    folder.release()

    assert not (tmp_path / "run").exists()


def test_a_new_run_in_the_folder_takes_the_logs_of_the_last_away(tmp_path: Path) -> None:
    folder = RunFolder.claim(tmp_path / "run")
    kept = folder.save_logs(SAID.logs)
    (kept / "mine.txt").write_text("a person's own")
    folder.clear()
    folder.release()

    assert [p.name for p in kept.iterdir()] == ["mine.txt"]
