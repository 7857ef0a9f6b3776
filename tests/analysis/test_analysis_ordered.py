"""Rows and account have to follow from plan and seed; what was relabelled or mixed is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synth

from loadtest.analysis.load import load_run
from loadtest.analysis.summary import summarise
from loadtest.errors import RecordsError
from loadtest.plan.model import Gate
from loadtest.records.schema import RECORDS
from loadtest.records.seal import seal
from loadtest.records.writer import write_table

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = synth.make_plan(regions=("cdg", "ord"), gate=Gate(resamples=200))
    return synth.write_run(tmp_path_factory.mktemp("whole") / "run", plan, seconds=8, seed=3)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def relabel(rows: Rows) -> None:
    for row in rows:
        row["deployment"] = {"single": "multi", "multi": "single"}.get(
            row["deployment"], row["deployment"]
        )


def move(rows: Rows) -> None:
    for row in rows:
        row["intended_us"] += 1_000 * (row["block"] % 2)


def swap_moments(rows: Rows) -> None:
    first, second = rows[10], rows[11]
    for key in ("arrival", "row"):
        first[key], second[key] = second[key], first[key]


def number_on(rows: Rows) -> None:
    for row in rows:
        row["arrival"] += 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (relabel, "another deployment than the schedule gives"),
        (move, "another intended_us than the schedule gives"),
        (swap_moments, "than the schedule gives"),
        (number_on, "was not scheduled from"),
    ],
)
def test_rows_that_nobody_ordered_are_refused(
    copy: Path, change: Callable[[Rows], None], told: str
) -> None:
    path = copy / "records.parquet"
    rows = pq.read_table(path).to_pylist()
    change(rows)
    path.unlink()
    write_table(path, [pa.Table.from_pylist(rows, RECORDS)])
    seal(copy)
    with pytest.raises(RecordsError, match=told):
        load_run(copy)


@pytest.mark.parametrize(
    ("name", "path", "value", "told"),
    [
        ("plan.json", ("seed",), 7, "seed: not as in the plan"),
        ("plan.json", ("load", "rate"), 9.0, "load: not as in the plan"),
        ("plan.json", ("load", "rate"), 10, "load: not as in the plan"),
        ("engine.json", ("schedule", "arrivals"), 7, "where plan and seed give 720"),
        ("engine.json", ("schedule", "fingerprint"), "0", "is not that of the plan's schedule"),
        ("engine.json", ("segments", 0, "blocks"), 13, "13 blocks of segment 0"),
        ("engine.json", ("segments",), [], "a block that was not ordered"),
        ("engine.json", ("plan",), {}, "not as in the plan"),
        ("engine.json", ("batches_refused",), -1, "want a number from 0 on"),
        ("engine.json", ("epoch_wall_ns",), 2**63, "of 64 bits at most"),
        ("engine.json", ("workers", 0, "clock", "offset_us"), -(2.0**70), "of 64 bits at most"),
        ("engine.json", ("workers", 0, "health", "late"), -1, "want a number from 0 on"),
    ],
)
def test_an_account_that_does_not_follow_from_the_plan_is_refused(
    copy: Path, name: str, path: tuple[Any, ...], value: Any, told: str
) -> None:
    content = json.loads((copy / name).read_text())
    holder = content
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    (copy / name).write_text(json.dumps(content))
    seal(copy)
    with pytest.raises(RecordsError, match=told):
        load_run(copy)


@pytest.mark.parametrize("by", ["run", "by hand"])
def test_rules_that_were_changed_after_the_run_are_told(copy: Path, by: Any) -> None:
    """Only a person may change them, and the report says so."""
    content = json.loads((copy / "plan.json").read_text())
    content["thresholds"] = ["ttfb.p50 < 9s"]
    (copy / "plan.json").write_text(json.dumps(content))
    seal(copy, by)
    validity = summarise(load_run(copy)).validity
    (told,) = [check for check in validity.checks if check.name == "sealed"]
    assert "not those it was measured for: thresholds" in told.why
    assert told.ok == (by == "by hand")
