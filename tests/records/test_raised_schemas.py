"""In a copy of the source with a version raised: new runs are read, old ones are refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSIONS = {
    "records/schema.py": ("SCHEMA_VERSION", "records.parquet: record schema {old}"),
    "records/facts.py": ("ENGINE_SCHEMA", "engine.json: schema {old}"),
    "records/world_facts.py": ("WORLD_SCHEMA", "world.json: schema {old}"),
}
"""File, the version in it, and how a run of an earlier one is refused."""

JUDGE = """
import sys
from pathlib import Path
import synth
from loadtest.analysis.load import load_run
from loadtest.analysis.summary import summarise
from loadtest.errors import RecordsError
from loadtest.gate.verdict import judge
old, new = map(Path, sys.argv[1:])
for folder in (old, new):
    if folder == new:
        synth.write_run(folder, synth.make_plan(), seconds=12.0, seed=7)
    try:
        run = load_run(folder)
        print(judge(run, summarise(run)).decision)
    except RecordsError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import synth

    folder = tmp_path_factory.mktemp("old") / "run"
    return synth.write_run(folder, synth.make_plan(), seconds=12.0, seed=7)


@pytest.mark.parametrize("name", VERSIONS)
def test_a_raised_version_reads_its_own_runs_alone(name: str, old: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "loadtest", tmp_path / "loadtest")
    for folder in ("scenarios", "fly"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    word, refusal = VERSIONS[name]
    path = tmp_path / "loadtest" / name
    was, number = _raise(path, word)

    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(old), str(tmp_path / "new")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT / "tests")))},
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    of_old, of_new = done.stdout.splitlines()

    assert refusal.format(old=was) in of_old
    assert f"this version reads {number}: use the loadtest version that wrote the run" in of_old
    assert of_new in ("pass", "inconclusive")


def _raise(path: Path, word: str) -> tuple[int, int]:
    """Raise a version in a file; return what it was and what it is."""
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"^{word}(: Final)? = (\d+)$", text, re.MULTILINE)
    assert found is not None
    was = int(found[2])
    path.write_text(text[: found.start(2)] + str(was + 1) + text[found.end(2) :], encoding="utf-8")
    return was, was + 1
