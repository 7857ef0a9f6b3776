"""The images of one world, each unpacked once for all its machines."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.kernel import users
from loadtest.world.guard.reaper import die_with_parent
from loadtest.world.images.archive import ImageArchive
from loadtest.world.images.root import ImageRoot

_FOLDER, _TREE, _POINT = "images", "tree", "point"


class ImageStore:
    """
    Unpacks images into a world's folder.

    Args:
        base: The world's folder.
    """

    def __init__(self, base: Path) -> None:
        self._folder = base / _FOLDER
        self._roots: dict[Path, asyncio.Task[ImageRoot]] = {}
        self._user_namespace: int | None = None

    @property
    def user_namespace(self) -> int | None:
        """
        Return the user namespace of all machines of images; None where a user has one id.

        Raises:
            OSError: The kernel refused.
        """
        if self._user_namespace is None and users.has_all_ids():
            self._user_namespace = users.make_namespace_with_all_ids()
        return self._user_namespace

    async def root(self, archive: Path) -> ImageRoot:
        """
        Return an image's files, unpacked by whoever asks first.

        Raises:
            PlanError: It is no image, or one for another machine.
            WorldError: It could not be unpacked.
        """
        if archive not in self._roots:
            number = len(self._roots)
            self._roots[archive] = asyncio.create_task(self._unpack(archive, number))
        return await asyncio.shield(self._roots[archive])

    async def _unpack(self, archive: Path, number: int) -> ImageRoot:
        with ImageArchive(archive) as opened:
            config = opened.config
        folder = self._folder / str(number)
        # Nobody else may look for programs of root's in it.
        self._folder.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir()
        root = ImageRoot(folder / _TREE, config, folder / _POINT)
        root.tree.mkdir()
        root.point.mkdir()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtest.world.images", str(archive), str(root.tree)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=dict(os.environ),
            preexec_fn=die_with_parent(),
        )
        _, said = await process.communicate()
        if process.returncode:
            raise WorldError(said.decode(errors="replace").strip() or f"image {archive}: unpacking")
        return root
