"""Workflows parse, every action is pinned to a commit, every `loadtest` command is one of ours."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from our_commands import commands_in, parse

TOP = Path(__file__).resolve().parent.parent
OURS = sorted((TOP / ".github" / "workflows").glob("*.yml"))
TO_COPY = sorted((TOP / "deploy" / "github").glob("*.yml"))
FILES = [*OURS, *TO_COPY, TOP / "action.yml"]
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}")
OUR_ACTION = "OWNER/loadtest@REVISION"

every_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(TOP)))


def steps_of(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "runs" in content:
        return list(content["runs"]["steps"])
    return [step for job in content["jobs"].values() for step in job["steps"]]


@every_file
def test_every_action_is_pinned_to_a_commit_and_says_which_version_that_is(path: Path) -> None:
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert [name for name in used if not (PINNED.fullmatch(name) or name == OUR_ACTION)] == []
    lines = [line for line in path.read_text().splitlines() if PINNED.search(line)]
    assert all(re.search(r"@[0-9a-f]{40} # v?\d+(\.\d+)+$", line) for line in lines)


@every_file
def test_every_command_of_ours_is_one_that_this_version_takes(path: Path) -> None:
    for step in steps_of(path):
        for words in commands_in(step.get("run", "")):
            parse(words)


def test_commands_of_ours_are_found() -> None:
    """The test above would pass an empty list."""
    found = [w[0] for p in FILES for step in steps_of(p) for w in commands_in(step.get("run", ""))]
    assert {"run", "gate", "comment", "fly", "history", "keys", "coordinator", "worker"} <= set(
        found
    )
    with pytest.raises(click.UsageError):
        parse(["run", "--no-such-flag"])
    with pytest.raises(click.UsageError):
        parse(["worker", "--region", "syd"])


@every_file
def test_a_workflow_has_no_more_rights_than_it_names(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "jobs" in content:
        assert content["permissions"]["contents"] in ("read", "write")
        assert all("timeout-minutes" in job for job in content["jobs"].values())
        assert "pull_request_target" not in content[True]  # YAML reads `on` as true


@every_file
def test_no_secret_and_no_title_is_pasted_into_a_script(path: Path) -> None:
    """What a script needs comes as a variable: text of others could run anything."""
    for step in steps_of(path):
        assert "${{" not in step.get("run", ""), step


def test_the_gate_takes_the_inputs_that_the_workflow_gives_it() -> None:
    inputs = yaml.safe_load((TOP / "action.yml").read_text())["inputs"]
    for path in TO_COPY:
        for step in steps_of(path):
            if step.get("uses") == OUR_ACTION:
                assert set(step["with"]) <= set(inputs)
                parse(["gate", *shlex.split(step["with"]["arguments"])])


def test_the_worker_is_deployed_before_the_web_app_and_each_branch_has_files_of_its_own() -> None:
    content = yaml.safe_load((TOP / "deploy" / "github" / "deploy.yml").read_text())
    assert content[True]["push"]["branches"] == ["staging", "production"]
    assert content["jobs"]["web"]["needs"] == "worker"
    for name, job in content["jobs"].items():
        assert job["env"]["CONFIG"] == f"fly.{name}.${{{{ github.ref_name }}}}.toml"
        runs = [step["run"] for step in job["steps"] if "run" in step]
        assert runs[0].startswith("flyctl config validate --strict")
        assert "flyctl secrets import --stage" in runs[1]
        assert runs[2].startswith("flyctl deploy")


def test_a_release_is_published_without_a_stored_token_and_the_image_for_both_processors() -> None:
    jobs = yaml.safe_load((TOP / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    (push,) = (s["with"] for s in jobs["image"]["steps"] if "build-push" in s.get("uses", ""))
    assert push["platforms"] == "linux/amd64,linux/arm64"
    assert push["push"]


def test_a_release_of_a_fork_names_the_forks_repository(tmp_path: Path) -> None:
    """Its package knows by that which image it was pushed as: `published_image`."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(TOP / name, tmp_path)
    release = TOP / ".github" / "workflows" / "release.yml"
    runs = [step.get("run", "") for step in steps_of(release)]
    (named,) = (run for run in runs if "OWNER" in run)
    assert runs.index(named) < runs.index("make package")
    env = {"PATH": os.environ["PATH"], "GITHUB_REPOSITORY": "Acme/Speed"}
    subprocess.run(["bash", "-ec", named], cwd=tmp_path, env=env, check=True)
    urls = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["urls"]
    assert urls["Source"] == "https://github.com/Acme/Speed"
    assert not [path for path in tmp_path.iterdir() if "OWNER" in path.read_text()]
    images = [s["with"]["images"] for s in steps_of(release) if "images" in s.get("with", {})]
    assert images == ["ghcr.io/${{ github.repository }}"]
