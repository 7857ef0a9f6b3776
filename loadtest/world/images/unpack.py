"""
An image's layers as a file tree.

A child makes the target its root before it reads the first name, so nothing leads out of it: no
``..``, no link, no absolute path; and ``/bin -> usr/bin`` means what it means in the image.

Source: OCI image specification, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from loadtest.kernel import users
from loadtest.world.images.archive import LayerReader

MOST_BYTES = 32 << 30
"""More than any image that is run beside others on one machine."""

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_ATTRIBUTE = "SCHILY.xattr."


def unpack(layers: Sequence[LayerReader], root: Path) -> None:
    """
    Apply layers to an empty folder; this process has no other root afterwards.

    Args:
        layers: Readers, opened before, the lowest first.
        root: The folder.

    Raises:
        OSError: The disk is full, or the kernel refused.
        ValueError: A layer is damaged, or the image is too large.
        tarfile.TarError: A layer is no tar.
    """
    if os.geteuid() != 0:
        users.enter_as(0, 0)
    os.chroot(root)
    os.chdir("/")
    os.umask(0o022)
    room = MOST_BYTES
    for layer in layers:
        room -= _apply(layer, room)
        layer.verify()


def _apply(layer: LayerReader, room: int) -> int:
    """Apply one layer in one pass; return how many bytes its files have."""
    fresh: set[str] = set()
    folders: list[tuple[str, tarfile.TarInfo]] = []
    size = 0
    with tarfile.open(fileobj=layer, mode="r|") as tar:
        for entry in tar:
            name = os.path.normpath(f"/{entry.name}").lstrip("/")
            folder, base = os.path.split(name)
            if base.startswith(_WHITEOUT):
                _white_out(folder, base, fresh)
                continue
            if not name or entry.ischr() or entry.isblk():  # /dev is a machine's own
                continue
            size += entry.size
            if size > room:
                raise ValueError(f"the image has more than {MOST_BYTES} bytes")
            fresh.update((*_parents(name), name))
            _put(tar, entry, name)
            if entry.isdir():
                folders.append((name, entry))
    for name, entry in folders:  # last: what came into them has changed their times
        if os.path.isdir(name):
            os.utime(name, (entry.mtime, entry.mtime))
    return size


def _white_out(folder: str, base: str, fresh: set[str]) -> None:
    """Remove what a mark hides: one name of the layers below, or all of a folder's."""
    if base != _OPAQUE:
        _remove(os.path.join(folder, base[len(_WHITEOUT) :]))
    elif os.path.isdir(folder or "/"):
        for child in os.listdir(folder or "/"):
            if os.path.join(folder, child) not in fresh:
                _remove(os.path.join(folder, child))


def _put(tar: tarfile.TarFile, entry: tarfile.TarInfo, name: str) -> None:
    if os.path.lexists(name) and not (entry.isdir() and os.path.isdir(name)):
        _remove(name)
    os.makedirs(os.path.dirname(name) or "/", exist_ok=True)
    if entry.islnk():
        os.link(os.path.normpath(f"/{entry.linkname}"), name, follow_symlinks=False)
        return
    if entry.isdir():
        os.makedirs(name, exist_ok=True)
    elif entry.issym():
        os.symlink(entry.linkname, name)
    elif entry.isfifo():
        os.mkfifo(name)
    else:
        source = tar.extractfile(entry)
        assert source is not None, "what is none of the above is a file"
        with source, open(name, "xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    for set_one in _attributes(entry, name):
        with contextlib.suppress(OSError):  # an id that we cannot give away: the file stays ours
            set_one()


def _attributes(entry: tarfile.TarInfo, name: str) -> Iterator[Callable[[], None]]:
    """Yield what sets each attribute; the owner first, since a new one takes setuid away."""
    yield lambda: os.lchown(name, entry.uid, entry.gid)
    if entry.issym():
        return
    reach = 0o700 if entry.isdir() else 0o400
    yield lambda: os.chmod(name, stat.S_IMODE(entry.mode) | reach)
    for key, value in entry.pax_headers.items():
        if key.startswith(_ATTRIBUTE):
            attribute = key.removeprefix(_ATTRIBUTE)
            data = os.fsencode(value)
            yield lambda attribute=attribute, data=data: os.setxattr(  # type: ignore[misc]
                name, attribute, data
            )
    if not entry.isdir():
        yield lambda: os.utime(name, (entry.mtime, entry.mtime))


def _remove(name: str) -> None:
    if os.path.isdir(name) and not os.path.islink(name):
        shutil.rmtree(name)
    elif os.path.lexists(name):
        os.unlink(name)


def _parents(name: str) -> Iterator[str]:
    return (name[:i] for i, letter in enumerate(name) if letter == "/")
