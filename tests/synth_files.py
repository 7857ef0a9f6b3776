"""The files of a made-up run folder: records, world.json and engine.json as a run leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from loadtest.frozen import Signed
from loadtest.plan.model import Plan
from loadtest.plan.prints import plan_prints
from loadtest.plan.schedule import RegionSchedule, digest_schedules
from loadtest.records.facts import (
    ENGINE_SCHEMA,
    FINISHED,
    ClockFacts,
    EngineFacts,
    HealthFacts,
    MomentFacts,
    RowCounts,
    ScheduleFacts,
    SegmentFacts,
    SelfCheckFacts,
    WorkerFacts,
)
from loadtest.records.schema import RECORDS
from loadtest.records.watch import (
    WATCH_SCHEMA,
    PairFacts,
    PathFacts,
    ProcessFacts,
    WatchFacts,
    WorldMoment,
)
from loadtest.records.world_facts import (
    EMBEDDED,
    WORLD_SCHEMA,
    ComputerFacts,
    LinkFacts,
    OrderFacts,
    ServerFacts,
    WorldFacts,
)

EPOCH_WALL_NS = 1_785_000_000_000_000_000

HEALTH = HealthFacts(
    loop_lag_p50_us=30,
    loop_lag_p99_us=210,
    loop_lag_max_us=1_900,
    cpu_share_mean=0.12,
    cpu_share_max=0.31,
    steal_share_mean=0.001,
    steal_share_max=0.01,
    gc_pause_max_us=800,
    gc_pause_total_us=9_000,
    lateness_p50_us=25,
    lateness_p99_us=140,
    late=0,
    dropped=0,
    resends=0,
    retransmits=0,
    segments_sent=1_000,
    duplicates=0,
    untold={},
)


def health_of(changes: Mapping[str, float], merged: int, dropped: int) -> HealthFacts:
    """Return a worker's health with some numbers changed, and none that contradicts another."""
    told: dict[str, Any] = {"segments_sent": merged * 2, "dropped": dropped, **changes}
    health = replace(HEALTH, **told)
    for low, high in (
        *(("loop_lag_p99_us", "loop_lag_max_us"), ("cpu_share_mean", "cpu_share_max")),
        *(("steal_share_mean", "steal_share_max"), ("gc_pause_max_us", "gc_pause_total_us")),
    ):
        health = replace(health, **{high: max(getattr(health, low), getattr(health, high))})
    return health


def worker_of(
    name: str, region: str, lost: bool, rows: RowCounts, health: HealthFacts, lasts_s: float = 30
) -> WorkerFacts:
    return WorkerFacts(
        id=name,
        region=region,
        state="lost" if lost else FINISHED,
        rows=rows,
        clock=ClockFacts(
            offset_us=Signed(12.0), uncertainty_us=180.0, bound_us=200.0, exchanges=20
        ),
        failures=(),
        versions={"python": "3.11.7", "locust": "2.47.0"},
        self_check=SelfCheckFacts(n=200, bias_p50_us=8.0, bias_p99_us=45.0, clock="kernel"),
        health=health,
        moves=(),
        left={},
        timeline=tuple(
            MomentFacts(
                t_s=Signed(second),
                loop_lag_p99_us=150 + 10 * (second % 7),
                cpu_share=0.1,
                steal_share=0.0,
                gc_pause_us=300,
                lateness_p99_us=120,
                in_flight=3,
            )
            for second in range(0, int(lasts_s), 2)
        ),
    )


def world_of(run_id: str, plan: Plan, link_off_ms: float, seconds: float) -> WorldFacts:
    links = []
    for index, pair in enumerate(sorted(plan.network.rtt_ms)):
        a, b = pair.split("-")
        configured = plan.network.rtt_ms[pair]
        off = link_off_ms if index == 0 else 0.1
        allowed = max(plan.network.tolerance_ms, plan.network.tolerance_share * configured)
        links.append(
            LinkFacts(
                from_=a,
                to=b,
                configured_rtt_ms=configured,
                measured_rtt_p50_ms=round(configured + off, 3),
                measured_rtt_p95_ms=round(configured + off + 0.4, 3),
                n=20,
                ok=abs(off) <= allowed,
            )
        )
    return WorldFacts(
        schema=WORLD_SCHEMA,
        kind=EMBEDDED,
        run=OrderFacts(run_id, ""),
        regions=plan.regions,
        primary_region=plan.primary_region,
        link_layer="relay",
        links=tuple(links),
        watch=watch_of(plan, seconds),
        edges={
            region: {d.name: f"http://127.0.0.1:{20_000 + index}" for d in plan.deployments}
            for index, region in enumerate(plan.regions)
        },
        machines=(),
        apps={d.name: f"recipes-{d.name}" for d in plan.deployments},
        postgres=ServerFacts("17.2", "system"),
        versions={"loadtest": "0.1.0", "python": "3.11.7"},
        machine=ComputerFacts("Linux-6.1.0-x86_64", 2, 8_192, "6.1.0"),
    )


def watch_of(plan: Plan, seconds: float) -> WatchFacts:
    """Return what a world that was quiet all through saw of itself."""
    pairs = [tuple(pair.split("-")) for pair in sorted(plan.network.rtt_ms)]
    pairs += [(region, region) for region in plan.regions]
    lasted_ms = round(1_000 * (plan.load.warmup_s + seconds)) + 2_000
    sent = tuple(range(0, lasted_ms, 500))
    paths = PathFacts(connections=24, astray=())
    return WatchFacts(
        schema=WATCH_SCHEMA,
        began_wall_ns=EPOCH_WALL_NS - 1_000_000_000,
        lasted_ms=lasted_ms,
        pairs=tuple(
            PairFacts(a, b, rtt := plan.rtt_between_ms(a, b), sent, (round(1e3 * rtt),) * len(sent))
            for a, b in pairs
        ),
        processes=tuple(ProcessFacts(name, 9_000, 30, 210, 1_900) for name in ("links", "world")),
        moments=tuple(
            WorldMoment(t, 200, 1_900, 210, 1_900) for t in range(1_000, lasted_ms, 1_000)
        ),
        machine_events=(),
        faults=(),
        replicas=(),
        paths_before=paths,
        paths_after=paths,
    )


def engine_of(run_id: str, plan: Plan, workers: Sequence[WorkerFacts]) -> EngineFacts:
    schedules = [RegionSchedule(plan, region) for region in plan.regions]
    digest = digest_schedules(schedules)
    return EngineFacts(
        schema=ENGINE_SCHEMA,
        run_id=run_id,
        state="done",
        reason="",
        epoch_wall_ns=EPOCH_WALL_NS,
        plan=plan_prints(plan.to_json()),
        schedule=ScheduleFacts(digest.fingerprint, digest.arrivals),
        versions={"loadtest": "0.1.0", "python": "3.11.7", "locust": "2.47.0"},
        batches_refused=0,
        workers=tuple(workers),
        segments=(SegmentFacts(0, max(s.blocks for s in schedules)),),
    )


def table_of(columns: dict[str, Any], kept: np.ndarray) -> pa.Table:
    """Return the kept rows in the schema of records; words are (codes, names) pairs."""
    arrays = []
    for column in RECORDS:
        values = columns[column.name]
        if isinstance(values, tuple):
            codes, names = values
            # A served-by list may name the primary twice; Parquet does not mind.
            arrays.append(
                pa.DictionaryArray.from_arrays(
                    pa.array(codes[kept].astype(np.int32)), pa.array(names, pa.string())
                )
            )
        elif column.type == pa.bool_():
            arrays.append(pa.array(values[kept], pa.bool_()))
        else:
            whole = np.rint(values[kept]).astype(column.type.to_pandas_dtype())
            arrays.append(pa.array(whole, column.type))
    return pa.Table.from_arrays(arrays, schema=RECORDS)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
