"""What the machines of one world share."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loadtest.fly.machines import MachineConfig
from loadtest.fly.values import is_cache, split_image
from loadtest.kernel.namespaces import SocketMaker
from loadtest.world.caches.binary import CacheServer
from loadtest.world.edge.authority import WorldAuthority
from loadtest.world.guard.remains import write_process
from loadtest.world.images.store import ImageStore
from loadtest.world.machines.hosts import WorldHosts
from loadtest.world.machines.network import WorldNetwork
from loadtest.world.machines.ports import PortPool
from loadtest.world.machines.store import Store
from loadtest.world.machines.templates import Templates
from loadtest.world.postgres.binaries import PostgresBinaries
from loadtest.world.spec import ImageSpec, WorldSpec

VISITOR_IMAGE = "loadtest/visitor"
"""Of a machine that somebody else's command runs in: it does nothing of its own."""

POSTGRES_IMAGE = "flyio/postgres-flex"
POSTGRES_COMMAND = ("-m", "loadtest.world.postgres")


class EdgeHouse(Protocol):
    """The edges of every region, as machines need them."""

    async def ensure(self, app: str) -> None:
        """Let every region's edge listen for an app."""
        ...


class Registry:
    """
    Tells the guardian which process groups exist, and writes them down for the worst case.

    Args:
        base: The world's folder.
        sink: Descriptor of the line to the guardian.
    """

    def __init__(self, base: Path, sink: int) -> None:
        self._base = base
        self._sink = sink

    def add(self, group: int, stop_signal: int) -> None:
        """Note a process group and the signal that ends its leader politely."""
        write_process(self._base, group)
        self._tell({"group": group, "signal": int(stop_signal)})

    def remove(self, group: int) -> None:
        """Note that a process group is gone."""
        self._tell({"gone": group})

    def answer(self, message: Mapping[str, str]) -> None:
        """Tell the CLI, through the guardian, that the world is up or why it is not."""
        self._tell(message)

    def _tell(self, message: Mapping[str, object]) -> None:
        with contextlib.suppress(OSError):  # the guardian is gone; that is noticed elsewhere
            os.write(self._sink, json.dumps(message).encode() + b"\n")


@dataclass(slots=True)
class WorldContext:
    """
    Everything a machine needs to run.

    Args:
        spec: The world.
        base: Its folder.
        store: Its apps and machines.
        network: Its links.
        edges: Its edges.
        registry: Where process groups are noted.
        environment: What every machine's environment starts from.
        sockets: Makes sockets inside machines' networks.
        templates: What makes processes of our own programs.
        unpacked: Files of images.
        authority: Signs certificates; machines trust it.
        hosts: Networks of machines' own; None where all share this machine's loopback.
        ports: Free ports.
        postgres: The PostgreSQL in use, once there is one.
        cache_server: The server of Redis images in use, once there is one.
    """

    spec: WorldSpec
    base: Path
    store: Store
    network: WorldNetwork
    edges: EdgeHouse
    registry: Registry
    environment: Mapping[str, str]
    sockets: SocketMaker
    templates: Templates
    unpacked: ImageStore
    authority: WorldAuthority
    hosts: WorldHosts | None = None
    ports: PortPool = field(default_factory=PortPool)
    postgres: PostgresBinaries | None = None
    cache_server: CacheServer | None = None

    def image(self, reference: str) -> ImageSpec | None:
        """Return the local stand-in of an image; None when there is none."""
        repository, _ = split_image(reference)
        images = self.spec.images
        if repository == VISITOR_IMAGE:
            return ImageSpec(self.base / "tmp")
        return images.get(repository) or images.get(repository.rsplit("/", 1)[-1])

    def knows_image(self, reference: str) -> bool:
        """Tell whether a machine of this image can be run."""
        known = is_postgres(reference) or is_cache(reference)
        return known or self.image(reference) is not None

    def runs_cache(self, config: MachineConfig) -> bool:
        """Tell whether a machine is a cache: a Redis image, unless a folder stands in for it."""
        return is_cache(config.image) and self.image(config.image) is None

    @property
    def image_names(self) -> str:
        """Return the images that can be run, for a sentence."""
        return ", ".join([POSTGRES_IMAGE, "redis", "valkey/valkey", *self.spec.images])


def runs_postgres(config: MachineConfig) -> bool:
    """Tell whether a machine is a database: by our own command, or Fly's image of any registry."""
    return config.cmd[-2:] == POSTGRES_COMMAND or is_postgres(config.image)


def is_postgres(reference: str) -> bool:
    """Tell whether an image is Fly's PostgreSQL, from whatever registry."""
    repository, _ = split_image(reference)
    return repository == POSTGRES_IMAGE or repository.endswith(f"/{POSTGRES_IMAGE}")
