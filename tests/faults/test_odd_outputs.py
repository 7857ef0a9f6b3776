"""A verdict stands wherever it is told, and nothing that others named is obeyed by who reads it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import command_line
import pytest
import synth
from stored import Stored
from stored_forged import counted

from loadtest.plan.model import Gate
from loadtest.records.seal import seal

HOSTILE = (
    *("\x1b[31mred", "a\nb\r\nc", "\N{RIGHT-TO-LEFT OVERRIDE}live\N{LEFT-TO-RIGHT ISOLATE}", "]]>"),
    *("::error::x", "##[add-mask]x", "##vso[task.complete]", "a|b", "`c` **d** [e](javascript:f)"),
    *("<script>alert(1)</script>", "@all #1", "=cmd|' /C'!A0", "\ufffe\uffff", "\x00", "\x9b31m"),
    *("\N{COLLISION SYMBOL}" * 40, "g" * 900, "\u2028h\u2029", "</script><img src=x onerror=i>"),
)
OBEYED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ufffe\uffff]"
    r"|^\s*::(?!error title=loadtest|warning title=loadtest)|##\[|##vso\[",
    re.MULTILINE,
)
DERIVED = ("summary.json", "verdict.json", "junit.xml", "report.html", "report.md")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = synth.make_plan(
        regions=("cdg", "ord"), thresholds=("ttfb.p50 < 10s",), gate=Gate(resamples=200)
    )
    return synth.write_run(tmp_path_factory.mktemp("good") / "run", plan, seconds=12, seed=3)


@pytest.fixture
def run(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "run")


def make_hostile(folder: Path) -> None:
    """Let everything be called as nobody should call it, and a quarter of all requests fail."""
    stored = Stored(folder, folder)

    def rename(rows: list[dict[str, object]]) -> None:
        for number, row in enumerate(rows):
            word = HOSTILE[number % len(HOSTILE)]
            row.update(name=word, served_by=word, scenario=HOSTILE[number // 2 % 3])
            if number % 4 == 0:
                row.update(error="status", status=500)

    stored.rows(rename)
    counted(stored)
    failure = {"kind": "status", "deployment": "multi", "count": 1}
    told = [{**failure, "scenario": word, "name": word, "sentence": word} for word in HOSTILE]
    stored.edit("engine.json", lambda engine: engine["workers"][0].update(failures=told))
    events = [
        {"t_ms": 9_000, "app": word, "region": word, "machine": word, "event": "exit",
         "asked": False, "exit_code": 1, "restarting": False} for word in HOSTILE
    ]  # fmt: skip
    stored.edit("world.json", lambda world: world["watch"].update(machine_events=events))
    stored.put("plan.json", ("title",), "".join(HOSTILE[:9]))
    seal(folder, "by hand")


def test_nothing_that_others_named_is_obeyed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_hostile(run)
    rows, lines = tmp_path / "rows.csv", tmp_path / "rows.ndjson"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    told = command_line.run(
        *("gate", str(run), "--output", f"csv={rows}", "--output", f"ndjson={lines}")
    )
    assert told.code == 12
    assert "::error title=loadtest" in told.out
    shown = {"standard output": told.out, "standard error": told.err}
    shown |= {name: (run / name).read_text() for name in DERIVED}
    shown["job summary"] = (tmp_path / "step.md").read_text()
    shown["comment"] = command_line.run("comment", "--print", str(run)).out
    obeyed = {name: OBEYED.search(text) for name, text in shown.items() if name not in FREE}
    assert {name: found for name, found in obeyed.items() if found} == {}
    for name in FREE:
        assert not re.search("[\x00-\x08\x1b\x9b\u202e]", shown[name])
    ET.fromstring(shown["junit.xml"])
    for name in ("summary.json", "verdict.json"):
        json.loads(shown[name], parse_constant=pytest.fail)
    assert "<script>alert" not in shown["report.html"]
    assert "<img src=x" not in shown["report.html"]
    widths = {len(row) for row in csv.reader(io.StringIO(rows.read_text()))}
    assert len(widths) == 1
    assert len([json.loads(line) for line in lines.read_text().splitlines()]) > 0


FREE = ("report.html", "report.md", "summary.json", "verdict.json", "junit.xml", "job summary")
"""No log: what looks like a command there is text."""


def places() -> Iterator[tuple[str, Callable[[Path], object]]]:
    yield "a folder", Path.mkdir
    yield "a pipe", os.mkfifo


@pytest.mark.parametrize("name", DERIVED)
@pytest.mark.parametrize("make", [make for _, make in places()], ids=[name for name, _ in places()])
def test_a_verdict_stands_whose_files_cannot_be_written(
    run: Path, name: str, make: Callable[[Path], object]
) -> None:
    make(run / name)
    kind = (run / name).lstat().st_mode
    told = command_line.run("gate", str(run))
    assert told.code == 0
    assert "verdict: PASS" in told.out
    assert f"{name}" in told.err
    assert (run / name).lstat().st_mode == kind
    assert all((run / other).is_file() for other in DERIVED[:3] if other != name)


def test_a_page_takes_the_place_of_no_pipe(run: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    told = command_line.run("compare", str(run), str(run), "--out", str(pipe))
    assert told.code == 12
    assert "is a device, a pipe or a socket" in told.err
    assert pipe.is_fifo()
