"""
What ``npm ci`` installs, where lock and package files alone decide it.

Source: npm's documentation of ``npm ci``, of package-lock.json (``hasInstallScript``, ``link``) and
of the scripts that an install runs.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "node_modules"
"""Where it goes, and nowhere else."""

_LOCKS: Final = ("npm-shrinkwrap.json", "package-lock.json")  # the first that is there counts
_NO_SCRIPTS: Final = "--ignore-scripts"
_FLAGS: Final = frozenset(
    (_NO_SCRIPTS, "--omit=dev", "--omit=optional", "--production", "--include=dev", "--no-audit",
     "--no-fund", "--prefer-offline", "--offline", "--silent", "--quiet", "-s", "-q")
)  # fmt: skip
_SCRIPTS: Final = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare",
                   "postprepare", "dependencies")  # fmt: skip
_OF_PACKAGES: Final = (
    "dependencies", "devDependencies", "optionalDependencies", "peerDependencies",
    "peerDependenciesMeta", "bundleDependencies", "bundledDependencies", "overrides", "engines",
    "os", "cpu", "libc",
)  # fmt: skip


def decisive_text(command: str, folder: Path) -> str | None:
    """
    Return all of an app's files that decides what a line installs; None where other files may.

    An install script of a package may read the app (as Prisma's does its schema), and one of the
    app's own may do anything; so may any line but a plain ``npm ci``.

    Args:
        command: Shell line.
        folder: Where it runs.
    """
    try:
        words = shlex.split(command)
        lock = next(folder / name for name in _LOCKS if (folder / name).is_file())
        locked: Any = json.loads(lock.read_text(encoding="utf-8"))
        about: Any = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        packages = [entry for path, entry in locked["packages"].items() if path]
        scripts = about.get("scripts") or {}
        runs = _NO_SCRIPTS not in words and (
            any(name in scripts for name in _SCRIPTS)
            or any(entry.get("hasInstallScript") for entry in packages)
            or (folder / "binding.gyp").exists()
        )
        nearby = "workspaces" in about or any(
            entry.get("link") or str(entry.get("resolved", "")).startswith("file:")
            for entry in packages
        )
    except (OSError, ValueError, KeyError, AttributeError, StopIteration):
        return None
    if words[:2] != ["npm", "ci"] or not _FLAGS.issuperset(words[2:]) or runs or nearby:
        return None
    settings = [_text(place / ".npmrc") for place in (folder, Path(os.path.expanduser("~")))]
    wanted = {name: about[name] for name in _OF_PACKAGES if name in about}
    return json.dumps([locked, wanted, settings], sort_keys=True)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
