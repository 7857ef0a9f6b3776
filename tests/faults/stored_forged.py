"""Faults of an adversary: several files that agree with each other and were measured by nobody."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.parquet as pq
from stored import Fault, Stored
from stored_records import Row, Rows, steady

Keep = Callable[[Row], bool]
Content = dict[str, Any]


def forged() -> Iterator[Fault]:
    """Yield every forgery."""
    for name, bend, told in (*ROWS, *ACCOUNTS, *WORLDS):
        yield Fault(f"forged: {name}", bend, told)


def counted(stored: Stored) -> None:
    """Let every worker's account tell as many rows as there are: what is missing was never sent."""
    rows = pq.read_table(stored.folder / "records.parquet").to_pylist()
    by_worker = Counter(row["worker"] for row in rows)
    dropped = Counter(row["worker"] for row in rows if row["error"] == "dropped")

    def edit(engine: Content) -> None:
        for worker in engine["workers"]:
            n = by_worker[worker["id"]]
            worker["rows"].update(sent=n, received=n, merged=n, missing=0)
            if worker["health"]:
                worker["health"]["dropped"] = dropped[worker["id"]]

    stored.edit("engine.json", edit)


def _gone(which: Keep) -> Callable[[Stored], None]:
    """Take rows away, and let the accounts agree."""

    def bend(stored: Stored) -> None:
        stored.rows(lambda rows: [row for row in rows if not which(row)])
        counted(stored)

    return bend


def _rows(change: Callable[[Rows], Rows | None]) -> Callable[[Stored], None]:
    def bend(stored: Stored) -> None:
        stored.rows(change)
        counted(stored)

    return bend


def _in_engine(change: Callable[[Content], None]) -> Callable[[Stored], None]:
    return lambda stored: stored.edit("engine.json", change)


def _in_world(change: Callable[[Content], None]) -> Callable[[Stored], None]:
    return lambda stored: stored.edit("world.json", change)


def _in_watch(change: Callable[[Content], None]) -> Callable[[Stored], None]:
    return _in_world(lambda world: change(world["watch"]))


def _slowest(rows: Rows, deployment: str, count: int) -> Rows:
    mine = [row for row in steady(rows) if row["deployment"] == deployment]
    return sorted(mine, key=lambda row: -row["wait_us"])[:count]


def _slowest_gone(rows: Rows) -> Rows:
    """Fewer than one in a hundred of a region's arrivals, and all of one arm."""
    lost = {id(row) for row in _slowest(rows, "multi", 14)}
    return [row for row in rows if id(row) not in lost]


def _slowest_of_no_arrival(rows: Rows) -> None:
    for row in _slowest(rows, "multi", 14):
        row["arrival"] = -1


def _slowest_made_first_visits(rows: Rows) -> None:
    for row in _slowest(rows, "multi", 100):
        row.update(reused=False, cold=True, dns_us=50, connect_us=400)


def _slowest_resent(rows: Rows) -> None:
    for row in _slowest(rows, "multi", 2):
        row["attempts"] = 2


def _slowest_cancelled(rows: Rows) -> None:
    for row in _slowest(rows, "multi", 100):
        row.update(error="cancelled", status=0)


def _queue_hidden(rows: Rows) -> None:
    """Coordinated omission: all left two seconds late, and none says so."""
    for row in steady(rows):
        row.update(start_us=row["intended_us"] + 2_000_000, queue_us=0)


def _queue_hidden_in_one_arm(rows: Rows) -> None:
    for row in steady(rows):
        if row["deployment"] == "multi":
            row.update(start_us=row["start_us"] + 400_000, queue_us=0)


def _dropped(share: float) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        mine = [row for row in steady(rows) if row["deployment"] == "multi"]
        for row in mine[: round(share * len(mine))]:
            row.update(error="dropped", start_us=-1, status=0, served_by="", bytes=0)
            row.update({f"{phase}_us": 0 for phase in PHASES})

    return change


PHASES = ("queue", "dns", "connect", "tls", "send", "wait", "wait_user", "receive")


def _all(values: Content) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for row in steady(rows):
            row.update(values)

    return change


def _by_clock(tick_us: int) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for row in rows:
            row["wait_us"] = row["wait_us"] // tick_us * tick_us

    return change


ROWS: tuple[tuple[str, Callable[[Stored], None], str], ...] = (
    ("a cell's rows gone", _gone(
        lambda r: r["region"] == "ord" and r["deployment"] == "multi"), "ord"),
    ("a block of a region gone", _gone(lambda r: r["region"] == "ord" and r["block"] == 20),
     "none at all of 1 blocks"),
    ("a block of one cell gone", _gone(
        lambda r: (r["region"], r["deployment"], r["block"]) == ("ord", "multi", 20)),
     "none at all of 1 blocks"),
    ("the slowest rows of an arm gone", _rows(_slowest_gone), "arrivals are in the records"),
    ("the slowest rows of no arrival", _rows(_slowest_of_no_arrival),
     "arrivals are in the records"),
    ("the slowest rows made first visits", _rows(_slowest_made_first_visits),
     "asked for a new connection"),
    ("the slowest rows resent", _rows(_slowest_resent), "sent a second time"),
    ("the slowest rows cancelled", _rows(_slowest_cancelled), "were cancelled"),
    ("all left late, and the queue is hidden", _rows(_queue_hidden), "after their intended start"),
    ("one arm left late, and the queue is hidden", _rows(_queue_hidden_in_one_arm),
     "after their intended start"),
    ("half of an arm dropped", _rows(_dropped(0.49)), "dropped"),
    ("a few of an arm dropped", _rows(_dropped(0.0025)), "were dropped"),
    ("all times are one", _rows(_all({"wait_us": 50_000, "wait_user_us": 50_040})),
     "are all one number"),
    ("times of a clock of 10 ms", _rows(_by_clock(10_000)), "whole steps of 10 ms"),
    ("times of a clock of 50 ms", _rows(_by_clock(50_000)), "whole steps of 50 ms"),
    ("all left at one moment", _rows(lambda rows: [
        row | {"intended_us": 9_000_000, "start_us": 9_000_000} for row in rows]), "intended_us"),
    ("arm shifted by hours", _rows(lambda rows: [
        row | ({"start_us": row["start_us"] + 7_200_000_000, "queue_us": 0}
               if row["deployment"] == "multi" else {}) for row in rows]), "long after the run"),
)  # fmt: skip


def _named_twice(engine: Content) -> None:
    engine["workers"].append(json.loads(json.dumps(engine["workers"][0])))
    engine["workers"][-1]["rows"]["scheduled"] = 0


def _shares_moved(engine: Content) -> None:
    engine["workers"][0]["rows"]["scheduled"] += 300
    engine["workers"][1]["rows"]["scheduled"] -= 300


def _worker(change: Content, *place: str) -> Callable[[Stored], None]:
    def edit(engine: Content) -> None:
        holder = engine["workers"][0]
        for part in place:
            holder = holder[part]
        holder.update(change)

    return _in_engine(edit)


def _guest(region: str) -> Callable[[Content], None]:
    def edit(engine: Content) -> None:
        engine["workers"].append(json.loads(json.dumps(engine["workers"][0])))
        engine["workers"][-1].update(id=f"{region}-7", region=region)
        engine["workers"][-1]["rows"] = dict.fromkeys(engine["workers"][0]["rows"], 0)

    return edit


def _heard_of(count: int, deployment: str, kind: str) -> Callable[[Content], None]:
    example = {"kind": kind, "deployment": deployment, "scenario": "browse", "name": "GET /",
               "sentence": "no", "count": count}  # fmt: skip

    def edit(engine: Content) -> None:
        engine["workers"][0]["failures"] = [example]

    return edit


def _key_twice(name: str, first: str, second: str) -> Callable[[Stored], None]:
    """Tell a key two ways: most readers take the last."""

    def bend(stored: Stored) -> None:
        text = (stored.folder / name).read_text()
        assert first in text
        (stored.folder / name).write_text(text.replace(first, f"{second}, {first}", 1))

    return bend


ACCOUNTS: tuple[tuple[str, Callable[[Stored], None], str], ...] = (
    ("two workers of one name", _in_engine(_named_twice), "is there twice"),
    ("shares of workers moved", _in_engine(_shares_moved), "were its share"),
    ("a worker of a region that is not in the plan", _in_engine(_guest("syd")), "does not have"),
    ("batches refused", _in_engine(lambda e: e.update(batches_refused=3)), "refused as nonsense"),
    ("a self-check of one answer", _worker({"n": 1}, "self_check"), "self_check.n"),
    ("a self-check by an unknown clock", _worker({"clock": "sundial"}, "self_check"),
     "is no clock"),
    ("fewer segments than requests", _worker({"segments_sent": 3}, "health"), "segments_sent"),
    ("a time line that runs backwards", _in_engine(
        lambda e: e["workers"][0]["timeline"].reverse()), "runs backwards"),
    ("a time line of one moment", _in_engine(
        lambda e: e["workers"][0].update(timeline=e["workers"][0]["timeline"][:1])),
     "told nothing of itself"),
    ("a time line with one moment ever again", _in_engine(
        lambda e: e["workers"][0].update(timeline=e["workers"][0]["timeline"][:1] * 15)),
     "stands still"),
    ("failures that no row has", _in_engine(_heard_of(500, "multi", "status")), "0 are stored"),
    ("failures of an unknown kind", _in_engine(_heard_of(1, "multi", "gremlins")),
     "no kind of failure"),
    ("failures of an unknown deployment", _in_engine(_heard_of(1, "other", "status")),
     "0 are stored"),
    ("done, and a reason why not", _in_engine(lambda e: e.update(reason="killed")), "reason"),
    ("an epoch of another day", _in_engine(
        lambda e: e.update(epoch_wall_ns=e["epoch_wall_ns"] - 86_400 * 10**9)), "longest silence"),
    ("an epoch after the world had gone", _in_engine(
        lambda e: e.update(epoch_wall_ns=e["epoch_wall_ns"] + 25 * 10**9)), "longest silence"),
    ("two states", _key_twice("engine.json", '"state": "done"', '"state": "failed"'),
     "'state' is there twice"),
    ("two rules", _key_twice("plan.json", '"thresholds":', '"thresholds": ["ttfb.p50 < 1ms"]'),
     "'thresholds' is there twice"),
    ("two watches", _key_twice("world.json", '"watch":', '"watch": null'),
     "'watch' is there twice"),
)  # fmt: skip


def _process(change: Content) -> Callable[[Content], None]:
    return lambda watch: watch["processes"][0].update(change)


def _counters(start: int, end: int) -> Callable[[Content], None]:
    def counts(n: int) -> Content:
        edge = {"region": "cdg", "app": "recipes-multi", "requests": n, "replays": 0, "errors": 0,
                "upstream_connections": 1, "served": {"cdg": n}}  # fmt: skip
        return {"links": [], "edges": [edge]}

    segment = {"start": counts(start), "end": counts(end)}
    told = {"before": counts(start), "after": counts(end), "segments": [segment]}
    return lambda world: world.update(counters=told)


WORLDS: tuple[tuple[str, Callable[[Stored], None], str], ...] = (
    ("links of an unknown layer", _in_world(lambda w: w.update(link_layer="string")), "link_layer"),
    ("a link twice", _in_world(lambda w: w["links"].append(dict(w["links"][0]))), "is there twice"),
    ("a link twice, differing", _in_world(
        lambda w: w["links"].append({**w["links"][0], "n": 1})), "is there twice"),
    ("a region twice", _in_world(lambda w: w["regions"].append("cdg")), "regions"),
    ("two deployments of one app", _in_world(
        lambda w: w["apps"].update(single=w["apps"]["multi"])), "of one app"),
    ("counters that run backwards", _in_world(_counters(4_000, 10)), "fewer times"),
    ("a watch of no load", _in_watch(lambda w: w.update(lasted_ms=0)), "after the watch"),
    ("a watch that began a day before", _in_watch(
        lambda w: w.update(began_wall_ns=w["began_wall_ns"] - 86_400 * 10**9)), "longest silence"),
    ("a watch that runs backwards", _in_watch(lambda w: w["moments"].reverse()),
     "moments: runs backwards"),
    ("pings that run backwards", _in_watch(
        lambda w: w["pairs"][0]["sent_ms"].reverse()), "runs backwards"),
    ("pings after the watch", _in_watch(lambda w: w["pairs"][0].update(
        sent_ms=[ms + 86_400_000 for ms in w["pairs"][0]["sent_ms"]])), "after the watch"),
    ("a pair twice", _in_watch(lambda w: w["pairs"].append(dict(w["pairs"][0]))), "pairs: one"),
    ("a process twice", _in_watch(lambda w: w["processes"].append(dict(w["processes"][0]))),
     "processes: one"),
    ("a process that was never looked at", _in_watch(_process({"n": 0})), "never looked at"),
    ("a process later at p50 than p99", _in_watch(_process({"late_p50_us": 900})), "do not ascend"),
    ("a process never so late as at p99", _in_watch(_process({"late_max_us": 100})),
     "do not ascend"),
    ("moments later at p99 than ever", _in_watch(
        lambda w: w["moments"][3].update(links_late_p99_us=9_000)), "later at p99"),
    ("a fault that ended before it began", _in_watch(lambda w: w.update(faults=[
        {"what": "x", "began_ms": 900, "ended_ms": 3, "pairs": ["cdg-ord"], "machines": []}])),
     "ended before it began"),
)  # fmt: skip
