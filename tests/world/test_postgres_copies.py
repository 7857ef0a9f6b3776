"""A server's data directory shares its template's files until it writes to them."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from loadtest.world.hosts.layer import ask_obstacle
from loadtest.world.postgres.binaries import Account
from loadtest.world.postgres.copies import share_cluster

OBSTACLE = ask_obstacle()
SHARE = """
import pathlib, sys
from loadtest.world.hosts.layer import become_world
from loadtest.world.postgres.binaries import server_account
from loadtest.world.postgres.copies import share_cluster
become_world()
template, data = map(pathlib.Path, sys.argv[1:])
print(share_cluster(template, data, server_account()))
print((data / "kept").read_text())
(data / "written").write_text("new")
(data / "gone").unlink()
print(sorted(path.name for path in data.iterdir()))
"""


@pytest.mark.contract
@pytest.mark.skipif(bool(OBSTACLE), reason=f"no hosts here: {OBSTACLE}")
def test_a_server_has_copies_of_what_it_writes_to_alone_and_all_of_it_can_be_removed() -> None:
    base = Path(tempfile.mkdtemp(prefix="loadtest-test-"))
    template, data = base / "template", base / "data"
    template.mkdir()
    for name in ("kept", "written", "gone"):
        (template / name).write_text(name)
    done = subprocess.run(
        [sys.executable, "-c", SHARE, template, data],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stdout.splitlines()
    if told[:1] == ["False"]:
        shutil.rmtree(base)
        pytest.skip("this file system cannot be laid over another")
    assert told == ["True", "kept", "['kept', 'written']"], done.stderr
    assert list(data.iterdir()) == []  # it was that process's to see
    assert (base / "data.own" / "written").read_text() == "new"
    assert sorted(path.name for path in template.iterdir()) == ["gone", "kept", "written"]
    assert (template / "written").read_text() == "written"
    shutil.rmtree(base)


def test_what_cannot_be_shared_leaves_nothing(tmp_path: Path) -> None:
    account = Account("me", os.geteuid(), os.getegid(), switch=False)
    folder = tmp_path / "a,b"  # a path that the kernel would take for two settings
    folder.mkdir()
    assert not share_cluster(tmp_path, folder / "data", account)
    assert list(folder.iterdir()) == []
