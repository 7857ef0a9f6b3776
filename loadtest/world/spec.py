"""What an embedded world is like, as the CLI tells its supervisor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.errors import PlanError, RecordsError
from loadtest.frozen import read, to_json
from loadtest.units import NS_PER_MS

SCHEMA_VERSION = 1
LAYERS = ("auto", "hosts", "relay")


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """
    What stands in for an image.

    Args:
        cwd: The folder its command runs in.
        env: Environment it brings along.
        archive: The image itself, a folder or a tar; None where a command runs in a folder.
    """

    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    archive: Path | None = None


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """
    One world.

    Args:
        regions: Codes of its regions.
        primary_region: Where the PostgreSQL primary stands, and machines that name no region.
        rtt_ms: Round-trip time by ``a-b``, codes in alphabetical order.
        same_region_ms: Round trip between two machines of one region.
        tolerance_ms: By how much a link's median may be off.
        tolerance_share: The same as a share; the larger of both counts.
        images: Local stand-in by image repository.
        api_port: Port of the Machines API; 0 picks a free one.
        postgres_bin: Folder with PostgreSQL's programs; None searches.
        strict_regions: Refuse machines in regions that Fly retired, as Fly does.
        scratch: Folders of the caller's that are removed when the world ends, however it ends.
        foreign_apps: Names that belong to somebody else, as all names of Fly do to somebody.
        full_regions: Regions without room for another machine.
        paid_regions: Regions that are for paid plans only.
        lenient: Neither limit the rate of calls nor let fresh apps be unknown for a moment, as Fly
            does: for a world that nobody but its maker calls, as long as that is so.
        layer: ``hosts``, ``relay``, or ``auto`` for whichever this machine allows.
        seed: Of what is drawn on bad links.
        database: A database will be wanted: the slow part of making one begins with the world.
        programs: Modules that machines will run as ``python -m``: those that are ours are imported
            once for all of them, from the start of the world on.
    """

    regions: tuple[str, ...]
    primary_region: str
    rtt_ms: Mapping[str, float] = field(default_factory=dict)
    same_region_ms: float = 0.5
    tolerance_ms: float = 1.0
    tolerance_share: float = 0.01
    images: Mapping[str, ImageSpec] = field(default_factory=dict)
    api_port: int = 0
    postgres_bin: str | None = None
    strict_regions: bool = False
    scratch: tuple[Path, ...] = ()
    foreign_apps: tuple[str, ...] = ()
    full_regions: tuple[str, ...] = ()
    paid_regions: tuple[str, ...] = ()
    lenient: bool = False
    layer: str = "auto"
    seed: int = 0
    database: bool = False
    programs: tuple[str, ...] = ()

    def rtt_between_ms(self, a: str, b: str) -> float:
        """Return the round-trip time of a pair of the world's regions, in milliseconds."""
        return self.same_region_ms if a == b else self.rtt_ms["-".join(sorted((a, b)))]

    def one_way_ns(self, a: str, b: str) -> int:
        """Return half the round-trip time, in nanoseconds."""
        return round(self.rtt_between_ms(a, b) * NS_PER_MS / 2)

    def pairs(self) -> list[tuple[str, str]]:
        """Return every pair of two regions once, in order."""
        return [(a, b) for i, a in enumerate(self.regions) for b in self.regions[i + 1 :]]

    def to_json(self) -> dict[str, object]:
        """Return the spec as JSON-ready values."""
        return {"schema": SCHEMA_VERSION, **to_json(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> WorldSpec:
        """
        Read and check a spec.

        Raises:
            PlanError: With every fault found.
        """
        if (schema := data.get("schema", SCHEMA_VERSION)) != SCHEMA_VERSION:
            raise PlanError(
                f"world spec: schema {schema!r} is unknown, {SCHEMA_VERSION} is allowed"
            )
        told = {key: value for key, value in data.items() if key != "schema"}
        try:
            spec = read(cls, told, "world spec")
        except RecordsError as error:
            raise PlanError(str(error)) from None
        if faults := list(_faults(spec)):
            raise PlanError(*faults)
        return spec


def _faults(spec: WorldSpec) -> list[str]:
    faults = []
    if not spec.regions:
        faults.append("world spec: regions is empty; name at least one")
    if spec.primary_region not in spec.regions:
        faults.append(
            f"world spec: primary_region {spec.primary_region!r} is not one of "
            f"{', '.join(spec.regions)}"
        )
    for a, b in spec.pairs():
        key = "-".join(sorted((a, b)))
        rtt = spec.rtt_ms.get(key, math.nan)
        if not 0 <= rtt <= 10_000:
            faults.append(f"world spec: rtt_ms of {key} is missing or not within 0 to 10000 ms")
    if spec.layer not in LAYERS:
        faults.append(f"world spec: layer {spec.layer!r} is not one of {', '.join(LAYERS)}")
    for name, image in spec.images.items():
        if not image.cwd.is_dir():
            faults.append(f"world spec: images.{name}.cwd {str(image.cwd)!r} is not a folder")
        if image.archive is not None and not image.archive.exists():
            faults.append(f"world spec: images.{name}.archive: there is no {image.archive}")
    return faults
