"""What a setup made of a commit is taken again, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from loadtest.errors import PlanError
from loadtest.run import prepared
from loadtest.run.prepared import set_up_commit

LINE = (
    "date +%N >> ../runs; mkdir -p node_modules; cp package-lock.json node_modules/lock;"
    'printf \'#!%s/bin/run\' "$PWD" > node_modules/tool; ln -s "$PWD/app.js" node_modules/link'
)


class Gate:
    """Prepares commits, each time in another folder, as gates do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.times = folder, 0

    def __call__(
        self, commit: str = "c1", line: str = LINE, lock: str = "1", *, anew: bool = False
    ) -> tuple[bool, Path]:
        self.times += 1
        tree = self.folder / f"gate-{self.times}" / "base"
        (tree / ".git").mkdir(parents=True)
        (tree / ".git" / "own").touch()
        (tree / "app.js").write_text(commit)
        if lock:
            (tree / "package-lock.json").write_text(lock)
        return set_up_commit(line, tree, tree, commit=commit, env={}, anew=anew), tree

    def entries(self) -> list[Path]:
        return sorted((self.folder / "cache" / "setup").iterdir())


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setenv("LOADTEST_CACHE", str(tmp_path / "cache"))
    return Gate(tmp_path)


def test_the_second_gate_against_a_commit_does_not_run_the_line(gate: Gate) -> None:
    """What it made is there, and names the folder that it is in now."""
    assert gate()[0] is False
    known, tree = gate()
    assert known
    assert not (tree.parent / "runs").exists()
    assert (tree / "node_modules" / "tool").read_text() == f"#!{tree}/bin/run"
    assert os.readlink(tree / "node_modules" / "link") == f"{tree}/app.js"
    assert (tree / ".git" / "own").exists()
    assert [path.name for path in tree.parent.iterdir()] == ["base"]
    (entry,) = gate.entries()
    assert entry.parent.stat().st_mode & 0o77 == 0
    assert not (entry / "files" / ".git").exists()
    assert gate(anew=True)[0] is False


@pytest.mark.parametrize(
    "other",
    [
        {"commit": "c2", "lock": "2"},
        {"commit": "c2"},
        {"line": LINE + "; true"},
        {"lock": ""},
    ],
)
def test_what_differs_shares_nothing(gate: Gate, other: dict[str, str]) -> None:
    gate()
    known, tree = gate(**other)  # type: ignore[arg-type]
    assert not known
    assert (tree.parent / "runs").exists()
    assert (tree / "app.js").read_text() == other.get("commit", "c1")


def test_a_variable_of_installers_makes_a_difference(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate()
    monkeypatch.setenv("NODE_ENV", "production")
    assert gate()[0] is False
    assert gate()[0] is True


@pytest.mark.parametrize("fault", ["unfinished", "lacks a file", "cut off", "no facts"])
def test_what_is_not_whole_is_made_anew(gate: Gate, fault: str) -> None:
    gate()
    (entry,) = gate.entries()
    if fault == "unfinished":
        entry.rename(entry.with_name(".unfinished-x"))
    elif fault == "lacks a file":
        (entry / "files" / "node_modules" / "lock").unlink()
    elif fault == "cut off":
        (entry / "files" / "node_modules" / "tool").write_text("#")
    else:
        (entry / "made.json").write_text(json.dumps({"folder": "/x"}))
    known, tree = gate()
    assert not known
    assert (tree / "node_modules" / "lock").read_text() == "1"
    assert gate()[0] is True


@pytest.mark.parametrize(
    "line", ["true", "printf '\\177ELF %s' \"$PWD\" > app", "touch made; exit 3"]
)
def test_what_cannot_be_taken_again_is_not_remembered(gate: Gate, line: str) -> None:
    """A line that makes nothing here, a program that names its place, a failure."""
    for _ in range(2):
        if "exit" in line:
            with pytest.raises(PlanError, match="exit code 3"):
                gate(line=line)
        else:
            assert gate(line=line)[0] is False
    assert gate.entries() == []


def test_what_was_used_longest_ago_goes_first(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        gate(f"c{number}")
        for entry in gate.entries():
            status = entry.stat()
            os.utime(entry, (status.st_atime, status.st_mtime - 100))
    assert gate("c0")[0] is True
    monkeypatch.setattr(prepared, "MOST_BYTES", 1_000)
    gate("c3", LINE + "; head -c 500 /dev/zero > big")
    assert gate("c3", LINE + "; head -c 500 /dev/zero > big")[0] is True
    assert gate("c1")[0] is False


@pytest.mark.parametrize(
    ("text", "pinned"),
    [("flask==3.1.0\n# x\ngunicorn==23.0.0 \\\n  --hash=sha256:1\n", True), ("flask\n", False)],
)
def test_requirements_count_as_a_lock_where_every_version_is_named(
    gate: Gate, text: str, pinned: bool
) -> None:
    found = []
    for number in range(2):
        tree = gate.folder / f"gate-{number}" / "base"
        tree.mkdir(parents=True)
        (tree / "requirements.txt").write_text(text)
        found.append(set_up_commit("touch made", tree, tree, commit="c", env={}, anew=False))
    assert found == [False, pinned]
