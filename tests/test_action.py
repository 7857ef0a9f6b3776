"""The steps of the action, run by bash with stand-ins for the programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ACTION = (Path(__file__).resolve().parent.parent / "action.yml").read_text(encoding="utf-8")
# What bash 3.2 has not: its way of reading lists, of changing case and of naming tables.
NEWER_BASH = re.compile(r"\bmapfile\b|\breadarray\b|declare -A|\$\{\w+(?:\^|,)|&>>|\bcoproc\b")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the steps are bash")


def script_of(step: str) -> str:
    """Return the shell lines of a step."""
    body = ACTION.partition(f"- name: {step}\n")[2].partition("\n    - ")[0]
    return textwrap.dedent(body.partition("run: |\n")[2])


def run_step(step: str, folder: Path, **inputs: str) -> tuple[int, list[list[str]], dict[str, str]]:
    """Run a step; return its exit code, what `loadtest` and `python` were called with, outputs."""
    calls = folder / "calls"
    programs = folder / "loadtest" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    recorder = (
        f"#!{sys.executable}\nimport json, os, pathlib, sys\n"
        f"out = open({str(calls)!r}, 'a')\n"
        "print(json.dumps(sys.argv[1:] + [os.environ.get('LOADTEST_PROGRAMS', '')]), file=out)\n"
        "if 'gate' in sys.argv:\n"
        "    run = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "    run.mkdir()\n"
        '    (run / "verdict.json").write_text(\'{"decision": "fail"}\')\n'
        "    sys.exit(10)\n"
    )
    (programs / "loadtest").write_text(recorder)
    (programs / "loadtest").chmod(0o755)
    job = folder / "job"
    job.mkdir(exist_ok=True)
    if not (job / "python").exists():
        (job / "python").symlink_to(sys.executable)
    output = folder / "output"
    output.touch()
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script_of(step)],
        cwd=folder,
        env={
            "PATH": f"{job}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(folder),
            "GITHUB_OUTPUT": str(output),
            **inputs,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    told = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, told, outputs


def test_the_gate_gets_its_arguments_as_they_were_quoted(tmp_path: Path) -> None:
    more = "ci/gate.toml --threshold 'ttfb.p50 within 5% of baseline' --path \"/a b\" '$(touch x)'"
    code, (call,), outputs = run_step(
        "Gate", tmp_path, APP="web/fly.toml", BASE="abc", REGIONS="cdg,ord", ARGUMENTS=more
    )
    out = str(tmp_path / "loadtest-run")
    assert call == [
        *("gate", "--app", "web/fly.toml", "--base", "abc", "--regions", "cdg,ord", "--out", out),
        *("ci/gate.toml", "--threshold", "ttfb.p50 within 5% of baseline", "--path", "/a b"),
        *("$(touch x)", str(tmp_path / "job")),
    ]
    assert code == 10
    assert outputs == {"report": out, "verdict": "fail"}
    assert not (tmp_path / "x").exists()


def test_the_gate_goes_without_more_arguments(tmp_path: Path) -> None:
    _, (call,), _ = run_step("Gate", tmp_path, APP="f", BASE="", REGIONS="cdg", ARGUMENTS="")
    assert call[3:5] == ["--base", ""]
    assert call[-2] == str(tmp_path / "loadtest-run")


@pytest.mark.parametrize(
    ("artifact", "name"), [("loadtest-report", []), ("web", ["--name", "web"])]
)
def test_the_comment_has_the_artifacts_name_and_link(
    tmp_path: Path, artifact: str, name: list[str]
) -> None:
    link = "https://github.example/artifacts/1"
    code, (call,), _ = run_step(
        "Comment on the pull request", tmp_path, RUN="run", LINK=link, NAME=artifact
    )
    assert code == 0
    assert call[:-1] == ["comment", "run", "--link", link, *name]


def test_every_requirements_file_that_is_there_is_installed(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    for file in ("requirements.txt", "web/requirements.txt"):
        (tmp_path / file).touch()
    job = tmp_path / "job"
    job.mkdir()
    (job / "python").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/installed\n')
    (job / "python").chmod(0o755)
    run_step(
        "Install the app's requirements",
        tmp_path,
        REQUIREMENTS="requirements.txt\nweb/requirements.txt nowhere.txt",
    )
    assert (tmp_path / "installed").read_text().splitlines() == [
        f"-m pip install --quiet -r {file}" for file in ("requirements.txt", "web/requirements.txt")
    ]


def test_no_step_needs_a_newer_bash_than_macos_has() -> None:
    lines = [line for line in ACTION.splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in lines if NEWER_BASH.search(line)] == []


def test_no_input_is_pasted_into_a_script() -> None:
    """An input that is part of a shell line could run anything; they come as variables."""
    for script in re.findall(r"run: \|?\n?((?:        .*\n)+|.*\n)", ACTION.partition("steps:")[2]):
        assert "${{" not in script
