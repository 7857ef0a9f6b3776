"""What an image says of itself: its program, its environment, who runs it and where."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.errors import PlanError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def this_architecture() -> str:
    """Return what images call this machine's kind of processor."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """
    The start of an image's programs.

    Args:
        entrypoint: Words before the command.
        command: The command that is run when nobody names another.
        environment: Variables that it brings along.
        folder: Folder that its program starts in.
        user: ``name``, ``id``, either with ``:group`` behind it; empty is root.
        layers: SHA-256 of each layer's plain tar, the lowest first.

    Source: OCI image specification, "Image Configuration".
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    layers: tuple[str, ...] = ()

    def words(
        self, entrypoint: tuple[str, ...], command: tuple[str, ...], *, whole: bool = False
    ) -> tuple[str, ...]:
        """
        Return what is run.

        Args:
            entrypoint: In place of the image's own; empty keeps that.
            command: The same for its command.
            whole: ``command`` is all; no entry point is put before it.
        """
        if whole:
            return command
        return (*(entrypoint or self.entrypoint), *(command or self.command))


def read_image_config(data: object, where: str) -> ImageConfig:
    """
    Read an image's configuration.

    Args:
        data: The parsed JSON.
        where: What messages call the image.

    Raises:
        PlanError: It is no configuration, or one for another kind of machine.
    """
    if not isinstance(data, Mapping):
        raise PlanError(f"{where}: its configuration is no JSON object")
    system, built_for = data.get("os", "linux"), data.get("architecture")
    here = this_architecture()
    if system != "linux" or built_for not in (None, here):
        raise PlanError(
            f"{where}: was built for {system}/{built_for}, this machine runs linux/{here}; build "
            f"it with --platform linux/{here}"
        )
    own = data.get("config") or {}
    root = data.get("rootfs") or {}
    if not isinstance(own, Mapping) or not isinstance(root, Mapping):
        raise PlanError(f"{where}: config and rootfs of its configuration are no JSON objects")
    pairs = (text.partition("=") for text in _texts(own, "Env", where))
    return ImageConfig(
        entrypoint=_texts(own, "Entrypoint", where),
        command=_texts(own, "Cmd", where),
        environment={name: value for name, equals, value in pairs if name and equals},
        folder=_text(own, "WorkingDir", where) or "/",
        user=_text(own, "User", where),
        layers=_texts(root, "diff_ids", where),
    )


def _texts(table: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    found = table.get(key)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(_is_clean(text) for text in found):
        raise PlanError(f"{where}: {key} of its configuration is no list of texts")
    return tuple(found)


def _text(table: Mapping[str, object], key: str, where: str) -> str:
    found = table.get(key) or ""
    if not _is_clean(found):
        raise PlanError(f"{where}: {key} of its configuration is no text")
    return str(found)


def _is_clean(text: object) -> bool:
    """Tell whether this is a text that a program can be given."""
    return isinstance(text, str) and "\0" not in text
