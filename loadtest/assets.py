"""Finds the files that travel with the program: data, default plans, scenarios, fly.toml files."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_file(name: str) -> Path:
    """
    Return the path of a file in the package's ``data`` folder, such as ``rtt.csv``.

    Raises:
        FileNotFoundError: There is no such file, which means a broken installation.
    """
    path = _PACKAGE / "data" / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the installation is incomplete, reinstall it")
    return path


def comes_with_us(path: Path | None) -> bool:
    """Tell whether a file is one of the program's own, not a person's."""
    ours = (_PACKAGE / "assets", _PACKAGE.parent / "scenarios", _PACKAGE.parent / "fly")
    return path is not None and any(place in path.parents for place in ours)


def find_asset(relative: str) -> Path | None:
    """
    Find a scenario or fly.toml by its path from the project's top, such as ``fly/recipes-db``.

    The working directory wins, so a copied and edited file is the one that is used; then come the
    files of an installed wheel, then those of a source checkout.

    Returns:
        An absolute path that exists, or None.
    """
    for base in (Path.cwd(), _PACKAGE / "assets", _PACKAGE.parent):
        place = base / relative
        if os.path.exists(place):  # unlike Path.exists, no error for what is too long for a name
            return place.resolve()
    return None
