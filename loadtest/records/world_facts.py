"""
What crosses the cut of a world, as frozen types: the content of world.json.

A world writes what it knows of itself, the run adds which run it was and what it counted.  Null is
what a platform or a kind of world does not have or cannot tell; an absent key is refused.

WORLD_SCHEMA history:
    1  first
    2  every key is there: null where a kind of world has none
    3  counts around each segment; to which regions' machines edges sent requests
    4  how often the machines of two arms changed places
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from loadtest.errors import RecordsError
from loadtest.frozen import read
from loadtest.records.watch import NoWatch, WatchFacts, check_watch

WORLD_SCHEMA: Final = 4
EMBEDDED: Final = "embedded"
FLY: Final = "fly"
OWN: Final = "own"
WORLD_KINDS: Final = (EMBEDDED, FLY, OWN)
LINK_LAYERS: Final = ("hosts", "relay")


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """A pair of regions: the round trip that was set, and what was measured; milliseconds."""

    from_: str
    to: str
    configured_rtt_ms: float
    measured_rtt_p50_ms: float | None
    measured_rtt_p95_ms: float | None
    n: int
    ok: bool

    @property
    def pair(self) -> str:
        """The regions, for people."""
        return f"{self.from_}-{self.to}"


@dataclass(frozen=True, slots=True)
class MeasuredLinks:
    """Every pair of regions, measured just now."""

    links: tuple[LinkFacts, ...]


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """A machine of the world; ``ports`` has those that lead to it from outside, by its own."""

    id: str
    name: str
    app: str
    region: str
    group: str
    state: str
    pid: int | None
    ports: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server that the world's machines ran: PostgreSQL, or a cache."""

    version: str
    source: str


@dataclass(frozen=True, slots=True)
class ComputerFacts:
    """The computer that all ran on; null where nobody asked, or it cannot tell."""

    platform: str
    cpus: int | None
    memory_mb: int | None
    kernel: str | None


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """What has passed a machine's link to another app, since it was opened."""

    machine: str
    app: str
    region: str
    target: str
    target_app: str
    flights: int
    bytes_out: int
    bytes_in: int
    connections: int


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """
    What has passed a region's edge to an app.

    ``served`` has the requests that were sent to machines of each region, replays included.
    """

    region: str
    app: str
    requests: int
    replays: int
    errors: int
    upstream_connections: int
    served: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WorldCounts:
    """Links and edges at one moment."""

    links: tuple[LinkCounts, ...]
    edges: tuple[EdgeCounts, ...]


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Counts before and after a segment of the load; at neither moment is a request under way."""

    start: WorldCounts
    end: WorldCounts


@dataclass(frozen=True, slots=True)
class CountersFacts:
    """
    Counts before and after the load, a pilot included, and around each segment that was finished.

    Without a finished segment ``before`` and ``after`` are what there is.
    """

    before: WorldCounts
    after: WorldCounts
    segments: tuple[SegmentCounts, ...]


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """Which run the world was measured for, and what was typed."""

    id: str
    command: str


@dataclass(frozen=True, slots=True)
class MachineCost:
    """A machine that was paid for: list price, how long it was there, whether it is gone."""

    app: str
    name: str
    region: str
    size: str
    usd_per_s: float
    seconds: float
    usd: float
    gone: bool


@dataclass(frozen=True, slots=True)
class CostFacts:
    """What a run cost; ``prices_of`` is the day of the price table, ``budget_usd`` 0 for none."""

    prices_of: str
    budget_usd: float
    machine_seconds: float
    usd: float
    machines: tuple[MachineCost, ...]


@dataclass(frozen=True, slots=True)
class WorldFacts:
    """
    A world, and what it counted for a run.

    ``link_layer``, ``edges`` (region, then app: its address), ``secure_edges`` (the same by TLS),
    ``authority`` (file of the certificate that they are trusted by), ``machines``, ``postgres`` and
    ``cache`` are of an embedded world; ``cost`` of Fly, and ``exchanges``, how often machines of
    two arms changed places; ``api`` of Fly, and of machines of a person's own, whose coordinator it
    is: of those ``watch`` says what nobody can tell.  ``run``, ``apps`` (deployment: its app, the
    first one) and ``database`` (its app) are null until there is a run, ``counters`` until its load
    has begun.
    """

    schema: int
    kind: str
    regions: tuple[str, ...]
    primary_region: str
    links: tuple[LinkFacts, ...]
    versions: Mapping[str, str]
    machine: ComputerFacts
    watch: WatchFacts | NoWatch | None
    api: str | None = None
    link_layer: str | None = None
    why_not_hosts: str | None = None
    edges: Mapping[str, Mapping[str, str]] | None = None
    secure_edges: Mapping[str, Mapping[str, str]] | None = None
    authority: str | None = None
    machines: tuple[MachineFacts, ...] | None = None
    postgres: ServerFacts | None = None
    cache: ServerFacts | None = None
    run: OrderFacts | None = None
    apps: Mapping[str, str] | None = None
    database: str | None = None
    counters: CountersFacts | None = None
    cost: CostFacts | None = None
    exchanges: int | None = None

    def edge_of(self, region: str, app: str, *, secure: bool = False) -> str | None:
        """Return the address of an app at a region's edge, ``secure`` by TLS; None for none."""
        edges = self.secure_edges if secure else self.edges
        return (edges or {}).get(region, {}).get(app)


def read_world(content: object) -> WorldFacts:
    """
    Return what a world.json tells.

    Raises:
        RecordsError: With the path of the first key at fault.
    """
    where = "world.json"
    world = read(WorldFacts, content, where)
    assert isinstance(content, Mapping)  # all else has been refused
    if absent := [key for key in WorldFacts.__annotations__ if key not in content]:
        raise RecordsError(f"{where}.{absent[0]}: missing; this account of the run is not complete")
    if world.kind not in WORLD_KINDS:
        raise RecordsError(f"{where}: kind: {world.kind!r} is not one of {', '.join(WORLD_KINDS)}")
    if world.primary_region not in world.regions:
        raise RecordsError(
            f"{where}: primary_region: {world.primary_region!r} is not among its regions"
        )
    if world.run is None:
        raise RecordsError(f"{where}.run: null; it does not tell which run it was measured for")
    if world.exchanges is not None and world.kind != FLY:
        raise RecordsError(f"{where}.exchanges: told, of a world whose machines keep their places")
    if world.kind == EMBEDDED:
        for key in ("link_layer", "edges", "machines", "apps"):
            if getattr(world, key) is None:
                raise RecordsError(f"{where}.{key}: null, of an embedded world, which can tell")
    if world.kind == OWN:
        _check_own(world, where)
    for number, link in enumerate(world.links):
        _check_link(link, f"{where}: links[{number}]")
    if fault := next(_contradictions(world), ""):
        raise RecordsError(f"{where}.{fault}: the account contradicts itself")
    if isinstance(world.watch, WatchFacts | NoWatch):
        check_watch(world.watch, f"{where}: watch")
    return world


def _check_own(world: WorldFacts, where: str) -> None:
    """Refuse machines of a person's own that say what they cannot know, or not that they cannot."""
    if not isinstance(world.watch, NoWatch) or not world.watch.cannot_tell.strip():
        raise RecordsError(f"{where}.watch: does not say what machines of your own cannot tell")
    for key in ("link_layer", "edges", "machines", "counters", "cost"):
        if getattr(world, key) is not None:
            raise RecordsError(f"{where}.{key}: told, of machines of your own, which cannot tell")
    if world.links:
        raise RecordsError(f"{where}.links: told, of machines of your own, which cannot tell")


def _contradictions(world: WorldFacts) -> Iterator[str]:
    """Yield the keys that tell a thing twice, a layer that there is not, counts that went back."""
    if len(set(world.regions)) < len(world.regions):
        yield "regions: one is there twice"
    if world.link_layer not in (None, *LINK_LAYERS):
        yield f"link_layer: {world.link_layer!r:.40} is not one of {', '.join(LINK_LAYERS)}"
    pairs = [frozenset((link.from_, link.to)) for link in world.links]
    if len(set(pairs)) < len(pairs):
        yield "links: one is there twice"
    apps = list((world.apps or {}).values())
    if len(set(apps)) < len(apps):
        yield "apps: two deployments of one app"
    if world.counters is not None:
        stretches = [(world.counters.before, world.counters.after)]
        stretches += [(segment.start, segment.end) for segment in world.counters.segments]
        for begin, end in stretches:
            asked = {(edge.region, edge.app): edge.requests for edge in begin.edges}
            for edge in end.edges:
                if edge.requests < asked.get((edge.region, edge.app), 0):
                    yield f"counters: {edge.app} in {edge.region} was asked fewer times in the end"


def _check_link(link: LinkFacts, where: str) -> None:
    p50_ms, p95_ms = link.measured_rtt_p50_ms, link.measured_rtt_p95_ms
    if (p50_ms is None, p95_ms is None) != (link.n == 0, link.n == 0):
        raise RecordsError(f"{where}: {link.n} pings, and measured_rtt_p50_ms, ..p95_ms: no match")
    if p50_ms is not None and p95_ms is not None and p95_ms < p50_ms:
        raise RecordsError(f"{where}.measured_rtt_p95_ms: {p95_ms:g} is below the median")
