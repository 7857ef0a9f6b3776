"""A stored run in a notebook: the documented questions, and numbers that are the report's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import synth

import loadtest
from loadtest.errors import RecordsError
from loadtest.run.judge import judge_folder, report_path

TOP = Path(__file__).resolve().parents[2]
DOCS = TOP / "docs" / "notebook.md"
COMMITTED = [
    TOP / "reports" / name
    for name in re.findall(r"^!/reports/([\w-]+)/$", (TOP / ".gitignore").read_text(), re.MULTILINE)
    if (TOP / "reports" / name / "plan.json").is_file()
]
"""Run folders that are part of the repository; of other runs there is the report alone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = synth.make_plan(thresholds=("ttfb.p50 < 1s for each region",))
    path = tmp_path_factory.mktemp("runs") / "run"
    return synth.write_run(path, plan, seconds=30, seed=3)


def test_numbers_are_those_of_the_summary_and_nothing_is_written(folder: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    run = loadtest.open_run(folder)
    assert {path.name for path in folder.iterdir()} == before
    judged = judge_folder(folder)
    assert run.verdict == judged.decision
    assert repr(run).endswith(f"{run.verdict}>")
    summary = json.loads((folder / "summary.json").read_text())
    for row, cell in zip(run.cells.to_dict("records"), summary["cells"], strict=True):
        assert (row["region"], row["deployment"]) == (cell["region"], cell["deployment"])
        assert row["ttfb_p50_ms"] == pytest.approx(cell["ttfb_ms"]["p50"], abs=1e-3)
        assert row["ttfb_p50_low_ms"] <= row["ttfb_p50_ms"] <= row["ttfb_p50_high_ms"]
    assert len(run.rules) == len(json.loads((folder / "verdict.json").read_text())["rules"])


def test_records_are_in_milliseconds_and_only_samples_have_a_ttfb(folder: Path) -> None:
    run = loadtest.open_run(folder)
    records = run.records
    assert not [name for name in records.columns if name.endswith("_us")]
    steady = records[records["stage"] == "steady"]
    cell = run.cells.iloc[0]
    own = steady[
        (steady["region"] == cell["region"]) & (steady["deployment"] == cell["deployment"])
    ]
    assert np.nanmedian(own["ttfb_ms"]) == pytest.approx(cell["ttfb_p50_ms"], rel=0.02)
    assert records.loc[records["error"] != "", "ttfb_ms"].isna().all()
    assert records.loc[records["error"] == "dropped", "start_s"].isna().all()


def test_the_documented_lines_run(folder: Path) -> None:
    text = DOCS.read_text(encoding="utf-8").replace('"reports/sample"', repr(str(folder)))
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), names)


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_every_committed_run_is_read_and_judged_as_its_report_says(folder: Path) -> None:
    run = loadtest.open_run(folder)
    assert len(run.records) > 0
    assert run.verdict == json.loads((folder / "verdict.json").read_text())["decision"]
    assert report_path(folder) == folder / "report.html"


def test_there_is_a_committed_run() -> None:
    assert "sample" in [folder.name for folder in COMMITTED]


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"no such run folder"):
        loadtest.open_run(tmp_path / "nowhere")
