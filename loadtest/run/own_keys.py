"""Token and keys of machines of one's own: made once into files, read by whoever needs them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from loadtest.errors import PlanError

FOLDER: Final = "loadtest-keys"
TOKEN: Final = "LOADTEST_TOKEN"  # noqa: S105 - the name of a variable
_PUBLIC: Final = ("LOADTEST_CURVE_SERVER_PUBLIC", "LOADTEST_CURVE_CLIENT_PUBLIC")
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "coordinator": (TOKEN, *_PUBLIC, "LOADTEST_CURVE_SERVER_SECRET"),
    "worker": (*_PUBLIC, "LOADTEST_CURVE_CLIENT_SECRET"),
    "driver": (TOKEN,),
}
"""Who needs which; each has a file of its own, so that a worker cannot order load."""

_LINE: Final = re.compile(r"([A-Z_]+)=(\S*)")


def curve_keys() -> dict[str, str]:
    """Return fresh CURVE keys as the generator's machines expect them in their environment."""
    server_public, server_secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    return {
        "LOADTEST_CURVE_SERVER_PUBLIC": server_public.decode(),
        "LOADTEST_CURVE_SERVER_SECRET": server_secret.decode(),
        "LOADTEST_CURVE_CLIENT_PUBLIC": client_public.decode(),
        "LOADTEST_CURVE_CLIENT_SECRET": client_secret.decode(),
    }


def make_keys(folder: Path) -> list[Path]:
    """
    Make a token and CURVE keys, in a file for each kind of process, readable by their owner alone.

    Lines are ``NAME=value`` of letters, digits, ``-`` and ``_``: every reader of such files, from a
    shell to Kubernetes, reads the same.

    Args:
        folder: Made where it is not there.

    Raises:
        PlanError: One of the files is there already, or cannot be written; none was made then.
    """
    values = {name: z85.decode(key).hex() for name, key in curve_keys().items()}
    values[TOKEN] = secrets.token_urlsafe(24)
    content = {
        folder / f"{who}.env": "".join(f"{name}={values[name]}\n" for name in names)
        for who, names in NEEDED.items()
    }
    if there := [str(path) for path in content if os.path.lexists(path)]:
        raise PlanError(
            f"--out: {there[0]} is there already, and keys are never overwritten; name another "
            "folder, or remove it once nothing uses its keys any more"
        )
    made: list[Path] = []
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
            content[folder / ".gitignore"] = "*\n"
        for path, text in content.items():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            made.append(path)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
    except OSError as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink()
        raise PlanError(f"--out: {error.filename or folder}: {error.strerror}") from error
    return [path for path in made if path.suffix == ".env"]


def find_keys(who: str, file: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """
    Return the variables that a process needs: of a file, the environment, or the usual file.

    Args:
        who: ``coordinator``, ``worker`` or ``driver``.
        file: What was named; None for the environment, and where that has none the usual file.
        environment: Of this process.

    Raises:
        PlanError: There are none, the file cannot be read, or it lacks one; names no value.
    """
    names = NEEDED[who]
    if file is None:
        if any(environment.get(name) for name in names):
            if missing := [name for name in names if not environment.get(name)]:
                raise PlanError(f"{missing[0]}: not set, while others of its keys are; set all")
            return {name: environment[name] for name in names}
        file = Path(FOLDER) / f"{who}.env"
        if not file.is_file():
            raise PlanError(
                f"no keys: set {', '.join(names)}, or name their file with --keys; `loadtest keys` "
                f"makes it, and {file} is taken where it is there"
            )
    return _read(file, names)


def _read(file: Path, names: tuple[str, ...]) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PlanError(f"--keys: {file}: {reason}") from error
    found = {match[1]: match[2] for line in lines if (match := _LINE.fullmatch(line.strip()))}
    if missing := [name for name in names if not found.get(name)]:
        raise PlanError(
            f"--keys: {file}: has no {missing[0]}; `loadtest keys` makes a file for each of "
            f"{', '.join(NEEDED)}"
        )
    return {name: found[name] for name in names}
