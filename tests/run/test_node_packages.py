"""What ``npm ci`` installs is shared by revisions where lock files alone decide it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.run.node_packages import decisive_text
from loadtest.run.prepared import set_up_packages

ABOUT: dict[str, Any] = {
    "name": "shop",
    "dependencies": {"left-pad": "1"},
    "scripts": {"start": ""},
}
LOCK: dict[str, Any] = {
    "lockfileVersion": 3,
    "packages": {"": {}, "node_modules/left-pad": {"version": "1.3.0", "resolved": "https://r/l"}},
}
NPM = """#!/bin/sh
echo "$PWD" >> "$RUNS"
rm -rf node_modules && mkdir -p node_modules/left-pad && echo "$PWD" > node_modules/left-pad/at
"""


def revision(folder: Path, *, about: Any = ABOUT, lock: Any = LOCK) -> Path:
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps(about))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    return folder


class Gate:
    """Prepares revisions with an npm that tells of itself."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runs = folder, folder / "runs"
        program = folder / "bin" / "npm"
        program.parent.mkdir()
        program.write_text(NPM)
        program.chmod(0o755)
        self.env = {"PATH": f"{program.parent}:/usr/bin:/bin", "RUNS": str(self._runs)}

    def __call__(self, name: str, line: str = "npm ci", *, anew: bool = False, **files: Any) -> Any:
        folder = revision(self._folder / name, **files)
        return set_up_packages(line, folder, name, env=self.env, anew=anew)

    @property
    def runs(self) -> list[str]:
        return [Path(line).name for line in self._runs.read_text().splitlines()]


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setenv("LOADTEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return Gate(tmp_path)


def test_revisions_with_the_same_lock_file_are_installed_once(gate: Gate, tmp_path: Path) -> None:
    """Whatever else differs in them; what was there before is replaced, as npm does it."""
    assert gate("one") is False
    other = revision(tmp_path / "two", about={**ABOUT, "version": "2", "scripts": {"test": "x"}})
    (other / "node_modules").mkdir()
    (other / "node_modules" / "old").touch()
    assert set_up_packages("npm ci", other, "two", env=gate.env, anew=False) is True
    assert gate.runs == ["one"]
    assert (other / "node_modules" / "left-pad" / "at").read_text() == f"{other}\n"
    assert sorted(path.name for path in other.iterdir()) == [
        "node_modules", "package-lock.json", "package.json"
    ]  # fmt: skip
    assert gate("three", anew=True) is False


@pytest.mark.parametrize(
    "other",
    [
        {"lock": {**LOCK, "packages": {**LOCK["packages"], "node_modules/b": {"version": "1"}}}},
        {"about": {**ABOUT, "overrides": {"left-pad": "2"}}},
        {"line": "npm ci --omit=dev"},
        {"line": "npm ci --ignore-scripts"},
    ],
)
def test_what_decides_on_packages_shares_nothing(gate: Gate, other: dict[str, Any]) -> None:
    gate("one")
    assert gate("two", **other) is False


def test_settings_of_npm_decide_too(gate: Gate, tmp_path: Path) -> None:
    gate("one")
    (tmp_path / ".npmrc").write_text("registry=https://other\n")
    assert gate("two") is False


@pytest.mark.parametrize(
    "other",
    [
        {"line": "npm ci && npm run build"},
        {"line": "npm ci --prefix ../x"},
        {"line": "npm install"},
        {"line": "npm ci 'open"},
        {"about": {**ABOUT, "scripts": {"postinstall": "patch-package"}}},
        {"about": {**ABOUT, "workspaces": ["a"]}},
        {"about": []},
        {"lock": {"lockfileVersion": 1, "dependencies": {}}},
        {"lock": {"packages": {"": {}, "node_modules/prisma": {"hasInstallScript": True}}}},
        {"lock": {"packages": {"": {}, "node_modules/own": {"link": True}}}},
        {"lock": {"packages": {"": {}, "node_modules/own": {"resolved": "file:own.tgz"}}}},
    ],
)
def test_where_other_files_may_decide_nothing_is_done(gate: Gate, other: dict[str, Any]) -> None:
    assert gate("one", **other) is None
    assert not (Path(gate.env["RUNS"])).exists()


def test_scripts_that_are_not_run_decide_nothing(tmp_path: Path) -> None:
    about = {**ABOUT, "scripts": {"postinstall": "patch-package"}}
    lock = {"packages": {"node_modules/a": {"hasInstallScript": True}}}
    folder = revision(tmp_path / "app", about=about, lock=lock)
    (folder / "binding.gyp").touch()
    assert decisive_text("npm ci --ignore-scripts", folder) is not None
    assert decisive_text("npm ci", folder) is None
    (folder / "npm-shrinkwrap.json").write_text("{")
    assert decisive_text("npm ci --ignore-scripts", folder) is None
