"""
Where the worlds of this user answer: what a second terminal needs to speak to one that is up.

A world writes address and token into its own folder, in a file that nobody else can read.  Standard
library only.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.world.guard.ownership import is_own_folder, read_own
from loadtest.world.guard.remains import FOLDER_PREFIX, orphaned

_FILE = "address"


@dataclass(frozen=True, slots=True, repr=False)
class WorldAddress:
    """Address and token of the Machines API of a world that is up."""

    api_url: str
    token: str


def write_address(base: Path, address: WorldAddress) -> None:
    """Write down where a world answers, for its own user alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(base / _FILE, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"api": address.api_url, "token": address.token}, file)


def addresses(folder: Path | None = None) -> list[WorldAddress]:
    """
    Return the worlds of this user that are up, in no order.

    Args:
        folder: Where to look; None means the system's folder for temporary files.
    """
    found = []
    for base in (folder or Path(tempfile.gettempdir())).glob(f"{FOLDER_PREFIX}*"):
        if not is_own_folder(base) or orphaned(base):
            continue
        try:
            told = json.loads(read_own(base / _FILE))
            found.append(WorldAddress(str(told["api"]), str(told["token"])))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # not up yet, or going down
    return found
