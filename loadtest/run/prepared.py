"""
Prepares a revision's folder by the user's own line, and remembers what that made.

Where lock files alone decide what the line installs (`node_packages`), the packages are remembered
by them, for every revision that has the same.  Else what is remembered is the base's whole folder
as the line left it, under a key of everything that it hangs on: the commit, and with it its lock
files, the line, the programs that it may call, and the variables that installers read.  A line may
build from any file of the revision, and installers run scripts of the app's, so lock files alone
would be too little.  Without a lock file nothing is remembered: the same commit installs something
else tomorrow.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest.errors import LoadtestError, PlanError
from loadtest.frozen import read, to_json
from loadtest.run.git import without_repository
from loadtest.run.node_packages import FOLDER, decisive_text
from loadtest.text import quoted_end
from loadtest.world.guard.reaper import remove_dir

MOST_BYTES: Final = 2 << 30
"""Bytes that all remembered folders have together; those used longest ago go first."""

_TIMEOUT_S: Final = 1_800.0
_LOCKS: Final = (
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock",
    "bun.lockb", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml",
    "Gemfile.lock", "go.sum", "Cargo.lock", "composer.lock", "mix.lock",
)  # fmt: skip
_PROGRAMS: Final = (
    "node", "npm", "yarn", "pnpm", "bun", "python", "python3", "pip", "uv", "poetry", "pdm",
    "ruby", "bundle", "go", "cargo", "php", "composer", "elixir", "mix", "java", "sh",
)  # fmt: skip
_READ_BY_INSTALLERS: Final = re.compile(
    r"(NODE_ENV|RAILS_ENV|RACK_ENV|MIX_ENV|CC|CXX|CFLAGS|LDFLAGS|GOFLAGS|CGO_ENABLED)$"
    r"|(npm_config|yarn|pnpm|pip|uv|poetry|bundle|gem|cargo)_",
    re.IGNORECASE,
)
_BINARY: Final = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_UNFINISHED: Final = ".unfinished-"


@dataclass(frozen=True, slots=True)
class Made:
    """
    What is known of a remembered folder; its last file to be written.

    Args:
        folder: Where the app was that it was prepared for.
        naming: Text files that name that place, below it.
        files: How many files it has.
        size: Bytes that they have together.
    """

    folder: str
    naming: tuple[str, ...]
    files: int
    size: int


def set_up(command: str, folder: Path, name: str, env: Mapping[str, str]) -> None:
    """
    Run a revision's own preparation, such as ``npm ci``, in the folder that its command runs in.

    Raises:
        PlanError: It failed; with the end of what it said.
    """
    try:
        done = subprocess.run(  # noqa: S602 - it is a shell line of the user's own
            command,
            shell=True,
            cwd=folder,
            env={**without_repository(os.environ), **env},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise PlanError(f"--setup: {command!r} of {name} took over {error.timeout:g} s") from error
    if done.returncode != 0:
        raise PlanError(
            f"--setup: {command!r} of {name} ended with exit code {done.returncode}:\n"
            + quoted_end(done.stdout + done.stderr)
        )


def set_up_packages(
    command: str, folder: Path, name: str, *, env: Mapping[str, str], anew: bool
) -> bool | None:
    """
    Install packages that lock files alone decide on, or take what the same line installed before.

    Args:
        command: Shell line.
        folder: Where it runs.
        name: Of the revision, for the sentence.
        env: Variables besides our own.
        anew: Run the line whatever is remembered.

    Returns:
        Whether the line was not run; None where other files may decide: nothing was done.

    Raises:
        PlanError: It failed.
    """
    place, decisive, packages = _cache(), decisive_text(command, folder), folder / FOLDER
    if place is None or decisive is None or packages.is_symlink():
        return None
    entry = place / _key(env, command, decisive)
    if not anew and entry.exists():
        packages.mkdir(exist_ok=True)
        if _restore(entry, packages, folder):
            return True
    set_up(command, folder, name, env)
    if packages.is_dir() and _measure(packages)[1] <= MOST_BYTES:
        _remember(entry, packages, folder)
    return False


def set_up_commit(
    command: str, tree: Path, folder: Path, *, commit: str, env: Mapping[str, str], anew: bool
) -> bool:
    """
    Prepare a commit's files, or make them what the same line made of them before.

    Args:
        command: Shell line.
        tree: The files, as git wrote them.
        folder: The one of them that it runs in.
        commit: Whose they are.
        env: Variables besides our own.
        anew: Run the line whatever is remembered.

    Returns:
        Whether the line was not run.

    Raises:
        PlanError: It failed.
    """
    place = _cache()
    if place is None or not any(_locks(tree, folder)):
        set_up(command, folder, "base", env)
        return False
    entry = place / _key(env, command, str(folder.relative_to(tree)), commit)
    if not anew and _restore(entry, tree, tree):
        return True
    before = _measure(tree)
    set_up(command, folder, "base", env)
    after = _measure(tree)
    # what it made is elsewhere, and may be gone when this folder is still here
    if after != before and after[1] <= MOST_BYTES:
        _remember(entry, tree, tree)
    return False


def _cache() -> Path | None:
    """Return the folder of remembered folders; None where there can be none."""
    told = os.environ.get("LOADTEST_CACHE")
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loadtest"
        place = (Path(told) if told else base).absolute() / "setup"
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):
        return None
    return place


def _locks(tree: Path, folder: Path) -> Iterator[Path]:
    """Yield the files that say exactly what is installed."""
    for place in {tree, folder}:
        yield from (place / name for name in _LOCKS if (place / name).is_file())
        yield from (file for file in place.glob("requirements*.txt") if _is_pinned(file))


def _is_pinned(file: Path) -> bool:
    """Tell whether a file of requirements names one version of each."""
    text = file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    wanted = [line for line in lines if line and not line.startswith("--")]
    return bool(wanted) and all("==" in line for line in wanted)


def _key(env: Mapping[str, str], *what: str) -> str:
    every = {**os.environ, **env}
    read_too = {k: v for k, v in sorted(every.items()) if _READ_BY_INSTALLERS.match(k)}
    programs = []
    for name in _PROGRAMS:
        found = shutil.which(name, path=every.get("PATH"))
        if found is not None:
            status = Path(found).stat()
            programs.append((os.path.realpath(found), status.st_size, status.st_mtime_ns))
    whole = [*what, platform.platform(), programs, read_too]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:40]


def _measure(folder: Path) -> tuple[int, int]:
    """Return how many files a folder has, git's own left out, and their bytes."""
    files = size = 0
    for path in _files(folder):
        files, size = files + 1, size + path.lstat().st_size
    return files, size


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        if Path(place) == folder and ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in (*names, *links))


def _copy(source: Path, target: Path) -> None:
    """Copy everything in a folder but git's own, times and links as they are."""
    target.mkdir()
    entries = [str(entry) for entry in source.iterdir() if entry.name != ".git"]
    subprocess.run(
        ["cp", "-a", "--", *entries, str(target)], check=True, capture_output=True, timeout=600
    )


def _remember(entry: Path, tree: Path, place: Path) -> None:
    """Keep a prepared folder, of an app's at a place; nothing is kept where anything goes wrong."""
    made: Path | None = None
    try:
        made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=entry.parent))
        _copy(tree, made / "files")
        naming = _naming(made / "files", str(place))
        if naming is None:
            return
        files, size = _measure(made / "files")
        facts = Made(str(place), naming, files, size)
        (made / "made.json").write_text(json.dumps(to_json(facts)), encoding="utf-8")
        if entry.exists():
            remove_dir(entry)
        made.rename(entry)
        _tidy(entry.parent)
    except (OSError, subprocess.SubprocessError):
        return  # a full disk, or another gate that was quicker: the next one prepares anew
    finally:
        if made is not None:
            remove_dir(made)


def _naming(folder: Path, place: str) -> tuple[str, ...] | None:
    """Return the text files that name a place; None where a program does, which cannot be moved."""
    naming, sought = [], place.encode()
    for path in _files(folder):
        if path.is_symlink() or sought not in (data := path.read_bytes()):
            continue
        if data.startswith(_BINARY):
            return None
        if b"\0" not in data:
            naming.append(str(path.relative_to(folder)))
    return tuple(naming)


def _restore(entry: Path, tree: Path, place: Path) -> bool:
    """Make files what is remembered of them, and name their place; False if that is not whole."""
    # in the same file system, and under a name that is nobody's
    around = Path(tempfile.mkdtemp(prefix=".loadtest-", dir=tree.parent))
    beside = around / "files"
    try:
        made = read(Made, json.loads((entry / "made.json").read_text("utf-8")), "made.json")
        _copy(entry / "files", beside)
        if _measure(beside) != (made.files, made.size):
            return False
        for path in _files(beside):
            if path.is_symlink() and (led := os.readlink(path)).startswith(f"{made.folder}/"):
                path.unlink()
                path.symlink_to(str(place) + led.removeprefix(made.folder))
        for name in made.naming:
            _rename_in(beside / name, made.folder, str(place))
        os.utime(entry)
    except (OSError, ValueError, LoadtestError, subprocess.SubprocessError):
        remove_dir(entry)
        return False
    else:
        _replace(tree, beside)
        return True
    finally:
        remove_dir(around)


def _rename_in(file: Path, before: str, now: str) -> None:
    status = file.stat()
    file.write_bytes(file.read_bytes().replace(before.encode(), now.encode()))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(tree: Path, beside: Path) -> None:
    for entry in tree.iterdir():
        if entry.name == ".git":
            continue
        if entry.is_dir() and not entry.is_symlink():
            remove_dir(entry)
        else:
            entry.unlink()
    for entry in beside.iterdir():
        entry.rename(tree / entry.name)


def _tidy(place: Path) -> None:
    """Remove what was used longest ago beyond the limit, and what was never finished."""
    used = sorted(place.iterdir(), key=lambda entry: entry.stat().st_mtime, reverse=True)
    newest, total = used[0].stat().st_mtime if used else 0.0, 0
    for entry in used:
        if entry.name.startswith(_UNFINISHED):
            if newest - entry.stat().st_mtime > 2 * _TIMEOUT_S:
                remove_dir(entry)
            continue
        total += _measure(entry)[1]
        if total > MOST_BYTES:
            remove_dir(entry)
