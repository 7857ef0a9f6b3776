"""``python -m loadtest.world.images IMAGE FOLDER``: unpack an image into an empty folder."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

from loadtest.errors import LoadtestError
from loadtest.world.images.archive import UNREADABLE, ImageArchive
from loadtest.world.images.unpack import unpack


def main() -> int:
    """Unpack; return the exit code."""
    path, root = map(Path, sys.argv[1:3])
    try:
        with ImageArchive(path) as archive:
            unpack(archive.layers(), root)
    except LoadtestError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except (*UNREADABLE, tarfile.TarError) as error:
        sys.stderr.write(f"image {path}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
