"""Run folders that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synth

from loadtest.analysis.load import Run, load_run

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a made-up run and loads it."""
    count = 0

    def make(*, seconds: float = 20, seed: int = 1, plan: Any = None, **effects: Any) -> Run:
        nonlocal count
        count += 1
        folder = synth.write_run(
            tmp_path / f"run-{count}",
            plan or synth.make_plan(),
            seconds=seconds,
            seed=seed,
            effects=synth.Effects(**effects),
        )
        return load_run(folder)

    return make


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return an honest run of half a minute."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    return load_run(synth.write_run(folder, synth.make_plan(), seconds=30, seed=3))
