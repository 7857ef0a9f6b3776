"""
Linux namespaces: a network, a file tree and a name of its own for a group of processes, no root.

A user who may do nothing on this machine may still make a *user namespace*, and inside it what root
may: network namespaces, mounts.  Sockets stay in the network namespace they were made in, whoever
uses them later; a network namespace ends with the last process, socket or mount that holds it.

Every call here is one of the kernel's.  Python has some of them from 3.12 on; ctypes serves every
version alike.

Source: user_namespaces(7), network_namespaces(7), mount_namespaces(7), capabilities(7).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

NEW_MOUNTS: Final = 0x00020000
NEW_HOSTNAME: Final = 0x04000000
NEW_IPC: Final = 0x08000000
NEW_USER: Final = 0x10000000
NEW_NETWORK: Final = 0x40000000

_MS_BIND, _MS_PRIVATE, _MS_REC = 0x1000, 0x40000, 0x4000
_MNT_DETACH = 2
_CAP_SYS_ADMIN = 21
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_IPV6_FREEBIND = 78
_IP_FREEBIND = 15

_libc = ctypes.CDLL(None, use_errno=True)


def supported() -> bool:
    """Tell whether this system has namespaces at all."""
    return sys.platform.startswith("linux")


def unshare(flags: int) -> None:
    """
    Give the calling thread new namespaces (NEW_USER: the whole process, which has one thread).

    Raises:
        OSError: The kernel refused.
    """
    _call("unshare", ctypes.c_int(flags))


def enter(descriptor: int, flag: int) -> None:
    """
    Move the calling thread into the namespace behind a descriptor.

    Raises:
        OSError: The kernel refused.
    """
    _call("setns", ctypes.c_int(descriptor), ctypes.c_int(flag))


def bind(source: Path | str, target: Path | str) -> None:
    """
    Let ``target``, which exists, show what ``source`` is, in this mount namespace.

    Raises:
        OSError: The kernel refused.
    """
    _mount(os.fsencode(source), os.fsencode(target), _MS_BIND)


def mount_memory(target: Path | str, mode: int) -> None:
    """
    Let a folder's files be in memory alone, in this mount namespace, and end with it.

    Args:
        target: The folder.
        mode: Its permissions from then on.

    Raises:
        OSError: The kernel refused.
    """
    _mount(b"tmpfs", os.fsencode(target), 0, kind=b"tmpfs", options=f"mode={mode:o}")


def mount_layers(lower: Path, upper: Path, work: Path, target: Path) -> None:
    """
    Let a folder show another one's files, of which it has its own copy as soon as it writes to one.

    Args:
        lower: What is shown; nothing may change there from now on.
        upper: Where copies go, and what is new; its owner and permissions are those of ``target``.
        work: An empty folder beside ``upper``, for the kernel.
        target: The folder, which exists.

    Raises:
        OSError: The kernel refused, or cannot be told one of these paths.

    Source: Documentation/filesystems/overlayfs.rst of Linux; ordinary users may since 5.11.
    """
    places = [str(path) for path in (lower, upper, work)]
    if any(sign in place for place in places for sign in ":,\\"):
        raise OSError(errno.EINVAL, f"mount: not to be told: {', '.join(places)}")
    options = "userxattr,lowerdir={},upperdir={},workdir={}".format(*places)
    _mount(b"overlay", os.fsencode(target), 0, kind=b"overlay", options=options)
    (work / "work").chmod(0o700)  # the kernel makes it one that only root could remove


def unbind(target: Path | str) -> None:
    """
    Take a mount off ``target``, at once for new users of the path.

    Raises:
        OSError: There is none.
    """
    _call("umount2", os.fsencode(target), _MNT_DETACH)


def mounts_in(folder: Path) -> list[Path]:
    """Return what is mounted below a folder in this mount namespace, in the order of mounting."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:  # another system
        return []
    places = (Path(os.fsdecode(_unescaped(line.split()[4]))) for line in lines)
    return [place for place in places if folder in place.parents]


def _unescaped(path: bytes) -> bytes:
    r"""Return a path of a table of mounts as it is: ``\040`` stands for a blank (proc(5))."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)


def keep_mounts_private() -> None:
    """
    Keep what is mounted from now on to this mount namespace and those made from it.

    Raises:
        OSError: The kernel refused.
    """
    _mount(None, b"/", _MS_REC | _MS_PRIVATE)


def become_admin_of_own_namespace() -> None:
    """
    Make a user namespace in which this process, as the user it is, may make other namespaces.

    Outside nothing changes: files and processes belong to the same user as before.

    Raises:
        OSError: The kernel, or who set it up, does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    unshare(NEW_USER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")


def keep_admin_after_exec() -> None:
    """
    Let the next program of this process keep the right to enter namespaces.

    For a child between fork and exec; a root user keeps its rights anyhow.

    Raises:
        OSError: The kernel refused.
    """
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    sets = ctypes.create_string_buffer(24)
    _call("capget", header, sets)
    effective, permitted, inheritable, *high = struct.unpack("6I", sets.raw)
    inheritable |= 1 << _CAP_SYS_ADMIN
    _call("capset", header, struct.pack("6I", effective, permitted, inheritable, *high))
    _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_SYS_ADMIN, 0, 0)


def drop_rights() -> None:
    """
    Give up every capability, for this process and what it starts, as a user's own program has none.

    Raises:
        OSError: The kernel refused.
    """
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _call("capset", header, struct.pack("6I", *[0] * 6))


def set_hostname(name: str) -> None:
    """
    Name this machine, in its own hostname namespace.

    Raises:
        OSError: The kernel refused.
    """
    encoded = name.encode("ascii", "replace")[:64]
    _call("sethostname", encoded, ctypes.c_size_t(len(encoded)))


def listen_anywhere(sock: socket.socket) -> None:
    """Let a socket bind an address of a block that is this machine's own without being its own."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)


class SocketMaker:
    """
    Makes sockets in other network namespaces.

    A thread that has left its own network namespace may not come back unless it is root, so the
    sockets are made by a thread that never needs to.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sockets")
        self._places: dict[str, int] = {}

    def make(
        self, place: str, family: int, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """
        Make a socket.

        Args:
            place: A file that a network namespace is bound to; empty for our own.
            family: As for `socket.socket`.
            kind: As for `socket.socket`.
            protocol: As for `socket.socket`.

        Raises:
            OSError: There is no such namespace, or no descriptor is left.
        """
        if not place:
            return socket.socket(family, kind, protocol)
        return self._thread.submit(self._make, place, family, kind, protocol).result()

    def forget(self, place: str) -> None:
        """Let go of a namespace, which may be made anew under the same name."""
        if (descriptor := self._places.pop(place, None)) is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of everything."""
        self._thread.shutdown()
        for place in list(self._places):
            self.forget(place)

    def _make(
        self, place: str, family: int, kind: socket.SocketKind, protocol: int
    ) -> socket.socket:
        descriptor = self._places.get(place)
        if descriptor is None:
            descriptor = self._places[place] = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        enter(descriptor, NEW_NETWORK)
        return socket.socket(family, kind, protocol)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(
    source: bytes | None, target: bytes, flags: int, *, kind: bytes | None = None, options: str = ""
) -> None:
    told = os.fsencode(options) if options else None
    _call("mount", source, target, kind, ctypes.c_ulong(flags), told)
