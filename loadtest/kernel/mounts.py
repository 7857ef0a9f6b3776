"""
File trees of a process's own: kinds of file systems, trees shown elsewhere, a new root.

For a process in a mount namespace of its own (`namespaces.unshare`); what it mounts ends with it.

Source: mount(2), pivot_root(2), the kernel's Documentation/filesystems/overlayfs.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import Final

READ_ONLY: Final = 0x1
NO_SETUID: Final = 0x2
NO_DEVICES: Final = 0x4
NO_PROGRAMS: Final = 0x8

_BIND, _RECURSIVE = 0x1000, 0x4000
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # glibc has no function for it

_libc = ctypes.CDLL(None, use_errno=True)


def mount(kind: str, target: Path, *, flags: int = 0, options: str = "") -> None:
    """
    Mount a file system that needs no device.

    Args:
        kind: ``tmpfs``, ``overlay``, ``devpts``.
        target: Folder that it covers.
        flags: READ_ONLY and its kin, joined by ``|``.
        options: The kind's own.

    Raises:
        OSError: The kernel refused.
    """
    _call("mount", kind.encode(), os.fsencode(target), kind.encode(), flags, options.encode())


def bind_tree(source: Path, target: Path) -> None:
    """
    Let ``target``, which exists, show what ``source`` is, with all that is mounted below it.

    Raises:
        OSError: The kernel refused.
    """
    _call("mount", os.fsencode(source), os.fsencode(target), None, _BIND | _RECURSIVE, None)


def change_root(root: Path) -> None:
    """
    Make a mounted folder the root, and let go of the old one; the current folder is the root then.

    Raises:
        OSError: The kernel refused, or nobody has written down the number of its call here.
    """
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root: its number is not known for {platform.machine()}")
    os.chdir(root)
    _call("syscall", number, b".", b".")  # the old root lies on top of the new one then
    _call("umount2", b".", _DETACH)
    os.chdir("/")


def overlay_options(lower: Path, upper: Path, work: Path) -> str:
    """
    Return the options of an overlay that a user namespace may mount.

    ``userxattr``: marks of removed files are kept where such a namespace may write them.
    """
    lower_text = str(lower).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
    return f"lowerdir={lower_text},upperdir={upper},workdir={work},userxattr"


def _call(name: str, *arguments: bytes | int | None) -> None:
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    if getattr(_libc, name)(*wide) < 0:
        number = ctypes.get_errno()
        told = os.fsdecode(arguments[1]) if isinstance(arguments[1], bytes) else ""
        raise OSError(number, f"{name} {told}: {os.strerror(number)}")
