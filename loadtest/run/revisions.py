"""
Two revisions of an app as two arms of one run: the base from git, the candidate as it stands.

Both run at once in one world and are asked in random order within short blocks, so both see the
same weather.  No stored number is compared.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest.errors import PlanError
from loadtest.fly.config import read_app_config
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM, COUNTS
from loadtest.run.run_deployment import OUR_IMAGE, image_name
from loadtest.world.guard.reaper import remove_dir
from loadtest.world.guard.remains import FOLDER_PREFIX, write_owner

GATE_PLAN = "scenarios/gate.toml"
APP_PLACES = ("fly.toml", "fly/recipes-multi/fly.toml")
"""Where an app's fly.toml is looked for when none is named."""

_GIT_TIMEOUT_S = 120


def is_url(text: str) -> bool:
    """Tell whether an arm is a running deployment, not a revision."""
    return text.startswith(("http://", "https://"))


def url_arms(base: str, candidate: str) -> dict[str, Any]:
    """
    Return the plan keys of two running deployments as arms.

    Raises:
        PlanError: One of them is no URL.
    """
    for option, value in (("--base", base), ("--candidate", candidate)):
        if not is_url(value):
            raise PlanError(
                f"{option}: {value!r} is no URL; a run compares two URLs, or a git revision with "
                "the working tree"
            )
    return {
        "deployments": [{"name": BASE_ARM, "url": base}, {"name": CANDIDATE_ARM, "url": candidate}],
        "database": {"fly_toml": ""},
    }


def without_counts(thresholds: Sequence[str]) -> list[str]:
    """Return the rules that hold for URLs too: no link counts the queries behind one."""
    return [t for t in thresholds if parse_threshold(t).measure.metric not in COUNTS]


@contextmanager
def revision_arms(
    app: str | None, revision: str, *, machines: str, programs: str | None = None
) -> Iterator[dict[str, Any]]:
    """
    Check a base revision out and give the plan keys of both revisions as arms.

    Args:
        app: Path of the app's fly.toml; None looks at APP_PLACES.
        revision: What git knows as a commit.
        machines: ``all`` or ``primary``: where both arms run.
        programs: Folder to put first on the app's PATH; None takes ``.venv/bin`` beside its
            fly.toml or at the top of the repository, if there is one.

    Yields:
        Keys to merge into a raw plan, and ``scratch``, the folder of the checkout.

    Raises:
        PlanError: No fly.toml, no git repository, no such revision, or the app is not in it.
    """
    path = _find_app(app)
    top = Path(_git(path.parent, "rev-parse", "--show-toplevel", what="a git repository"))
    inside = path.relative_to(top)
    commit = f"{revision}^{{commit}}"
    _git(top, "rev-parse", "--verify", "--quiet", commit, what=f"--base: {revision!r}")
    with _checkout(top, revision) as tree:
        if not (tree / inside).is_file():
            raise PlanError(f"--base: {revision!r} has no {inside}; name a later revision")
        env = _search_path(programs, (path.parent, top))
        arms = {BASE_ARM: tree, CANDIDATE_ARM: top}
        yield {
            "deployments": [
                {
                    "name": name,
                    "title": revision if name == BASE_ARM else "working tree",
                    "fly_toml": str(root / inside),
                    "folder": str(_start_folder(root, inside)),
                    "machines": machines,
                    "env": env,
                }
                for name, root in arms.items()
            ],
            "scratch": str(tree.parent),
        }


def merge(raw: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return a raw plan with keys laid over it, tables merged one level deep."""
    merged = dict(raw)
    for key, value in keys.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return merged


def _find_app(app: str | None) -> Path:
    places = (app,) if app else APP_PLACES
    for place in places:
        if Path(place).is_file():
            return Path(place).resolve()
    told = f"{app!r} is no file" if app else f"there is no {' and no '.join(APP_PLACES)} here"
    raise PlanError(f"--app: {told}; name the fly.toml of the app that the gate is about")


def _search_path(programs: str | None, places: Sequence[Path]) -> dict[str, str]:
    """Return a PATH on which the app's own interpreter comes before ours, or nothing."""
    own = [Path(programs)] if programs else [place / ".venv" / "bin" for place in places]
    found = next((folder for folder in own if folder.is_dir()), None)
    if found is None:
        if programs:
            raise PlanError(f"--programs: {programs!r} is no folder; name one such as .venv/bin")
        return {}
    return {"PATH": os.pathsep.join((str(found.resolve()), os.environ.get("PATH", os.defpath)))}


def _start_folder(root: Path, inside: Path) -> Path:
    """Return where an app's command runs: our apps at the top, others beside their fly.toml."""
    config = read_app_config(root / inside)
    return root if image_name(config.image) == OUR_IMAGE else (root / inside).parent


@contextmanager
def _checkout(top: Path, revision: str) -> Iterator[Path]:
    """Check a revision out into a worktree of its own, and take it away afterwards."""
    base = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX)).resolve()
    base.chmod(0o755)
    write_owner(base, os.getpid())  # if this process is killed, the next world sweeps it
    tree = base / "base"
    try:
        _git(top, "worktree", "prune", what="the list of worktrees")
        _git(top, "worktree", "add", "--detach", "--quiet", str(tree), revision, what="a worktree")
        yield tree
    finally:
        remove_dir(base)
        _git(top, "worktree", "prune", what="the list of worktrees")


def _git(folder: Path, *arguments: str, what: str) -> str:
    """Run git and return what it says; its last line becomes the error."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(f"git: {error}; the base revision's files come from git") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["git knows of none"])[-1]
        raise PlanError(f"{what}: {said}; a shallow clone may lack it: git fetch --unshallow")
    return done.stdout.strip()
