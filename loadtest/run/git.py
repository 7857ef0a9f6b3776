"""Git, asked and never changed: the files of a revision appear in a folder of ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loadtest.errors import PlanError

_TIMEOUT_S = 300
_DEFAULT_BRANCHES = ("origin/HEAD", "origin/main", "origin/master")

# What tells git which repository it works in: a hook hands these down, and with them our commands
# would work on the index of the commit that is being made.  `git rev-parse --local-env-vars` lists
# them; a newer git may know more, so it is asked too.
_LOCAL_VARIABLES = (
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT"),
    *("GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE"),
    *("GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NO_REPLACE_OBJECTS"),
    *("GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_REPLACE_REF_BASE"),
    *("GIT_SHALLOW_FILE", "GIT_WORK_TREE"),
)

# Settings of a repository that say where its files come from: remotes, tokens, proxies, Git LFS.
_TO_THE_FORGE = (
    r"^(remote\.origin\.url|core\.sshcommand|(http|url|lfs|credential|filter\.lfs)\..*)$"
)
_POINTER = b"version https://git-lfs.github.com/spec/"


class Git:
    """
    A repository of the user's, which is read only.

    Args:
        folder: A folder in its working tree.

    Raises:
        PlanError: It is in no repository, or git will not look at it.
    """

    def __init__(self, folder: Path) -> None:
        self._environment = clean_environment(os.environ)
        self.top = folder
        listed = self._ask("rev-parse", "--local-env-vars", what="git").split()
        for name in listed:
            self._environment.pop(name, None)
        self.top = Path(self._ask("rev-parse", "--show-toplevel", what="a git repository"))
        common = self._ask("rev-parse", "--git-common-dir", what="a git repository")
        self._common = (folder / common).resolve()

    def base_commit(self, revision: str, *, exact: bool) -> str:
        """
        Return the commit that a base revision stands for.

        A branch is compared with the point it left the other one at, so that what others did since
        is not blamed on it.  An empty revision, or one of zeros as a forge gives for a new branch,
        means the default branch.

        Args:
            revision: What git knows as a commit.
            exact: Take that commit itself.

        Raises:
            PlanError: There is no such commit, or nothing in common with HEAD.
        """
        if not revision.strip("0 "):
            revision = self._default_branch()
        commit = self._ask(
            *("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"),
            what=f"--base: {revision!r} names no commit that is here (fetch it, or commit first)",
        )
        if exact:
            return commit
        return self._ask(
            *("merge-base", commit, "HEAD"),
            what=f"--base: {revision!r} and HEAD have no commit in common (--base-exact takes it "
            "as it is)",
        )

    def subject(self, commit: str) -> str:
        """Return a commit's short name and the first line of its message."""
        return self._ask("log", "-1", "--format=%h %s", commit, what=f"commit {commit}")

    def write_files(self, commit: str, folder: Path) -> None:
        """
        Write a commit's files into a new folder, submodules and large files included.

        The folder is a repository of its own that borrows the user's objects: nothing is noted in
        theirs, no hook of theirs runs.

        Raises:
            PlanError: Git cannot, in git's own words.
        """
        kind = self._ask("rev-parse", "--show-object-format", what="the repository")
        what = f"the files of {commit[:12]}"
        self._ask(
            "init", "--quiet", "--template=", f"--object-format={kind}", str(folder), what=what
        )
        info = folder / ".git" / "objects" / "info"
        info.mkdir(parents=True, exist_ok=True)
        objects = self._ask("rev-parse", "--git-path", "objects", what="the repository")
        (info / "alternates").write_text(f"{(self.top / objects).resolve()}\n", encoding="utf-8")
        self._ask(*_in(folder), "config", "lfs.storage", str(self._common / "lfs"), what=what)
        with self._knowing(self._way_to_the_forge(self.top)):
            self._ask(*_in(folder), "checkout", "--quiet", "--detach", commit, what=what)
        self._write_submodules(folder, self.top, self._common)

    def missing_large_files(self, folder: Path) -> tuple[str, ...]:
        """
        Return the files below a folder that Git LFS keeps and that are only named there.

        Args:
            folder: The top of a working tree.
        """
        listed = self._run(*_in(folder), "ls-files", "-z", ":(attr:filter=lfs)")
        names = listed.stdout.split("\0") if listed.returncode == 0 else []
        return tuple(name for name in names if name and _is_pointer(folder / name))

    def _write_submodules(self, folder: Path, theirs: Path, common: Path) -> None:
        """
        Fill the submodules of a folder, from the user's own copies where there are any.

        Args:
            folder: A working tree of ours.
            theirs: The user's repository of it; its remote is what relative addresses mean.
            common: What that repository consists of.
        """
        if not (folder / ".gitmodules").is_file():
            return
        own = _in(folder)
        listed = self._ask(
            *own, "config", "--file", ".gitmodules", "--get-regexp", r"\.path$", what="submodules"
        )
        for line in listed.splitlines():
            key, _, path = line.partition(" ")
            name = key.removeprefix("submodule.").removesuffix(".path")
            what = f"submodule {path}"
            copy = common / "modules" / name
            with self._knowing(self._way_to_the_forge(theirs)):
                self._ask(*own, "submodule", "--quiet", "init", "--", path, what=what)
                if copy.is_dir():
                    self._ask(*own, "config", f"submodule.{name}.url", str(copy), what=what)
                self._ask(
                    *own,
                    *("-c", "protocol.file.allow=always", "submodule", "--quiet", "update"),
                    *("--", path),
                    what=what,
                )
            self._write_submodules(folder / path, copy if copy.is_dir() else folder / path, copy)

    def _way_to_the_forge(self, repository: Path) -> dict[str, str]:
        """Return what a repository's own settings say of its remote, and of how to get there."""
        listed = self._run(
            *("-C", str(repository), "config", "--local", "--null", "--get-regexp", _TO_THE_FORGE)
        )
        entries = (entry.partition("\n") for entry in listed.stdout.split("\0") if entry)
        return {key: value for key, _, value in entries}

    @contextmanager
    def _knowing(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Let git know settings for a while, in its environment: tokens are written nowhere."""
        before = dict(self._environment)
        self._environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings.items()):
            self._environment[f"GIT_CONFIG_KEY_{number}"] = key
            self._environment[f"GIT_CONFIG_VALUE_{number}"] = value
        try:
            yield
        finally:
            self._environment = before

    def _default_branch(self) -> str:
        for name in _DEFAULT_BRANCHES:
            if self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").returncode == 0:
                return name
        raise PlanError(
            "--base: it is empty or all zeros, as for a new branch or a manual start, and there is "
            f"no {', '.join(_DEFAULT_BRANCHES)} to take in its place; name a revision"
        )

    def _ask(self, *arguments: str, what: str) -> str:
        """Run git and return what it says; its own words become the error."""
        done = self._run(*arguments)
        if done.returncode == 0:
            return done.stdout.strip()
        said = done.stderr.strip() or "git knows of none"
        if "dubious ownership" in said:
            said = (
                f"git will not look into {self.top}, which belongs to another user; if you trust "
                f"it: git config --global --add safe.directory {self.top}"
            )
        elif self._is_shallow():
            said += "\nthe clone is shallow: git fetch --unshallow brings the rest (fetch-depth: 0)"
        raise PlanError(f"{what}: {said}")

    def _is_shallow(self) -> bool:
        return self._run("rev-parse", "--is-shallow-repository").stdout.strip() == "true"

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", "-C", str(self.top), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_TIMEOUT_S,
                env=self._environment,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlanError(f"git: {error}; the base revision's files come from git") from error


def _in(folder: Path) -> tuple[str, ...]:
    """Return words that let git work in a folder of ours, without hooks."""
    return "-C", str(folder), "-c", "core.hooksPath=/dev/null"


def _is_pointer(path: Path) -> bool:
    """Tell whether a file only names what Git LFS keeps."""
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which git finds its repository by the folder alone, in English."""
    return {**without_repository(environ), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def without_repository(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what tells git which repository it works in."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _LOCAL_VARIABLES
        and not name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))
    }
