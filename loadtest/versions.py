"""Which versions of what took part: for records that somebody reads years later."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """
    Return the versions of Python and of packages, by name.

    One that runs from its source, without being installed, is ``source`` if it is ours; others that
    are not there are left out.
    """
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "loadtest":
                found[name] = "source"
    return found
