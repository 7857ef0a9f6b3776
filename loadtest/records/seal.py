"""
The seal of a run folder: what was measured is what is judged.

``manifest.json`` is written last and holds a SHA-256 of each measured file.  Every reader holds the
files against it; files that our own commands derive from them (summary, verdict, report) are not in
it.  The summary, which a history reads alone, carries a print of itself and of the manifest.

Source of the hash: FIPS 180-4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from loadtest.errors import RecordsError
from loadtest.records.whole import read_json, whole_file

Sealed = Literal["", "run", "by hand"]
"""Who sealed a folder: nobody, the run that measured it, a person after an edit."""

MANIFEST: Final = "manifest.json"
MEASURED: Final = (
    *("plan.json", "world.json", "engine.json", "records.parquet"),
    "round-trips.csv",
)
SCHEMA: Final = 1
_PIECE = 1 << 20


def seal(folder: Path, by: Sealed = "run") -> Path:
    """
    Write the manifest of a folder's measured files, whole or not at all.

    Args:
        folder: A run folder.
        by: ``run``, or ``by hand`` after a deliberate edit, which the report shows.

    Raises:
        RecordsError: A file cannot be read, or the manifest not written.
    """
    path = folder / MANIFEST
    content = {
        "schema": SCHEMA,
        "sealed": by,
        "sha256": {name: _hash(folder / name) for name in MEASURED if (folder / name).is_file()},
    }
    try:
        with whole_file(path) as file:
            file.write(json.dumps(content, indent=1).encode() + b"\n")
    except OSError as error:
        raise RecordsError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def verify(folder: Path) -> Sealed:
    """
    Hold a folder's measured files against its manifest.

    Returns:
        Who sealed it; empty where there is no manifest: the run did not come to its end.

    Raises:
        RecordsError: A file is not as it was sealed, or the manifest is none.
    """
    path = folder / MANIFEST
    try:
        content = read_json(path)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, RecursionError) as error:
        raise RecordsError(f"{path}: cannot be read: {error}") from error
    hashes = content.get("sha256") if isinstance(content, dict) else None
    if not isinstance(hashes, Mapping) or content.get("schema") != SCHEMA:
        raise RecordsError(f"{path}: is no manifest of this version")
    by = content.get("sealed")
    if by not in ("run", "by hand") or set(hashes) - set(MEASURED):
        raise RecordsError(f"{path}: is no manifest of this version")
    for name in MEASURED:
        if (folder / name).is_file() != (name in hashes):
            raise RecordsError(f"{folder / name}: {_ODD}: it was added or taken away")
        if name in hashes and _hash(folder / name) != hashes[name]:
            raise RecordsError(
                f"{folder / name}: {_ODD}; if you changed it on purpose: loadtest seal {folder}"
            )
    found: Sealed = "run" if by == "run" else "by hand"
    return found


def derived_print(folder: Path, content: Mapping[str, object]) -> str:
    """
    Return a hash of what was derived from a folder's measured files, and of their manifest.

    Args:
        folder: A run folder.
        content: JSON object that was derived from it, without the hash itself.
    """
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    if (path := folder / MANIFEST).is_file():
        digest.update(_hash(path).encode())
    return digest.hexdigest()


_ODD: Final = "not as it was when the run was sealed (manifest.json)"


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()
