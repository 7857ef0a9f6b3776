"""Where the files of a machine lie that edges serve themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loadtest.fly.machines import MachineConfig
from loadtest.world.edge.types import StaticFolder


def static_folders(
    config: MachineConfig, files: Path, *, whole_image: bool
) -> tuple[StaticFolder, ...]:
    """
    Return them; a folder that is not there, or leads out of ``files``, is the app's business.

    Args:
        config: The machine's.
        files: What its program sees as ``/``, or the app's own folder.
        whole_image: It is the former; else a path is looked for by its longest end that is there,
            as ``/app/public`` of an image is ``public`` beside its Dockerfile.
    """
    return tuple(_folders(config, files.resolve(), whole_image=whole_image))


def _folders(config: MachineConfig, files: Path, *, whole_image: bool) -> Iterator[StaticFolder]:
    for static in config.statics:
        if static.bucket:
            continue
        words = [word for word in static.guest_path.split("/") if word]
        ends = [words] if whole_image else [words[at:] for at in range(len(words))]
        for end in ends:
            folder = files.joinpath(*end).resolve()
            if folder.is_dir() and folder.is_relative_to(files):
                prefix = "/" + static.url_prefix.strip("/")
                yield StaticFolder(prefix.rstrip("/"), folder, static.index.strip("/"))
                break
