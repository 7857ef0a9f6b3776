"""Run folders are read whole, lean and checked, or refused with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import synth

from loadtest.analysis.load import Run, load_run
from loadtest.errors import RecordsError
from loadtest.records.seal import seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return synth.write_run(tmp_path / "run", synth.make_plan(), seconds=4, seed=1)


def test_columns_are_lean(plain_run: Run) -> None:
    frame = plain_run.frame
    assert isinstance(frame["region"].dtype, pd.CategoricalDtype)
    assert frame["wait_us"].dtype == "int32"
    assert frame.memory_usage(deep=False).sum() / len(frame) < 92
    assert sorted(frame["region"].unique()) == ["cdg", "ord", "scl", "syd"]
    assert not plain_run.partial


def test_words_keep_their_rows(folder: Path) -> None:
    stored = pq.read_table(folder / "records.parquet").to_pandas()
    frame = load_run(folder).frame
    for column in ("region", "deployment", "stage", "error", "served_by", "worker"):
        assert (stored[column].astype(str) == frame[column].astype(str)).all()


def test_a_run_without_an_engine_account_is_partial(folder: Path) -> None:
    (folder / "engine.json").unlink()
    seal(folder)
    run = load_run(folder)
    assert run.partial
    assert run.run_id == "run"


def break_schema(folder: Path) -> None:
    world = json.loads((folder / "world.json").read_text())
    (folder / "world.json").write_text(json.dumps({**world, "schema": 9}))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(
            lambda f: (f / "plan.json").unlink(), "not a complete run folder", id="no plan"
        ),
        pytest.param(lambda f: (f / "records.parquet").unlink(), "measured nothing", id="no rows"),
        pytest.param(
            lambda f: (f / "records.parquet").write_bytes(b"PAR1 not"), "damaged", id="torn"
        ),
        pytest.param(
            lambda f: (f / "plan.json").write_text("{}"), "schema None; this", id="no schema"
        ),
        pytest.param(
            lambda f: (f / "plan.json").write_text('{"schema": 1}'), "another version", id="other"
        ),
        pytest.param(lambda f: (f / "world.json").write_text("["), "cannot be read", id="no JSON"),
        pytest.param(
            lambda f: (f / "world.json").write_text("[]"), "JSON object", id="not an object"
        ),
        pytest.param(break_schema, "schema 9; this version reads 4", id="other schema"),
    ],
)
def test_a_damaged_folder_is_refused(
    folder: Path, harm: Callable[[Path], object], words: str
) -> None:
    harm(folder)
    with pytest.raises(RecordsError, match=r"manifest\.json"):
        load_run(folder)
    seal(folder, "by hand")
    with pytest.raises(RecordsError, match=words):
        load_run(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no such run folder"):
        load_run(tmp_path / "nowhere")
