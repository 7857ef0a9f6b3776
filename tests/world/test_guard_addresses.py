"""A world that is up is found by its own user, and by nobody's trick."""

from __future__ import annotations

import json
import os
from pathlib import Path

from loadtest.world.guard.addresses import WorldAddress, addresses, write_address
from loadtest.world.guard.remains import FOLDER_PREFIX, write_owner


def world(folder: Path, name: str, owner: int) -> Path:
    base = folder / f"{FOLDER_PREFIX}{name}"
    base.mkdir(mode=0o700)
    write_owner(base, owner)
    return base


def test_a_world_that_is_up_is_found_with_its_token(tmp_path: Path) -> None:
    here = WorldAddress("http://127.0.0.1:4280", "secret")
    base = world(tmp_path, "one", os.getpid())
    assert addresses(tmp_path) == []
    write_address(base, here)
    assert addresses(tmp_path) == [here]
    assert (base / "address").stat().st_mode & 0o077 == 0
    assert "secret" not in repr(here)


def test_dead_worlds_links_and_odd_files_are_passed_over(tmp_path: Path) -> None:
    dead = world(tmp_path, "dead", 2**22 + 1)
    write_address(dead, WorldAddress("http://127.0.0.1:1", "x"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps({"api": "http://evil", "token": "x"}))
    (world(tmp_path, "linked", os.getpid()) / "address").symlink_to(elsewhere)
    (world(tmp_path, "odd", os.getpid()) / "address").write_text("[]")
    assert addresses(tmp_path) == []
