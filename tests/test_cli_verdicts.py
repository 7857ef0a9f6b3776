"""Each verdict through the command line, from stored runs with known true values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import synth

from loadtest import cli as program
from loadtest.errors import PlanError
from loadtest.records.schema import RECORDS
from loadtest.run.outputs import read_outputs
from loadtest.run.result import CELL_KEYS, RESULT_SCHEMA, result_of_failure

RULES = {
    "pass": ("ttfb.p50 < 10s", {}, 0),
    "fail": ("ttfb.p50 < 200ms for each region in syd", {}, 10),
    "inconclusive": ("ttfb.p50 < 77ms where region = cdg", {}, 11),
    "invalid": ("ttfb.p50 < 10s", {"lost_worker": "syd"}, 12),
}


def stored(folder: Path, rule: str, effects: dict[str, Any]) -> Path:
    """Write a made-up run of few cells, that a verdict is known of."""
    plan = synth.make_plan(
        regions=("cdg", "syd"),
        deployments=synth.make_plan().deployments[:1],
        thresholds=(rule,) if rule else (),
    )
    return synth.write_run(folder, plan, seconds=20, seed=3, effects=synth.Effects(**effects))


@dataclass
class Done:
    """How the command line ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


Gate = Callable[..., Done]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gate:
    """Give what judges a stored run: the whole command line, in this process."""

    def judge(folder: Path, *flags: str, **environment: str) -> Done:
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("GITHUB_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["loadtest", "gate", str(folder), *flags])
            with pytest.raises(SystemExit) as caught:
                program.main()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capsys.readouterr())

    return judge


@pytest.mark.parametrize("decision", RULES)
def test_each_verdict_has_its_exit_code_and_its_files(
    tmp_path: Path, gate: Gate, decision: str
) -> None:
    """The word on the terminal, the exit code, verdict.json and JUnit agree; so does a repeat."""
    rule, effects, code = RULES[decision]
    folder = stored(tmp_path / "run", rule, effects)

    done = gate(folder)

    assert done.returncode == code, done.stdout + done.stderr
    assert f"verdict: {decision.upper()}" in done.stdout
    assert json.loads((folder / "verdict.json").read_text())["decision"] == decision
    assert json.loads((folder / "summary.json").read_text())["verdict"] == decision
    suite = ElementTree.parse(folder / "junit.xml").getroot()
    marks = len(suite.findall(".//failure")) + len(suite.findall(".//error"))
    assert (marks == 0) == (decision == "pass")
    before = {n: (folder / n).read_bytes() for n in ("summary.json", "verdict.json", "junit.xml")}
    assert gate(folder).returncode == code
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_quiet_and_json_say_the_same_in_fewer_words(tmp_path: Path, gate: Gate) -> None:
    rule, effects, code = RULES["fail"]
    folder = stored(tmp_path / "run", rule, effects)

    quiet = gate(folder, "--quiet")
    told = gate(folder, "--json", GITHUB_ACTIONS="true")

    assert (quiet.returncode, told.returncode) == (code, code)
    assert quiet.stdout.splitlines()[:2] == ["", "verdict: FAIL"]
    assert "report:" not in quiet.stdout
    value = json.loads(told.stdout)
    assert (value["schema"], value["exit_code"], value["decision"]) == (RESULT_SCHEMA, code, "fail")
    assert value["report"] == str(folder / "report.html")
    assert set(value["cells"][0]) == set(CELL_KEYS)
    assert value["rules"] == json.loads((folder / "verdict.json").read_text())["rules"]
    assert set(value) == set(result_of_failure(13, "so it is"))
    assert "::error" in told.stderr


def test_files_for_other_programs_hold_every_request_and_the_verdict(
    tmp_path: Path, gate: Gate
) -> None:
    rule, effects, code = RULES["pass"]
    folder = stored(tmp_path / "run", rule, effects)
    files = {form: tmp_path / f"out.{form}" for form in ("csv", "ndjson", "json")}

    done = gate(folder, "--quiet", *(f"--output={form}={path}" for form, path in files.items()))

    assert done.returncode == code, done.stderr
    header, *rows = files["csv"].read_text().splitlines()
    objects = [json.loads(line) for line in files["ndjson"].read_text().splitlines()]
    assert header == ",".join(f'"{name}"' for name in RECORDS.names)
    assert list(objects[0]) == RECORDS.names
    value = json.loads(files["json"].read_text())
    assert len(rows) == len(objects) == value["run"]["rows"]
    assert value["decision"] == "pass"


@pytest.mark.parametrize("text", ["xml=a.xml", "csv", "csv=", "json=/", "csv=no/such/folder.csv"])
def test_a_file_that_cannot_be_is_told_before_anything_is_done(tmp_path: Path, text: str) -> None:
    with pytest.raises(PlanError, match="--output"):
        read_outputs(["json=x.json", text])


def test_a_run_without_rules_is_measured_and_not_judged(tmp_path: Path, gate: Gate) -> None:
    """No thresholds: exit code 0, and the verdict says so."""
    done = gate(stored(tmp_path / "run", "", {}))

    assert done.returncode == 0
    assert "verdict: NONE" in done.stdout


def test_a_folder_that_is_none_is_told(tmp_path: Path, gate: Gate) -> None:
    done = gate(tmp_path / "nothing-here")

    assert done.returncode == 12
    assert "nothing-here: no such run folder" in done.stderr


def test_a_damaged_run_is_told_in_a_sentence(tmp_path: Path, gate: Gate) -> None:
    """Records that cannot be read: exit code 12, no traceback."""
    folder = stored(tmp_path / "run", "ttfb.p50 < 10s", {})
    (folder / "records.parquet").write_bytes(b"no parquet")

    done = gate(folder)

    assert done.returncode == 12
    assert "records.parquet: not as it was when the run was sealed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["pass", "fail"])
def test_a_reader_that_goes_away_does_not_change_a_verdict(tmp_path: Path, kind: str) -> None:
    """As with ``| head -0``: the verdict's exit code, no traceback, and a complete run folder."""
    rule, effects, code = RULES[kind]
    folder = stored(tmp_path / "run", rule, effects)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "loadtest", "gate", str(folder)],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("encoding", "summary"), [("latin-1", "/nonexistent/summary"), ("ascii:strict", "/")]
)
def test_an_output_that_cannot_take_it_does_not_change_a_verdict(
    tmp_path: Path, encoding: str, summary: str
) -> None:
    """Nor is a sign that cannot be written the ``?`` that means undecided."""
    rule, effects, _ = RULES["pass"]
    folder = stored(tmp_path / "run", rule, effects)
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "gate", str(folder)],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": encoding, "GITHUB_STEP_SUMMARY": summary},
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"+ Pass" in done.stdout
    assert b"?" not in done.stdout


def test_a_job_summary_that_nobody_reads_is_not_waited_for(tmp_path: Path, gate: Gate) -> None:
    rule, effects, _ = RULES["pass"]
    folder = stored(tmp_path / "run", rule, effects)
    os.mkfifo(tmp_path / "summary")

    done = gate(folder, GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))

    assert "GITHUB_STEP_SUMMARY" in done.stderr


def test_github_gets_a_summary_and_annotations(tmp_path: Path, gate: Gate) -> None:
    """Where GitHub's variables are set, the verdict goes where GitHub looks."""
    rule, effects, _ = RULES["fail"]
    folder = stored(tmp_path / "run", rule, effects)
    summary = tmp_path / "summary.md"

    done = gate(folder, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))

    assert "::error title=loadtest fail" in done.stdout
    assert "ttfb.p50" in summary.read_text()
    assert "::error" not in gate(folder).stdout


@pytest.mark.parametrize(
    ("streams", "kind"),
    [
        (">&-", "fail"),
        (">&- 2>&- <&-", "pass"),
        (">/dev/full", "pass"),
        (">/dev/full 2>/dev/full", "fail"),
    ],
)
def test_a_full_or_missing_output_does_not_change_a_verdict(
    tmp_path: Path, streams: str, kind: str
) -> None:
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    rule, effects, code = RULES[kind]
    folder = stored(tmp_path / "run", rule, effects)
    line = f"exec {sys.executable} -m loadtest gate {folder} {streams}"

    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=False, timeout=60)

    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
