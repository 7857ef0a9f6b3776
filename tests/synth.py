"""
Makes a complete run folder with known true values, as if a run had happened.

The model is that of the published tables: TTFB = base + h round trips from edge to app + k round
trips from app to database, times log-normal noise, times an optional slow drift that all arms of a
region share.  Everything is drawn from one seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from synth_files import engine_of, health_of, table_of, worker_of, world_of, write_json

from loadtest.frozen import to_json
from loadtest.plan.apps import Deployment
from loadtest.plan.model import Load, NetworkSettings, Plan
from loadtest.plan.schedule import RegionSchedule
from loadtest.records.facts import RowCounts, WorkerFacts
from loadtest.records.schema import ERROR_DROPPED, ERROR_KINDS
from loadtest.records.seal import seal
from loadtest.records.writer import open_parquet
from loadtest.turns import Turns

RTT_MS = {
    "cdg-ord": 104.0,
    "cdg-syd": 241.0,
    "cdg-scl": 209.7,
    "ord-syd": 184.0,
    "ord-scl": 165.9,
    "scl-syd": 305.5,
}
BASE_MS = {"cdg": 75.1, "ord": 50.4, "syd": 45.8, "scl": 84.4}
KERNEL_SEES_EARLIER_US = 40.0


@dataclass(frozen=True)
class Effects:
    """What is done to a run; the keys of cells are ``(region, deployment)``."""

    sigma: float = 0.08
    """Standard deviation of the logarithm of one request's noise."""
    drift_sd: float = 0.0
    drift_memory_s: float = 120.0
    arm_factor: Mapping[str, float] = field(default_factory=dict)
    arm_shift_ms: Mapping[str, float] = field(default_factory=dict)
    cell_shift_ms: Mapping[tuple[str, str], float] = field(default_factory=dict)
    round_trips: Mapping[str, int] = field(default_factory=dict)
    """Database round trips a request, by deployment; 2 where not named."""
    error_share: Mapping[str, float] = field(default_factory=dict)
    """Share of status 500 answers, by deployment."""
    bytes_of: Mapping[str, int] = field(default_factory=dict)
    """Size of an answer, by deployment; 4096 where not named."""
    timeout_share: float = 0.0
    dropped_share: float = 0.0
    resent_share: float = 0.0
    unasked_share: Mapping[str, float] = field(default_factory=dict)
    """Share of requests that open a connection nobody asked for, by deployment."""
    late_share: float = 0.0
    replayed_share: float = 0.0
    """Share of the replica deployment's answers that came by way of a replay."""
    lost_worker: str = ""
    """Region whose (last) worker is lost in the middle of the run."""
    user_clock: bool = False
    scenarios: tuple[str, ...] = ("browse",)
    names: tuple[str, ...] = ("GET /recipes",)
    """Names of the requests, equally frequent."""
    page_shift_ms: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """What a page of a deployment takes longer; the keys are ``(deployment, name)``."""
    freeze: tuple[float, float] = (0.0, 0.0)
    """Start and length, in seconds of the steady stage, of a freeze of every target."""
    half_trend: float = 0.0
    """Factor minus one that the second half of each region's steady stage is multiplied by."""
    health: Mapping[str, float] = field(default_factory=dict)
    """Overrides for every worker's health in engine.json."""
    unreconciled: int = 0
    """Rows that a worker received and the coordinator never merged."""
    link_off_ms: float = 0.0
    """Error of the first link's measured round-trip time."""


def make_plan(**changes: Any) -> Plan:
    """Return the plan of the three tables, with top-level keys replaced by ``changes``."""
    values: dict[str, Any] = {
        "regions": ("cdg", "ord", "syd", "scl"),
        "primary_region": "cdg",
        "deployments": (
            Deployment(name="single", fly_toml="fly/recipes-single/fly.toml", machines="primary"),
            Deployment(name="multi", fly_toml="fly/recipes-multi/fly.toml"),
            Deployment(name="replica", fly_toml="fly/recipes-replica/fly.toml"),
        ),
        "load": Load(rate=10.0, duration_s=30.0, warmup_s=4.0, block_s=1.0),
        "network": NetworkSettings(rtt_ms=RTT_MS, sources=dict.fromkeys(RTT_MS, "synthetic")),
        "base_ms": BASE_MS,
        "thresholds": ("ttfb.p95 < 100ms where deployment = replica",),
        "reproduce": True,
    }
    return Plan(**{**values, **changes})


def hops(plan: Plan, deployment: Deployment, effects: Effects) -> tuple[float, float]:
    """Return the round trips (edge to app, app to database) that a remote region's request pays."""
    kind = deployment.of or deployment.name
    database = float(effects.round_trips.get(deployment.name, 2))
    if kind == "single" or deployment.machines == "primary":
        return 1.0, 0.0
    return (0.0, database) if kind == "multi" else (0.0, 0.0)


@dataclass(frozen=True)
class Truth:
    """The parts of a cell's median TTFB, milliseconds; ``scale`` is the arm's factor."""

    app: float
    database: float
    network: float
    scale: float

    @property
    def ttfb_ms(self) -> float:
        """The true median TTFB."""
        return (self.app + self.database + self.network) * self.scale


def truth(plan: Plan, region: str, deployment: Deployment, effects: Effects) -> Truth:
    """Return the true median TTFB of a cell and its parts."""
    rtt = plan.rtt_between_ms(region, plan.primary_region)
    edge, database = hops(plan, deployment, effects)
    local = effects.round_trips.get(deployment.name, 2) * plan.network.same_region_ms
    shift = effects.arm_shift_ms.get(deployment.name, 0.0)
    shift += effects.cell_shift_ms.get((region, deployment.name), 0.0)
    return Truth(
        app=plan.base_ms.get(region, 60.0) + shift,
        database=database * rtt if database and region != plan.primary_region else local,
        network=edge * rtt + plan.network.same_region_ms if edge else plan.network.same_region_ms,
        scale=effects.arm_factor.get(deployment.name, 1.0),
    )


def write_run(
    folder: Path, plan: Plan, *, seconds: float, seed: int, effects: Effects | None = None
) -> Path:
    """
    Write plan.json, world.json, engine.json and records.parquet; return the folder.

    Args:
        folder: Made if missing; its name is the run's id.
        seconds: Length of the steady stage; warm-up comes before it, as in the plan.
        seed: Of the noise; the plan's own seed is left alone.
        effects: What is done to the numbers; nothing when None.
    """
    effects = effects or Effects()
    plan = plan.model_copy(update={"load": plan.load.model_copy(update={"duration_s": seconds})})
    folder.mkdir(parents=True, exist_ok=True)
    workers: list[WorkerFacts] = []
    with (folder / "records.parquet").open("wb") as file, open_parquet(file) as writer:
        for index, region in enumerate(plan.regions):
            generator = np.random.Generator(np.random.PCG64([seed, index]))
            columns = _rows_of(plan, region, generator, effects)
            kept = _lose(columns, plan, region, effects, workers)
            writer.write_table(table_of(columns, kept))
    write_json(folder / "plan.json", plan.to_json())
    world = world_of(folder.name, plan, effects.link_off_ms, seconds)
    write_json(folder / "world.json", to_json(world))
    write_json(folder / "engine.json", to_json(engine_of(folder.name, plan, workers)))
    seal(folder)
    return folder


Columns = dict[str, Any]


def _rows_of(plan: Plan, region: str, rng: np.random.Generator, effects: Effects) -> Columns:
    """Draw every request of one region; string columns are (codes, names) pairs."""
    arms = [plan.deployment(name) for name in plan.arms_in(region)]
    schedule = RegionSchedule(plan, region)
    chunks = list(schedule.chunks())
    sizes = [len(chunk) for chunk in chunks]
    n, blocks = sum(sizes), schedule.blocks
    arm = np.frombuffer(b"".join(chunk.arms for chunk in chunks), np.uint8).astype(np.int32)
    due_ns = np.concatenate([np.frombuffer(chunk.due_ns, np.int64) for chunk in chunks])
    at_s = due_ns / 1e9
    slots = max(1, round(plan.load.rate * plan.load.block_s)) * len(arms)
    order = rng.permuted(np.tile(np.arange(slots), (blocks, 1)), axis=1).ravel()[
        np.arange(n) % (blocks * slots)
    ]
    late = rng.random(n) < effects.late_share
    queue = rng.gamma(2.0, 15.0, n) + np.where(late, 20_000.0, 0.0)
    columns: Columns = {
        "region": (np.zeros(n, np.int32), [region]),
        "deployment": (arm, [d.name for d in arms]),
        "scenario": ((order // len(arms) % len(effects.scenarios)), list(effects.scenarios)),
        "name": (_spread(n, len(effects.names)), list(effects.names)),
        "stage": (
            np.repeat([int(chunk.stage == "steady") for chunk in chunks], sizes).astype(np.int32),
            ["warm-up", "steady"],
        ),
        "block": np.repeat([chunk.block for chunk in chunks], sizes).astype(np.int32),
        "arrival": np.arange(n),
        "intended_us": due_ns // 1_000,
        "queue_us": queue,
    }
    noise = np.exp(rng.normal(0.0, effects.sigma, n)) * _weather(plan, at_s, rng, effects)
    _fill_times(columns, plan, region, arms, noise, effects)
    _fill_connections(columns, plan, region, rng, effects)
    _fill_answers(columns, plan, region, arms, rng, effects)
    return columns


def _spread(n: int, kinds: int) -> np.ndarray:
    """Return evenly frequent codes in an order that nothing else follows, without a draw."""
    return (((np.arange(n, dtype=np.int64) * 2_654_435_761) >> 7) % kinds).astype(np.int32)


def _new_connections(plan: Plan, region: str, arms: list[Deployment], arm: np.ndarray) -> Columns:
    """
    Return what rows pay that found no open connection, by what they pay it for.

    In milliseconds ``edge`` and ``database``, and ``trips``, how many of the database's.
    """
    paid = {key: np.zeros(arm.size) for key in ("edge", "database", "trips")}
    for number, deployment in enumerate(arms):
        if region == plan.primary_region:
            continue
        rtt, turns = plan.rtt_between_ms(region, plan.primary_region), Turns()
        kind = deployment.of or deployment.name
        for row in np.flatnonzero(arm == number):
            if turns.take(deployment.new_connection_share):
                paid["edge"][row] = rtt if kind == "single" else 0
                paid["trips"][row] = 6 if kind == "multi" else 0
    paid["database"] = paid["trips"] * (plan.rtt_between_ms(region, plan.primary_region))
    return paid


def _weather(
    plan: Plan, at_s: np.ndarray, rng: np.random.Generator, effects: Effects
) -> np.ndarray:
    """Return the factor that a region's requests share: AR(1) on a grid of one second."""
    factor = np.ones_like(at_s)
    if effects.half_trend:
        late = at_s > (plan.load.warmup_s + at_s[-1]) / 2
        factor = np.where(late, 1.0 + effects.half_trend, factor)
    if effects.drift_sd:
        steps = math.ceil(float(at_s[-1])) + 2
        keep = math.exp(-1.0 / effects.drift_memory_s)
        shocks = rng.normal(0.0, effects.drift_sd, steps)
        level = np.empty(steps)
        level[0] = shocks[0]
        for step in range(1, steps):
            level[step] = keep * level[step - 1] + math.sqrt(1 - keep * keep) * shocks[step]
        factor = factor * np.exp(np.interp(at_s, np.arange(steps), level))
    return factor


def _fill_times(
    columns: Columns,
    plan: Plan,
    region: str,
    arms: list[Deployment],
    noise: np.ndarray,
    effects: Effects,
) -> None:
    """Add wait, app and database times from each arm's truth."""
    arm = columns["deployment"][0]
    truths = [truth(plan, region, deployment, effects) for deployment in arms]
    paid = _new_connections(plan, region, arms, arm)
    database = np.array([t.database * t.scale for t in truths])[arm] + paid["database"]
    total = np.array([t.ttfb_ms for t in truths])[arm] + paid["database"] + paid["edge"]
    total = total * noise * 1e3
    columns["app_us"] = np.array([t.app * t.scale for t in truths])[arm] * noise * 1e3
    columns["db_us"] = database * noise * 1e3
    start, length = effects.freeze
    if length:
        thaw_us = (plan.load.warmup_s + start + length) * 1e6
        begin_us = thaw_us - length * 1e6
        at = columns["intended_us"] + columns["queue_us"]
        frozen = (at >= begin_us) & (at < thaw_us)
        total = np.where(frozen, total + (thaw_us - at), total)
    page = columns["name"][0]
    for number, deployment in enumerate(arms):
        for code, name in enumerate(effects.names):
            shift_ms = effects.page_shift_ms.get((deployment.name, name), 0.0)
            total = np.where((arm == number) & (page == code), total + shift_ms * 1e3, total)
    columns["wait_us"] = total
    columns["wait_user_us"] = total + KERNEL_SEES_EARLIER_US


def _fill_connections(
    columns: Columns, plan: Plan, region: str, rng: np.random.Generator, effects: Effects
) -> None:
    """Add the phases before the first byte; a new connection meets the edge of its own region."""
    n = columns["block"].size
    fresh = rng.random(n) < plan.load.new_connections
    for deployment in range(len(columns["deployment"][1])):
        first = np.flatnonzero(columns["deployment"][0] == deployment)[:2]
        fresh[first] = True
    local_us = plan.network.same_region_ms * 1e3
    unasked = np.zeros(n, bool)
    for number, name in enumerate(columns["deployment"][1]):
        if share := effects.unasked_share.get(name, 0.0):
            unasked |= (columns["deployment"][0] == number) & (rng.random(n) < share) & ~fresh
    columns["cold"] = fresh
    fresh = fresh | unasked
    columns["reused"] = ~fresh
    columns["dns_us"] = np.where(fresh, rng.gamma(3.0, 30.0, n), 0.0)
    columns["connect_us"] = np.where(fresh, local_us + rng.gamma(2.0, 20.0, n), 0.0)
    columns["tls_us"] = np.zeros(n)
    columns["send_us"] = rng.gamma(4.0, 5.0, n)
    columns["receive_us"] = rng.gamma(2.0, 40.0, n)


def _fill_answers(
    columns: Columns,
    plan: Plan,
    region: str,
    arms: list[Deployment],
    rng: np.random.Generator,
    effects: Effects,
) -> None:
    """Add status, error kind, who answered, and what the app reported."""
    n = columns["block"].size
    arm = columns["deployment"][0]
    kinds = list(ERROR_KINDS)
    shares = np.array([effects.error_share.get(d.name, 0.0) for d in arms])
    status_500 = rng.random(n) < shares[arm]
    timed_out = rng.random(n) < effects.timeout_share
    dropped = rng.random(n) < effects.dropped_share
    error = np.zeros(n, np.int32)
    error[status_500] = kinds.index("status")
    error[timed_out] = kinds.index("read-timeout")
    error[dropped] = kinds.index(ERROR_DROPPED)
    silent = timed_out | dropped
    columns["error"] = (error, kinds)
    columns["status"] = np.where(silent, 0, np.where(status_500, 500, 200))
    columns["wait_us"][timed_out] = plan.load.timeout_s * 1e6
    columns["start_us"] = np.where(dropped, -1, columns["intended_us"] + columns["queue_us"])
    for name in ("queue", "dns", "connect", "tls", "send", "wait", "wait_user", "receive"):
        columns[f"{name}_us"][dropped] = 0
    sizes = np.array([effects.bytes_of.get(d.name, 4_096) for d in arms])
    columns["bytes"] = np.where(silent, 0, sizes[arm])
    columns["attempts"] = np.where(rng.random(n) < effects.resent_share, 2, 1)
    columns["clock"] = (np.zeros(n, np.int32), ["user" if effects.user_clock else "kernel"])
    columns["protocol"] = (np.where(dropped, 0, 1).astype(np.int32), ["", "1.1"])
    home = np.array([d.machines == "primary" for d in arms])[arm]
    is_replica = np.array([(d.of or d.name) == "replica" for d in arms])[arm]
    replayed = is_replica & (rng.random(n) < effects.replayed_share)
    columns["replayed"] = replayed
    served = np.where(home | replayed, 1, 0)
    served[silent] = 2
    columns["served_by"] = (served, [region, plan.primary_region, ""])
    trips = np.array([effects.round_trips.get(d.name, 2) for d in arms])[arm]
    trips = trips + _new_connections(plan, region, arms, arm)["trips"].astype(int)
    columns["db_round_trips"] = np.where(error > 0, -1, trips)
    columns["db_us"] = np.where(error > 0, -1.0, columns["db_us"])
    columns["app_us"] = np.where(error > 0, -1.0, columns["app_us"])


def _lose(
    columns: Columns,
    plan: Plan,
    region: str,
    effects: Effects,
    workers: list[WorkerFacts],
) -> np.ndarray:
    """Share the rows among the region's workers, lose what a lost worker loses, book both."""
    n = columns["block"].size
    count = plan.generator.workers_per_region
    owner = (np.arange(n) % count).astype(np.int32)
    names = [f"{region}-{index}" for index in range(count)]
    columns["worker"] = (owner, names)
    columns["row"] = np.arange(n) // count
    kept = np.ones(n, bool)
    if region == effects.lost_worker:
        kept = ~((owner == count - 1) & (np.arange(n) > n // 2))
    for index, name in enumerate(names):
        scheduled = int((owner == index).sum())
        merged = int((kept & (owner == index)).sum())
        lost = merged < scheduled
        missing = effects.unreconciled if not workers else 0
        dropped = int((kept & (owner == index) & (columns["start_us"] < 0)).sum())
        rows = RowCounts(scheduled, merged, merged, merged - missing, missing)
        health = health_of(effects.health, merged, dropped)
        lasts_s = float(columns["intended_us"][-1]) / 1e6
        workers.append(worker_of(name, region, lost, rows, health, lasts_s))
    return kept
