"""Which command starts an app that runs in a folder, not in its image."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig

_NAMES = ("Dockerfile", "dockerfile")
_PROCFILE = "Procfile"
_SUGGESTED = (
    ("package.json", "npm ci", "npm start"),
    ("Cargo.toml", "cargo build --release", "target/release/NAME"),
    ("go.mod", "go build -o run-app .", "./run-app"),
    ("pom.xml", "mvn -q -B package", "java -jar target/NAME.jar"),
    ("config.ru", "bundle install --quiet", "bundle exec puma"),
)
"""By a file: what prepares a folder, and what starts the app, as a person would write them."""
# Source: "The Procfile", devcenter.heroku.com, which Paketo's buildpacks follow.
_WEB_LINE = re.compile(r"^web\s*:\s*(\S.*)$", re.MULTILINE)


def with_start_command(config: AppConfig, command: str, folder: Path, key: str) -> AppConfig:
    """
    Return a fly.toml's content with a start command for each of its process groups.

    In this order: the one that is given, the file's own, that of the Dockerfile which the file
    names or which is beside the app, that of ``web`` in the Procfile beside the app.

    Args:
        config: As its fly.toml says.
        command: A command given for it, empty for none.
        folder: Folder that the command runs in.
        key: What a message calls the app by.

    Raises:
        PlanError: There is none; or one is given and the file has several groups.
    """
    if command:
        if len(config.processes) > 1:
            raise PlanError(
                f"{key}.command: its fly.toml has several process groups "
                f"({', '.join(config.processes)}); give each its command there, in [processes]"
            )
        processes = dict.fromkeys(config.processes, command)
        return replace(config, processes=processes, entrypoint=(), exec=())
    if config.exec or all(config.processes.values()):
        return config
    dockerfile = find_dockerfile(config, folder)
    found = ""
    if dockerfile is not None:
        text = dockerfile.read_text(encoding="utf-8", errors="replace")
        found = dockerfile_command(
            text, own_entrypoint=bool(config.entrypoint), target=config.build.target
        )
    if not found and config.entrypoint:
        return config
    found = found or _procfile_command(folder)
    if not found:
        looked = (
            f"{dockerfile} has no CMD in the stage that is shipped"
            if dockerfile
            else f"there is no {config.build.dockerfile or _NAMES[0]} and no {_PROCFILE} with a "
            f"line for web in its folder ({folder})"
        )
        raise PlanError(
            f"{key}: no start command: its fly.toml has no [processes], and {looked}; give one by "
            '--command "..." (for both revisions), or in the file: [processes] app = "..."'
            f"{_hint(folder)}"
        )
    return replace(
        config, processes={group: own or found for group, own in config.processes.items()}
    )


def _hint(folder: Path) -> str:
    """Return the flags that files in a folder suggest, as a builder of images would; or nothing."""
    for file, setup, command in _SUGGESTED:
        if (folder / file).is_file():
            return f"; its {file} suggests: --setup {setup!r} --command {command!r}"
    return ""


def _procfile_command(folder: Path) -> str:
    """Return what a Procfile starts for visitors, by a shell; empty without one."""
    path = folder / _PROCFILE
    if not path.is_file():
        return ""
    line = _WEB_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
    return shlex.join(["/bin/sh", "-c", line[1].strip()]) if line else ""


def find_dockerfile(config: AppConfig, folder: Path) -> Path | None:
    """Return the Dockerfile that fly.toml names, or the one in a folder; None without one."""
    places = [folder / name for name in _NAMES]
    if config.build.dockerfile:
        places = [config.folder / config.build.dockerfile]
    return next((place for place in places if place.is_file()), None)


def dockerfile_command(text: str, *, own_entrypoint: bool = False, target: str = "") -> str:
    """
    Return what a stage of a Dockerfile starts: ENTRYPOINT and CMD as one shell-quoted line.

    The exec form is taken as it is, the shell form is run by ``sh -c``, as Docker does; CMD of the
    shell form is no argument to an ENTRYPOINT of the exec form.  A stage that is built from another
    one of the file starts what that one starts.  Empty when the stage has neither.

    Args:
        text: The Dockerfile.
        own_entrypoint: Something else is put before CMD in place of ENTRYPOINT.
        target: Name of the stage; empty for the last one.

    Source: Dockerfile reference, "Understand how CMD and ENTRYPOINT interact", "FROM".
    """
    stages: dict[str, tuple[list[str], list[str]]] = {}
    name, entrypoint, command = "", list[str](), list[str]()
    for instruction, rest in _instructions(text):
        if instruction == "FROM":
            if target and name == target.lower():
                break
            words = [word.lower() for word in rest.split() if not word.startswith("--")]
            entrypoint, command = stages.get(words[0] if words else "", ([], []))
            name = words[2] if words[1:2] == ["as"] and len(words) > 2 else str(len(stages))
        elif instruction == "ENTRYPOINT":
            entrypoint, command = _words(rest), []
        elif instruction == "CMD":
            command = _words(rest)
        stages[name] = entrypoint, command
    return shlex.join(command if own_entrypoint else [*entrypoint, *command])


def _words(rest: str) -> list[str]:
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    return ["/bin/sh", "-c", rest] if rest else []


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction in capitals with its argument, lines that go on joined."""
    joined = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#") or (not stripped and joined):
            continue
        if stripped.endswith("\\"):
            joined += stripped[:-1] + " "
            continue
        name, _, rest = (joined + stripped).strip().partition(" ")
        joined = ""
        if name:
            yield name.upper(), rest.strip()


def search_path(programs: str | None, places: Sequence[Path]) -> dict[str, str]:
    """
    Return a PATH on which an app's own programs come before ours, or nothing where it has none.

    Args:
        programs: A folder that somebody named; None takes the first ``.venv/bin`` of the places,
            or else the folder that ``LOADTEST_PROGRAMS`` names in our own environment.
        places: Folders of the app, its own first.

    Raises:
        PlanError: The folder that was named is none.
    """
    own = [Path(programs)] if programs else [place / ".venv" / "bin" for place in places]
    if not programs and (job := os.environ.get("LOADTEST_PROGRAMS")):
        own.append(Path(job))
    found = next((folder for folder in own if folder.is_dir()), None)
    if found is None:
        if programs:
            raise PlanError(f"--programs: {programs!r} is no folder; name one such as .venv/bin")
        return {}
    return {"PATH": os.pathsep.join((str(found.resolve()), os.environ.get("PATH", os.defpath)))}
