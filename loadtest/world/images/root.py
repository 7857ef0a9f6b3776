"""
A machine's file tree from an unpacked image, and the step of a child into it.

The image is the lower layer of an overlay whose upper one is memory, in a mount namespace of the
machine's own: machines share one unpacked image, and what they write ends with them.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.kernel import mounts, namespaces, users
from loadtest.world.images.config import SEARCH_PATH, ImageConfig

FILES_OPEN = 10_240
"""As many files as Fly's init lets a program open."""

_IN_MEMORY = mounts.NO_SETUID | mounts.NO_DEVICES
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_SHARED = namespaces.NEW_MOUNTS | namespaces.NEW_HOSTNAME | namespaces.NEW_IPC


@dataclass(frozen=True, slots=True)
class ImageUser:
    """
    Who runs a program.

    Args:
        user: User id.
        group: Group id.
        groups: Ids of the other groups.
        home: Home folder.
    """

    user: int
    group: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """
    An unpacked image.

    Args:
        tree: Folder with its files.
        config: How its program starts.
        point: An empty folder, where each machine mounts its own tree.
    """

    tree: Path
    config: ImageConfig
    point: Path

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """
        Return the whole environment of a program: the image's own, and ``env`` over it.

        Raises:
            ValueError: The image knows nobody of its user's name.
        """
        home = find_account(self.tree, self.config.user).home
        return {"PATH": SEARCH_PATH, "HOME": home, **self.config.environment, **env}

    def entrance(
        self,
        *,
        hostname: str,
        files: Mapping[str, bytes],
        volumes: Sequence[str] = (),
        enter_network: Callable[[], None],
        user_namespace: int | None,
    ) -> Callable[[], None]:
        """
        Return what makes a child the machine that its program runs on, between fork and exec.

        Args:
            hostname: The machine's name.
            files: Contents of files that are the machine's own, by path.
            volumes: Folders that are empty and the machine's own.
            enter_network: Moves a process into the machine's network.
            user_namespace: Descriptor of one that has all ids; None where there is one id.

        Raises:
            ValueError: The image knows nobody of its user's name.
        """
        account = find_account(self.tree, self.config.user)

        def enter() -> None:
            enter_network()
            if user_namespace is not None:
                namespaces.enter(user_namespace, namespaces.NEW_USER)
                os.setgid(0)
                os.setuid(0)
            else:
                users.enter_as(account.user, account.group)
            namespaces.unshare(_SHARED)
            namespaces.keep_mounts_private()
            namespaces.set_hostname(hostname)
            self._build()
            for path in volumes:
                _mount_volume(path)
            _write_files(files)
            os.makedirs(self.config.folder, exist_ok=True)
            os.chdir(self.config.folder)
            _take_on(account, all_ids=user_namespace is not None)

        return enter

    def _build(self) -> None:
        """Make the tree and let it be the root."""
        mounts.mount("tmpfs", self.point, flags=_IN_MEMORY, options="mode=0755")
        upper, work, new = (self.point / name for name in ("upper", "work", "root"))
        for folder in (upper, work, new):
            folder.mkdir()
        mounts.mount("overlay", new, options=mounts.overlay_options(self.tree, upper, work))
        for name in ("proc", "sys", "run", "dev"):
            (new / name).mkdir(exist_ok=True)
        for name in ("proc", "sys"):  # fresh ones are for who owns the whole machine
            mounts.bind_tree(Path("/", name), new / name)
        mounts.mount("tmpfs", new / "run", flags=_IN_MEMORY, options="mode=0755")
        devices = new / "dev"
        mounts.mount("tmpfs", devices, flags=mounts.NO_SETUID, options="mode=0755")
        for name, kind, flags, options in (
            ("shm", "tmpfs", _IN_MEMORY, "mode=1777"),
            (
                "pts",
                "devpts",
                mounts.NO_SETUID | mounts.NO_PROGRAMS,
                "newinstance,ptmxmode=0666,mode=620",
            ),
        ):
            (devices / name).mkdir()
            mounts.mount(kind, devices / name, flags=flags, options=options)
        for name in _DEVICES:
            (devices / name).touch()
            mounts.bind_tree(Path("/dev", name), devices / name)
        for name, target in _LINKS.items():
            (devices / name).symlink_to(target)
        mounts.change_root(new)


def find_account(tree: Path, text: str) -> ImageUser:
    """
    Return who an image's ``User`` is, from the image's own files.

    Args:
        tree: Its files.
        text: ``name``, ``id``, either with ``:group`` behind it; empty is root.

    Raises:
        ValueError: Its files know nobody of that name.
    """
    user, _, group = (text or "0").partition(":")
    people = _rows(tree / "etc" / "passwd", 6)
    groups = _rows(tree / "etc" / "group", 4)
    row = next((r for r in people if user in (r[0], r[2])), None)
    if row is None and not user.isdecimal():
        raise ValueError(f"USER {text!r}: the image's /etc/passwd has no {user!r}")
    number, own_group, home = (int(row[2]), row[3], row[5]) if row else (int(user), "0", "/")
    found = next((r[2] for r in groups if group and group in (r[0], r[2])), group or own_group)
    if not found.isdecimal():
        raise ValueError(f"USER {text!r}: the image's /etc/group has no {group!r}")
    others = () if group or row is None else (r[2] for r in groups if row[0] in r[3].split(","))
    return ImageUser(
        number, int(found), tuple(int(n) for n in others if n.isdecimal()), home or "/"
    )


def _rows(path: Path, columns: int) -> list[list[str]]:
    """Return the rows of a file of accounts; a link, which may lead anywhere, has none."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = (line.split(":") for line in lines)
    return [row for row in rows if len(row) >= columns and row[2].isdecimal()]


def _mount_volume(path: str) -> None:
    """Put an empty folder at a place of the new tree, over whatever the image has there."""
    place = Path("/", path)
    place.mkdir(parents=True, exist_ok=True)
    mounts.mount("tmpfs", place, flags=_IN_MEMORY, options="mode=0755")


def _write_files(files: Mapping[str, bytes]) -> None:
    """Give the new tree what is the machine's own, in place of whatever the image has there."""
    for path, content in files.items():
        place = Path("/", path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # often a link to nothing
        with place.open("xb") as file:
            file.write(content)
    if not os.path.isdir("/tmp"):  # noqa: S108 - the new tree's own
        os.mkdir("/tmp")  # noqa: S108
        os.chmod("/tmp", 0o1777)  # noqa: S103, S108 - as everywhere


def _take_on(account: ImageUser, *, all_ids: bool) -> None:
    """Take on a program's ids and limits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = FILES_OPEN if most == resource.RLIM_INFINITY else min(FILES_OPEN, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if all_ids:
        os.setgroups(account.groups)
        os.setgid(account.group)
        os.setuid(account.user)
    elif account.user == 0:
        users.let_ids_seem_to_change()
