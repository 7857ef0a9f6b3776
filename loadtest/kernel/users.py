"""
User namespaces: whom the ids in a file tree stand for, and what a program may believe of itself.

Source: user_namespaces(7), seccomp(2), the kernel's tables of system calls (x86-64, arm64).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path
from typing import Final

from loadtest.kernel import namespaces

ALL_IDS: Final = 65_536
"""As many as images use: 0 to 65535."""

_PR_SET_SECCOMP, _FILTER = 22, 2
# Load a word of the call's description; jump if equal; return.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _MACHINE_AT = 0, 4
_ALLOW, _ANSWER_NOTHING = 0x7FFF0000, 0x00050000  # the call, or "error number 0" in its place
# chown and its kin, then setuid, setgid, setgroups and theirs
_CHANGES_OF_ID = {
    "x86_64": (0xC000003E, (92, 93, 94, 260, 105, 106, 113, 114, 116, 117, 119, 122, 123)),
    "aarch64": (0xC00000B7, (54, 55, 143, 144, 145, 146, 147, 149, 151, 152, 159)),
}


def has_all_ids() -> bool:
    """Tell whether this process may give ids 0 to 65535 to a namespace: root, with all of them."""
    if os.geteuid() != 0:
        return False
    rows = (row.split() for row in Path("/proc/self/uid_map").read_text().splitlines())
    return any(int(inside) == 0 and int(count) >= ALL_IDS for inside, _outside, count in rows)


def make_namespace_with_all_ids() -> int:
    """
    Make a user namespace in which every id is the one it was; who enters has no rights outside.

    For a process that `has_all_ids`.

    Returns:
        A descriptor of it, for `namespaces.enter`; it lasts as long as that is open.

    Raises:
        OSError: The kernel refused.
    """
    made, tell = os.pipe()
    wait, release = os.pipe()
    holder = os.fork()  # the ranges are mapped by one who stays outside
    if holder == 0:
        try:
            os.close(release)
            namespaces.unshare(namespaces.NEW_USER)
            os.write(tell, b"x")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(tell)
    os.close(wait)
    try:
        if not os.read(made, 1):
            raise OSError(errno.EPERM, "a user namespace cannot be made")
        for kind in ("uid", "gid"):
            Path(f"/proc/{holder}/{kind}_map").write_text(f"0 0 {ALL_IDS}", encoding="ascii")
        return os.open(f"/proc/{holder}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(made)
        os.close(release)
        os.waitpid(holder, 0)


def enter_as(user: int, group: int) -> None:
    """
    Move to a user namespace in which this process's one id is another; there are no others.

    Raises:
        OSError: The kernel refused.
    """
    own_user, own_group = os.geteuid(), os.getegid()
    namespaces.unshare(namespaces.NEW_USER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {own_user} 1"),
        ("gid_map", f"{group} {own_group} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")


def let_ids_seem_to_change() -> None:
    """
    Answer every change of owner or id with success, and do nothing.

    For start scripts that begin as root, give files away and step down, where there is but one id.
    Holds for this process and all it starts.

    Raises:
        OSError: The kernel refused, or the calls' numbers are not known for this machine.
    """
    if platform.machine() not in _CHANGES_OF_ID:
        raise OSError(errno.ENOSYS, f"no filter is known for {platform.machine()}")
    machine, numbers = _CHANGES_OF_ID[platform.machine()]
    count = len(numbers)
    program = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_JUMP_IF_EQUAL, 0, count + 1, machine),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_JUMP_IF_EQUAL, count - i, 0, number) for i, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ANSWER_NOTHING),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.c_char_p(header), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
