"""
Its presence puts this folder on the import path, so that tests share `synth`.

Linear algebra on one thread: the matrices are small, and threads that wait for each other on a
machine with other work take ten times as long.

The Machines API of every world that a test starts is listened in on (`tests/fly/machines_tap.py`);
what the schema refuses fails the test in which it was said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_TAP = Path(__file__).parent / "fly" / "tap"


@pytest.fixture(autouse=True, scope="session")
def machines_api_faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the file that worlds write the faults of their API to."""
    path = tmp_path_factory.mktemp("tap") / "faults"
    path.touch()
    found = os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOADTEST_TEST_TAP", str(path))
        patch.setenv("LOADTEST_CACHE", str(path.with_name("cache")))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(_TAP), found))))
        yield path


@pytest.fixture(autouse=True)
def _nothing_is_refused(machines_api_faults: Path) -> Iterator[None]:
    before = machines_api_faults.stat().st_size
    yield
    if machines_api_faults.stat().st_size > before:
        told = machines_api_faults.read_bytes()[before:].decode()
        pytest.fail(f"the schema of the Machines API refuses:\n{told}", pytrace=False)
