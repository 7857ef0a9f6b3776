"""
Renames every key of every fact in a copy of the source, one at a time, and asks the type checker.

What crosses the cut is written and read by the same types, so a key that changes its name on one
side alone must not even start.  ``pytest -m slow -s`` of this file prints how many there were.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACTS = (
    "loadtest/records/facts.py",
    "loadtest/records/failures.py",
    "loadtest/records/load_status.py",
    "loadtest/records/watch.py",
    "loadtest/records/world_facts.py",
    "loadtest/engine/wire/messages.py",
)
FIELD = re.compile(r"^    ([a-z]\w*): ", re.MULTILINE)


def fields(text: str) -> Iterator[re.Match[str]]:
    """Yield where the fields of frozen types are named."""
    for block in re.finditer(
        r"^@dataclass\(frozen=True, slots=True\)\nclass .*?(?=^\S)", text + "\n#", re.M | re.S
    ):
        yield from (field for field in FIELD.finditer(text, block.start(), block.end()))


class TypeChecker:
    """The type checker as a server, which looks again at what a change touches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._status = folder / "dmypy.json"

    def complaints(self) -> list[str]:
        """Return what is wrong now, as the server finds it."""
        return self._run("-m", "mypy.dmypy", "--status-file", str(self._status), "run", "--")

    def complaints_anew(self) -> list[str]:
        """Return what is wrong now; the server does not always see what a change touches."""
        return self._run("-m", "mypy")

    def _run(self, *command: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, *command, "--config-file", "pyproject.toml"],
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return [line for line in done.stdout.splitlines() if ": error:" in line]

    def stop(self) -> None:
        """End the server."""
        command = [sys.executable, "-m", "mypy.dmypy", "--status-file", str(self._status), "stop"]
        subprocess.run(command, cwd=self.folder, capture_output=True, check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_no_key_changes_its_name_on_one_side_alone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "loadtest", tmp_path / "loadtest")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    checker = TypeChecker(tmp_path)
    unnoticed, count = [], 0
    try:
        assert checker.complaints() == []
        for name in FACTS:
            path = tmp_path / name
            text = path.read_text(encoding="utf-8")
            for field in fields(text):
                count += 1
                renamed = f"{text[: field.start(1)]}other_{field[1]}{text[field.end(1) :]}"
                path.write_text(renamed, encoding="utf-8")
                if not checker.complaints() and not checker.complaints_anew():
                    unnoticed.append(f"{name}: {field[1]}")
            path.write_text(text, encoding="utf-8")
    finally:
        checker.stop()
    print(f"\n{count} keys renamed, {count - len(unnoticed)} refused by the type checker")
    assert count > 100
    assert not unnoticed, "unnoticed: " + ", ".join(unnoticed)
