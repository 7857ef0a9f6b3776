"""
What crosses the cut of a world: which it was, its regions, links, edges, machines and counts.

Keys that are only shown may be there besides; what a reader computes with is read into these types,
or refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loadtest.errors import RecordsError
from loadtest.records.facts import read

EMBEDDED: Final = "embedded"
WORLD_KINDS: Final = (EMBEDDED, "fly")


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """A pair of regions: the round trip that was set, and what was measured; milliseconds."""

    configured_rtt_ms: float
    measured_rtt_p50_ms: float | None
    measured_rtt_p95_ms: float | None
    n: int
    ok: bool


@dataclass(frozen=True, slots=True)
class ComputerFacts:
    """The computer that all ran on; null or absent where nobody asked."""

    platform: str
    cpus: int | None = None
    memory_mb: float | None = None
    kernel: str | None = None


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """What has passed a machine's link to another app, since it was opened."""

    app: str
    target_app: str
    flights: int
    connections: int


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """What has passed the edges to an app."""

    app: str
    requests: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Links and edges at one moment."""

    links: tuple[LinkCounts, ...]
    edges: tuple[EdgeCounts, ...]


@dataclass(frozen=True, slots=True)
class CountersFacts:
    """Before and after the load."""

    before: Counts
    after: Counts


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """Which run the world was measured for, and what was typed."""

    id: str
    command: str


@dataclass(frozen=True, slots=True)
class WorldFacts:
    """What every world tells."""

    schema: int
    kind: str
    regions: tuple[str, ...]
    primary_region: str
    links: tuple[Mapping[str, Any], ...]
    versions: Mapping[str, str]
    machine: ComputerFacts
    run: OrderFacts
    apps: Mapping[str, str] | None = None
    database: str | None = None
    counters: CountersFacts | None = None


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """The database server that the world's machines ran."""

    version: str
    source: str


@dataclass(frozen=True, slots=True)
class EmbeddedFacts:
    """What an embedded world tells besides."""

    link_layer: str
    edges: Mapping[str, Mapping[str, str]]
    machines: tuple[Mapping[str, Any], ...]
    postgres: PostgresFacts | None


def check_world(content: Mapping[str, Any]) -> None:
    """
    Refuse a world.json that does not tell what this version reads in it.

    Raises:
        RecordsError: With the path of the first key at fault.
    """
    world = read(WorldFacts, content, "world.json", more=True)
    if world.kind not in WORLD_KINDS:
        raise RecordsError(
            f"world.json: kind: {world.kind!r} is not one of {', '.join(WORLD_KINDS)}"
        )
    if world.primary_region not in world.regions:
        raise RecordsError(
            f"world.json: primary_region: {world.primary_region!r} is not among its regions"
        )
    if world.kind == EMBEDDED:
        read(EmbeddedFacts, content, "world.json", more=True)
    for number, link in enumerate(world.links):
        _check_link(link, f"world.json: links[{number}]")


def _check_link(link: Mapping[str, Any], where: str) -> None:
    for end in ("from", "to"):  # a word of the language cannot be a field's name
        if not isinstance(link.get(end), str):
            raise RecordsError(f"{where}.{end}: missing, or no text")
    found = read(LinkFacts, link, where, more=True)
    p50_ms, p95_ms = found.measured_rtt_p50_ms, found.measured_rtt_p95_ms
    if (p50_ms is None, p95_ms is None) != (found.n == 0, found.n == 0):
        raise RecordsError(f"{where}: {found.n} pings, and measured_rtt_p50_ms, ..p95_ms: no match")
    if p50_ms is not None and p95_ms is not None and p95_ms < p50_ms:
        raise RecordsError(f"{where}.measured_rtt_p95_ms: {p95_ms:g} is below the median")
