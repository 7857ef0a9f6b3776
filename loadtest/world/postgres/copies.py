"""Makes the data directory of a server from the template of its world: shared, or copied."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.kernel.namespaces import mount_layers
from loadtest.world.postgres.binaries import Account
from loadtest.world.postgres.cluster import make_private_dir, run_tool


def share_cluster(template: Path, data: Path, account: Account) -> bool:
    """
    Let a data directory show a template's files, so that a server copies those it writes to alone.

    Of a fresh cluster that is one file in sixteen.  The folder is a mount of this process's mount
    namespace, and ends with it; what the server has written is beside it, in ``data.own``.

    Args:
        template: A cleanly shut down data directory that nothing writes to any more.
        data: The directory to make.
        account: Who owns it.

    Returns:
        False where the kernel or the file system cannot; nothing was made.
    """
    own, work = (data.with_name(f"{data.name}.{word}") for word in ("own", "work"))
    try:
        for folder in (own, work, data):
            make_private_dir(folder, account)
        mount_layers(template, own, work, data)
    except OSError:
        for folder in (data, own):
            folder.rmdir()
        shutil.rmtree(work, ignore_errors=True)
        return False
    return True


def copy_cluster(template: Path, data: Path, account: Account) -> None:
    """
    Copy a cleanly shut down data directory, sharing blocks where the file system can.

    Raises:
        WorldError: It could not be copied.
    """
    clone = ["-c"] if sys.platform == "darwin" else ["--reflink=auto"]
    unfinished = data.with_name(data.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        run_tool(["cp", "-R", "-p", *clone, template, unfinished], account)
    except WorldError:  # a cp that knows no cloning: BusyBox, an old macOS
        shutil.rmtree(unfinished, ignore_errors=True)
        run_tool(["cp", "-R", "-p", template, unfinished], account)
    unfinished.rename(data)
