"""
The plan: everything that decides what is measured, as one frozen value.

A plan is read from TOML, overridden by flags, resolved (round-trip times and base times looked up)
and then written to ``plan.json``; whatever runs later reads only that value.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from loadtest.plan.apps import Companion, DatabaseSettings, Deployment, Generator
from loadtest.plan.client import ClientSettings
from loadtest.plan.kinds import (
    AppPrefix,
    Environment,
    Frozen,
    Http,
    Millis,
    Name,
    Path,
    ScenarioName,
    Scheme,
    Share,
    Slug,
)


class Stage(Frozen):
    """A slice of the load profile: each cell's rate goes from one value to another in a line."""

    duration_s: Annotated[float, Field(gt=0, le=86_400)]
    from_rate: Annotated[float, Field(ge=0, le=100_000)]
    to_rate: Annotated[float, Field(ge=0, le=100_000)]


class Load(Frozen):
    """
    How hard and how long, per cell (region x deployment).

    ``rate`` is arrivals per second in each cell.  ``stages`` replaces ``rate`` and ``duration_s``
    where given.  In the closed model each of a cell's ``users`` sends its next request when its
    last one is done.
    """

    rate: Annotated[float, Field(gt=0, le=100_000)] = 5.0
    fit_rate: bool = False
    """Look before the load at what every target carries, and lower ``rate`` to that."""
    asked_rate: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """Filled in: what ``rate`` was before it was lowered; 0 when it was not."""
    duration_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    warmup_s: Annotated[float, Field(ge=0, le=3_600)] = 4.0
    arrivals: Literal["constant", "poisson"] = "constant"
    model: Literal["open", "closed"] = "open"
    users: Annotated[int, Field(ge=1, le=20_000)] = 64
    block_s: Annotated[float, Field(gt=0, le=600)] = 1.0
    stages: tuple[Stage, ...] = ()
    new_connections: Share = 0.0
    """Share of arrivals that open a connection of their own: the sample of cold TTFB."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 15.0


class NetworkSettings(Frozen):
    """
    The emulated wide-area network.

    ``rtt_ms`` maps ``a-b`` (codes in alphabetical order) to a round-trip time; it is filled in by
    resolution from the set that ``rtt`` names and may overrule single pairs in the file.
    """

    rtt: str = "published-era"
    """``published-era``, ``neutral``, or the path of a CSV file with columns from, to, rtt_ms."""
    rtt_ms: dict[str, Annotated[float, Field(ge=0, le=5_000)]] = {}
    same_region_ms: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Round trip between two machines of one region."""
    layer: Literal["auto", "hosts", "relay"] = "auto"
    """``hosts``: every machine has a network of its own; ``relay``: all share one loopback."""
    tolerance_ms: Annotated[float, Field(gt=0)] = 1.0
    tolerance_share: Annotated[float, Field(gt=0, lt=1)] = 0.01
    sources: dict[str, str] = {}
    """Filled in: where each pair's value comes from."""


class ValidityLimits(Frozen):
    """Limits beyond which numbers are not trusted; the analysis says why each stands there."""

    loop_lag_p99_ms: Millis = 25.0
    loop_lag_user_clock_p99_ms: Millis = 5.0
    late_share: Share = 0.01
    late_after_ms: Millis = 10.0
    dropped_share: Share = 0.001
    resent_share: Share = 0.001
    unasked_share: Share = 0.5
    cpu_share: Share = 0.90
    steal_share: Share = 0.10
    gc_pause_ms: Millis = 50.0
    retransmit_share: Share = 0.01
    clock_uncertainty_ms: Millis = 10.0
    stamp_gap_p99_ms: Millis = 25.0
    world_late_p99_ms: Millis = 50.0
    world_stalled_share: Share = 0.01
    user_clock_allowed: bool = True


class UserStep(Frozen):
    """From ``at_s`` on a cell has ``users`` users, started and stopped ``spawn_rate`` a second."""

    at_s: Annotated[float, Field(ge=0, le=86_400)]
    users: Annotated[int, Field(ge=0, le=20_000)]
    spawn_rate: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    scenarios: tuple[ScenarioName, ...] = ()
    """Classes that the users are of; empty means all."""


class LocustSettings(Frozen):
    """
    What Locust's command line says of a locustfile.

    The number of users is ``load.users``; how long they run is ``load.duration_s``.
    """

    base_path: Annotated[str, Field(pattern=r"^(/[!-~]*)?$")] = ""
    """Path of the host, in front of every relative one."""
    replaces_hosts: bool = False
    """The command line named the host, so the classes' own does not count."""
    classes: tuple[ScenarioName, ...] = ()
    """User classes that are played; empty means all of the file."""
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Words for options that the file itself adds to Locust's."""
    spawn_rate: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """Users started a second; 0 starts all before the load."""
    steps: tuple[UserStep, ...] = ()
    """What the file's load shape says, asked beforehand; it replaces users and spawn_rate."""


class Gate(Frozen):
    """How a verdict is reached (``statistics`` in the documentation tells why), and of what."""

    setup: Annotated[str, Field(max_length=4_000)] = ""
    """Of two revisions: shell line that prepares each."""
    env: Environment = {}
    """Of two revisions: environment of both, under that of an arm of the plan."""
    margin_share: Annotated[float, Field(ge=0, lt=1)] = 0.03
    margin_ms: Millis = 5.0
    alpha: Annotated[float, Field(ge=1e-6, le=0.2)] = 0.05
    """Error rate of each side, over all looks: to fail what holds, to pass what is broken."""
    resamples: Annotated[int, Field(ge=200, le=100_000)] = 2_000
    error_budget: Share = 0.001
    max_looks: Annotated[int, Field(ge=1, le=10)] = 3
    """Segments of ``load.duration_s`` that an undecided run may take; 1 never extends."""


class PlannedFault(Frozen):
    """Something that goes wrong in the emulated world at a time of the load."""

    what: Annotated[str, Field(max_length=200)]
    """What goes wrong, such as ``cut cdg-syd``, ``loss 1% *`` or ``kill replica/syd``."""
    at_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """When, in seconds from the begin of the load, warm-up included; 0 is before it."""
    for_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """For how long; 0 lasts until the end."""


class Plan(Frozen):
    """The whole plan.  ``scenario`` is the path of a Python file with Locust classes."""

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Name = "plan"
    title: str = ""
    regions: Annotated[tuple[str, ...], Field(min_length=1, max_length=34)]
    primary_region: str
    world: Literal["embedded", "fly", "own"] = "embedded"
    org: Slug = ""
    """On Fly: slug of the organization; empty is FLY_ORG of the environment, else ``personal``."""
    prefix: AppPrefix = ""
    """On Fly: begins every app's name; empty is the organization and a remembered random word."""
    use_apps: tuple[str, ...] = ()
    """On Fly: apps that are deployed to although no run made them."""
    budget_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """On Fly: US dollars that the machines of a run may cost; 0 sets no limit."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 20_260_801
    scenario: str = "scenarios/recipes.py"
    locustfile: LocustSettings | None = None
    """Set where ``scenario`` is a locustfile, written for Locust and not for us."""
    paths: Annotated[tuple[Path, ...], Field(min_length=1, max_length=64)] = ("/",)
    """What ``scenarios/pages.py`` asks for, in turn; other scenarios may read it."""
    headers: Environment = {}
    """Sent with every request to a deployment; ``plan.headers`` has references to secrets."""
    http: Http = "auto"
    """Over TLS what the server prefers of HTTP/2 and 1.1, else 1.1; ``2`` over plain TCP too."""
    scheme: Scheme = ""
    """How deployed apps are called; empty: https on Fly and where ``http`` is 2, else http."""
    expect: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()
    """Statuses that are a success; empty: those below 300, 304, and a redirect after a form."""
    deployments: Annotated[tuple[Deployment, ...], Field(min_length=1, max_length=32)]
    database: DatabaseSettings = DatabaseSettings()
    companions: Annotated[tuple[Companion, ...], Field(max_length=16)] = ()
    generator: Generator = Generator()
    client: ClientSettings = ClientSettings()
    load: Load = Load()
    network: NetworkSettings = NetworkSettings()
    faults: Annotated[tuple[PlannedFault, ...], Field(max_length=200)] = ()
    """What goes wrong in the emulated world during the load."""
    base: str = "published"
    """``published``, milliseconds for every region, or the path of a CSV (region, base_ms)."""
    base_ms: dict[str, Millis] = {}
    """Filled in: time the app waits in each region without burning CPU."""
    healthy_within_s: Annotated[float, Field(gt=0, le=3_600)] = 60.0
    """How long a deployment may take to get healthy before the run is given up."""
    deploy_within_s: Annotated[float, Field(gt=0, le=3_600)] = 300.0
    """The same on Fly, where machines pull their image first."""
    visitors: dict[str, float] = {}
    """Region to share of the visitors, for ``loadtest advise``; empty is every region alike."""
    thresholds: tuple[str, ...] = ()
    validity: ValidityLimits = ValidityLimits()
    gate: Gate = Gate()
    reproduce: bool = False
    """Put the published tables beside ours in the report."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def patience_s(self) -> float:
        """Return how long machines may take from their order until they are healthy, seconds."""
        slower = self.deploy_within_s if self.world == "fly" else 0.0
        return max(self.healthy_within_s, slower)

    def deployment(self, name: str) -> Deployment:
        """Return the deployment of that name; KeyError when there is none."""
        for deployment in self.deployments:
            if deployment.name == name:
                return deployment
        raise KeyError(name)

    def http_of(self, deployment: Deployment) -> Http:
        """Return what is spoken to a deployment."""
        return deployment.http or self.http

    def scheme_of(self, deployment: Deployment) -> Literal["http", "https"]:
        """Return how a deployment is called."""
        if deployment.url:
            return "https" if deployment.url.lower().startswith("https:") else "http"
        by_itself = self.world == "fly" or self.http_of(deployment) == "2"
        return deployment.scheme or self.scheme or ("https" if by_itself else "http")

    def clients_of(self, deployment: Deployment) -> tuple[str, ...]:
        """Return the client regions that measure this deployment, in plan order."""
        return tuple(
            code
            for code in self.regions
            if not deployment.measured_from or code in deployment.measured_from
        )

    def arms_in(self, region: str) -> tuple[str, ...]:
        """Return the names of the deployments that are measured from a region, in plan order."""
        return tuple(d.name for d in self.deployments if region in self.clients_of(d))

    def rtt_between_ms(self, a: str, b: str) -> float:
        """Return a pair's round-trip time in milliseconds; KeyError if unresolved."""
        if a == b:
            return self.network.same_region_ms
        return self.network.rtt_ms["-".join(sorted((a, b)))]

    def to_json(self) -> dict[str, object]:
        """Return the plan as JSON-ready values, keys as in the TOML file."""
        return self.model_dump(mode="json", by_alias=True)
