"""Which folder is meant, and what is said when there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.errors import RecordsError
from loadtest.plan.resolve import load_plan
from loadtest.run.judge import find_folder, judge_folder, report_path


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def a_run(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "plan.json").write_text(json.dumps(load_plan().to_json()))
    return path


def test_without_a_name_the_latest_run_is_meant() -> None:
    folder = a_run(Path("reports") / "r1")
    (folder.parent / "latest").symlink_to("r1")
    assert find_folder(None).path == folder.resolve()


def test_no_run_yet() -> None:
    with pytest.raises(RecordsError, match=r"reports/latest: no run yet; `loadtest run` makes one"):
        find_folder(None)


def test_no_such_folder() -> None:
    with pytest.raises(RecordsError, match="elsewhere: no such run folder"):
        find_folder(Path("elsewhere"))


def test_a_folder_that_is_no_run() -> None:
    Path("photos").mkdir()
    with pytest.raises(RecordsError, match=r"photos: holds no plan\.json, so it is no run folder"):
        find_folder(Path("photos"))


def test_a_run_that_ended_before_there_was_load_cannot_be_judged() -> None:
    folder = a_run(Path("early"))
    with pytest.raises(RecordsError, match="not a complete run folder"):
        judge_folder(folder)


def test_a_run_without_a_report_says_how_to_get_one() -> None:
    folder = a_run(Path("early"))
    with pytest.raises(RecordsError, match=r"report\.html: not there; `loadtest analyze .*early`"):
        report_path(folder)
