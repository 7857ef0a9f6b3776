"""The folder for temporary files is everybody's: nothing there is believed for its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadtest.world.guard import ownership, remains
from loadtest.world.guard.ownership import is_own_folder, read_own
from loadtest.world.guard.reaper import remove_dir
from loadtest.world.guard.remains import FOLDER_PREFIX, orphaned, sweep_orphans, write_owner
from loadtest.world.guard.shared_memory import clear_shared_memory

DEAD_PID = 4_194_304
DEAD = f"{DEAD_PID} 17\n"
"""An owner whose id is above what Linux gives to a process (proc(5), pid_max)."""


def dead_world(parent: Path, name: str = "a") -> Path:
    base = parent / f"{FOLDER_PREFIX}{name}"
    base.mkdir(mode=0o700)
    (base / "owners").write_text(DEAD)
    (base / "world.log").write_text("")
    return base


def test_a_dead_world_of_ours_is_removed(tmp_path: Path) -> None:
    base = dead_world(tmp_path)
    assert orphaned(base)
    assert sweep_orphans(tmp_path) == 1
    assert not base.exists()


def test_a_link_with_the_name_of_a_world_leads_nowhere(tmp_path: Path) -> None:
    """What it leads to may be ours and may look like a dead world; it is no world all the same."""
    theirs = tmp_path / "elsewhere"
    theirs.mkdir()
    target = dead_world(theirs)
    shared = tmp_path / "shared"
    shared.mkdir()
    link = shared / f"{FOLDER_PREFIX}b"
    link.symlink_to(target)
    assert not orphaned(link)
    assert sweep_orphans(shared) == 0
    assert not remove_dir(link)
    assert link.is_symlink()
    assert (target / "world.log").exists()


def test_a_folder_of_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = dead_world(tmp_path)
    monkeypatch.setattr(ownership.os, "geteuid", lambda: base.stat().st_uid + 1)
    assert sweep_orphans(tmp_path) == 0
    assert not remove_dir(base)
    with pytest.raises(PermissionError):
        read_own(base / "owners")


def test_a_folder_that_others_can_write_to_is_left_alone(tmp_path: Path) -> None:
    base = dead_world(tmp_path)
    base.chmod(0o777)
    assert not is_own_folder(base)
    assert sweep_orphans(tmp_path) == 0
    assert base.exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_list_of_processes_that_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    """A link would name somebody else's processes, a pipe would never end."""
    base = dead_world(tmp_path)
    owners = base / "owners"
    owners.unlink()
    if kind == "link":
        (tmp_path / "list").write_text(DEAD)
        owners.symlink_to(tmp_path / "list")
    elif kind == "pipe":
        os.mkfifo(owners)
    else:
        owners.mkdir()
    assert not orphaned(base)
    assert sweep_orphans(tmp_path) == 0


def test_an_owner_is_not_written_through_a_link(tmp_path: Path) -> None:
    base = dead_world(tmp_path)
    (base / "owners").unlink()
    (tmp_path / "theirs").write_text("")
    (base / "owners").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="owners"):
        write_owner(base, os.getpid())
    assert (tmp_path / "theirs").read_text() == ""


@pytest.mark.parametrize("text", ["", "1\n", "a b\n", "1 2 3\n", "-1 5\n", "\xff\xfe\n", "²3 4\n"])
def test_a_list_of_anything_names_no_process(tmp_path: Path, text: str) -> None:
    base = dead_world(tmp_path)
    (base / "owners").write_text(text, encoding="latin-1")
    assert remains._read(base / "owners") == []


def test_links_and_pipes_named_as_a_servers_file_are_passed_by(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{DEAD_PID}\n" + "x\n" * 5 + "0 0\n")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "postmaster.pid").symlink_to(tmp_path / "list")
    os.mkfifo(tmp_path / "b" / "postmaster.pid")
    assert clear_shared_memory(tmp_path) == 0


def test_what_is_gone_is_gone(tmp_path: Path) -> None:
    assert remove_dir(tmp_path / "never")
