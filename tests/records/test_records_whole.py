"""Files appear whole or not at all, and nobody's link is followed on the way."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from loadtest.records import whole
from loadtest.records.folder import RunFolder
from loadtest.records.whole import read_json, temporary_names, whole_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    with whole_file(path) as file:
        file.write(b"one")
        assert not path.exists()
        assert list(tmp_path.glob(temporary_names("report.md")))
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["report.md"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["report.md"]


def test_a_link_laid_in_wait_is_never_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither under the name to be, nor under that of the file beside it."""
    theirs, folder = tmp_path / "theirs", RunFolder.create(tmp_path / "run")
    theirs.write_text("precious")
    folder.file("report.md").symlink_to(theirs)
    folder.save_text("report.md", "ours")
    assert (theirs.read_text(), folder.file("report.md").read_text()) == ("precious", "ours")
    monkeypatch.setattr(whole.secrets, "token_hex", lambda _: "guessed")
    folder.file(".plan.json.guessed.tmp").symlink_to(theirs)
    with pytest.raises(Exception, match="cannot be written"):
        folder.save_json("plan.json", {"schema": 1})
    assert theirs.read_text() == "precious"


@pytest.mark.parametrize("kind", ["a pipe", "a link to a device"])
def test_no_file_takes_the_place_of_what_is_none(tmp_path: Path, kind: str) -> None:
    """As root that would take /dev/stdout from everybody on the machine."""
    path = tmp_path / "out"
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(os.devnull)
    with pytest.raises(OSError, match="is a device, a pipe or a socket"), whole_file(path):
        pass
    assert path.is_fifo() or path.is_symlink()
    assert names(tmp_path) == ["out"]


def test_reading_an_account_reserves_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")
    tracemalloc.start()
    try:
        assert read_json(path) == {}
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1 << 20
