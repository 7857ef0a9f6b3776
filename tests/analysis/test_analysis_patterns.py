"""Patterns: what is found in records that were made as theory has it, and in ones that were not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from loadtest.analysis.findings import (
    Finding,
    difference_of,
    natural_order,
    share_of,
    slope_of,
)
from loadtest.analysis.load import Run
from loadtest.analysis.patterns import find_patterns
from loadtest.analysis.replicas import replica_findings
from loadtest.analysis.summary import summarise
from loadtest.errors import RecordsError
from loadtest.records.watch import FaultFacts, ReplicaFacts, WatchFacts, check_watch

MakeRun = Callable[..., Run]

BASE_MS = 20.0


def found(run: Run, key: str, **columns: Any) -> dict[tuple[str, str, str], Finding]:
    """Return a pattern's findings by what, deployment and region, in records with other columns."""
    changed = replace(run, frame=run.frame.assign(**columns))
    (pattern,) = [p for p in find_patterns(changed, summarise(run)) if p.key == key]
    return {(f.what, f.deployment, f.region): f for f in pattern.findings}


def with_base(run: Run) -> Run:
    """Let the plan tell a base time; the records were made with others."""
    times = dict.fromkeys(run.plan.regions, BASE_MS)
    return replace(run, plan=run.plan.model_copy(update={"base_ms": times}))


def way_ms(run: Run) -> np.ndarray:
    """Return the round trip to the primary region of every row."""
    primary = run.plan.primary_region
    codes = run.frame["region"]
    ways = {r: run.plan.rtt_between_ms(r, primary) for r in run.plan.regions}
    return codes.map(ways).astype(float).to_numpy()


def us(values: Any) -> np.ndarray:
    whole: NDArray[np.int32] = np.rint(np.asarray(values) * 1_000).astype(np.int32)
    return whole


def noise(run: Run) -> np.ndarray:
    return np.random.default_rng(4).gamma(2.0, 0.3, len(run.frame))


def named(run: Run, names: list[str]) -> Any:
    return pd.Categorical([names[i % len(names)] for i in range(len(run.frame))])


def test_the_slope_of_queries_is_the_round_trip_to_the_data(make_run: MakeRun) -> None:
    run = with_base(make_run(scenarios=("n-plus-one",)))
    trips = np.random.default_rng(1).choice([1, 2, 5, 10], len(run.frame)).astype(np.int16)
    far = (run.frame["deployment"] == "multi") & (run.frame["region"] != "cdg")
    each = np.where(far, way_ms(run), 0.4)
    columns: dict[str, Any] = {
        "db_round_trips": trips,
        "db_us": us(trips * each),
        "wait_us": us(BASE_MS + np.where(far, trips * each, 0.0) + noise(run)),
    }
    findings = found(run, "n-plus-one", **columns)
    for region in ("ord", "syd", "scl"):
        rtt = run.plan.rtt_between_ms(region, "cdg")
        away, near = (findings["one more query", arm, region] for arm in ("multi", "replica"))
        assert away.measured
        assert away.measured.value == pytest.approx(rtt, rel=0.02)
        assert away.measured.low <= rtt <= away.measured.high
        told = findings["one query, by the app's clock", "replica", region]
        assert told.measured
        assert (told.unit, told.measured.value) == ("us", 400)
        assert (away.holds, near.holds) == (True, True)


def test_a_replayed_write_is_held_against_the_sum_of_its_hops(make_run: MakeRun) -> None:
    run = with_base(make_run(scenarios=("create-and-show",)))
    away = (run.frame["region"] != "cdg").to_numpy()
    total = BASE_MS + np.where(away, 0.5 + way_ms(run), 0.0) + noise(run)
    columns: dict[str, Any] = {
        "name": named(run, ["POST /recipes"]),
        "replayed": away,
        "app_us": us(np.full(len(run.frame), BASE_MS - 0.5)),
        "db_us": us(np.full(len(run.frame), 0.5)),
        "wait_us": us(total),
    }
    honest = found(run, "writes", **columns)
    slow = found(run, "writes", **{**columns, "wait_us": us(total * 1.1)})
    for region in ("ord", "syd", "scl"):
        assert honest["POST /recipes, replayed", "replica", region].holds
        assert slow["POST /recipes, replayed", "replica", region].holds is False
    assert honest["POST /recipes", "replica", "cdg"].expected is None


def test_staleness_is_one_way_and_what_comes_after_the_answer(make_run: MakeRun) -> None:
    run = make_run(scenarios=("staleness",))
    columns: dict[str, Any] = {
        "db_us": us(np.full(len(run.frame), 1.2)),
        "served_by": run.frame["region"],
    }
    findings = found(run, "staleness", **columns)
    syd = findings["from commit to sight", "replica", "syd"]
    assert syd.measured
    assert syd.measured.value == pytest.approx(run.plan.rtt_between_ms("syd", "cdg") / 2 + 1.2)
    assert syd.holds
    assert not any(region == "cdg" for _, _, region in findings)


def test_a_hit_costs_no_round_trip_and_a_far_one_costs_one(make_run: MakeRun) -> None:
    run = with_base(make_run(scenarios=("cache-hit",)))
    far = (run.frame["deployment"] == "multi").to_numpy()
    columns: dict[str, Any] = {
        "name": named(run, ["GET /fragments [hit]"]),
        "wait_us": us(BASE_MS + np.where(far, way_ms(run), 0.0) + noise(run)),
    }
    findings = found(run, "caches", **columns)
    near, away = (findings["GET /fragments [hit]", arm, "syd"] for arm in ("replica", "multi"))
    assert near.expected
    assert near.expected.why == "20 ms, no round trip"
    assert away.expected
    assert "1 × " in away.expected.why
    assert (near.holds, away.holds) == (True, True)
    asked = findings["GET /fragments [hit], cache asked", "multi", "syd"]
    assert asked.measured
    assert (asked.unit, round(asked.measured.value, 1), asked.holds) == ("round trips", 1.0, True)
    assert ("GET /fragments [hit], cache asked", "replica", "syd") not in findings
    share = findings["share of hits", "replica", "syd"].measured
    assert share
    assert share.value == 1


def test_outcomes_are_counted_by_what_stands_in_brackets(make_run: MakeRun) -> None:
    run = make_run(scenarios=("double-effect",))
    names = ["V [before: counted 2]", "V [after: counted 1]", "V [before: counted 1]", "GET /x"]
    findings = found(run, "double", name=named(run, names))
    before, after = (
        findings[f"counted twice, {order} the write", "replica", "syd"].measured
        for order in ("before", "after")
    )
    assert before
    assert after
    assert 0.3 < before.value < 0.7
    assert (after.value, after.low) == (0, 0)


def test_a_cell_that_is_not_valid_is_not_judged(make_run: MakeRun) -> None:
    run = make_run(scenarios=("staleness",), lost_worker="syd")
    columns = {"db_us": us(np.full(len(run.frame), 1.2)), "served_by": run.frame["region"]}
    for (_, _, region), finding in found(run, "staleness", **columns).items():
        assert finding.valid is (region != "syd")
        assert finding.holds is (None if region == "syd" else True)


def test_other_scenarios_are_no_pattern(plain_run: Run) -> None:
    assert find_patterns(plain_run, summarise(plain_run)) == ()


def test_wilson_s_interval() -> None:
    share = share_of(5, 50)
    assert share
    assert (share.low, share.high) == pytest.approx((0.0435, 0.2136), abs=1e-4)
    assert share_of(0, 0) is None


def test_a_slope_needs_several_samples_of_several_numbers() -> None:
    one = np.ones(9, np.int64)
    assert slope_of(one, one * 1_000, 1) is None
    assert slope_of(np.array([1, 1, 1, 2]), np.arange(4), 1) is None


def test_names_are_sorted_as_people_count() -> None:
    names = ["q [10 queries]", "q [2 queries]", "p"]
    assert sorted(names, key=natural_order) == ["p", "q [2 queries]", "q [10 queries]"]


def test_a_write_that_was_refused_first_has_wasted_work(make_run: MakeRun) -> None:
    run = with_base(make_run(scenarios=("write-on-get",)))
    columns: dict[str, Any] = {
        "name": named(run, ["GET /profile [written]"]),
        "replayed": np.ones(len(run.frame), bool),
        "app_us": us(np.full(len(run.frame), BASE_MS)),
        "db_us": us(np.zeros(len(run.frame))),
        "wait_us": us(BASE_MS + 0.5 + way_ms(run) + 6.0),
    }
    wasted = found(run, "writes", **columns)
    syd = wasted["GET /profile [written], wasted before the refusal", "replica", "syd"].measured
    assert syd
    assert syd.value == pytest.approx(6.0, abs=0.01)


def test_a_page_after_a_write_is_told_by_where_it_came_from_and_what_it_waited(
    make_run: MakeRun,
) -> None:
    run = with_base(make_run(scenarios=("create-and-show-no-cookie",)))
    columns: dict[str, Any] = {
        "name": named(run, ["GET /recipes/{id} [shown]"]),
        "served_by": named(run, ["cdg", "syd", "ord", "scl"]),
        "db_us": us(np.full(len(run.frame), 0.7)),
        "wait_us": us(BASE_MS + way_ms(run) + noise(run)),
    }
    shown = found(run, "stale-shows", **columns)
    what = "create-and-show-no-cookie"
    far = shown[f"pages after a write from the primary, {what}", "replica", "syd"].measured
    waited = shown[f"in the database, page after a write served here, {what}", "replica", "syd"]
    assert far
    assert waited.measured
    assert 0.1 < far.value < 0.4
    assert (waited.unit, waited.measured.value) == ("us", 700)
    assert not any("primary" in told and region == "cdg" for told, _, region in shown)
    cost = found(run, "writes", **columns)["GET /recipes/{id} [shown], no cookie", "multi", "syd"]
    assert cost.holds


def test_one_more_job_is_a_round_trip_to_the_queue_and_a_full_one_keeps_what_it_has(
    make_run: MakeRun,
) -> None:
    run = with_base(make_run(scenarios=("jobs",)))
    names = ["GET /enqueue [1 job, far]", "GET /enqueue [5 jobs, far]",
             "GET /enqueue [5 jobs, local]", "GET /enqueue [1 job, local]"]  # fmt: skip
    told = named(run, names)
    jobs = np.select([told == name for name in names], [1, 5, 0, 0])
    columns: dict[str, Any] = {
        "name": told,
        "wait_us": us(BASE_MS + jobs * way_ms(run) + noise(run)),
    }
    findings = found(run, "jobs", **columns)
    far, local = (
        findings[f"one more job, {where}", "replica", "syd"] for where in ("far", "local")
    )
    assert (far.holds, local.holds) == (True, True)
    assert ("one more job, far", "replica", "cdg") not in findings
    outcomes = ["GET /enqueued [full queue: kept]", "GET /enqueued [full queue: lost]"]
    kept = found(run, "jobs", name=named(run, outcomes))
    share = kept["jobs of a full queue: all kept", "replica", "syd"].measured
    assert share
    assert 0.3 < share.value < 0.7


def test_an_upload_and_a_write_are_told_by_what_the_other_way_costs(make_run: MakeRun) -> None:
    for scenario, names, what, more in (
        (
            "uploads",
            ["[0.1 MB, direct]", "[0.1 MB, replayed]"],
            "0.1 MB, replayed, above direct",
            3,
        ),
        ("write-on-get", ["[job, local]", "[written]"], "saved by leaving the write to a job", 200),
    ):
        run = with_base(make_run(scenarios=(scenario,)))
        told = named(run, [f"GET /x {name}" for name in names])
        taken = BASE_MS + noise(run) + np.where(told == f"GET /x {names[1]}", more, 0.0)
        key = {"uploads": "uploads", "write-on-get": "writes"}[scenario]
        findings = found(run, key, name=told, wait_us=us(taken), send_us=us(0 * taken))
        cost = findings[what, "replica", "syd"].measured
        assert cost
        assert cost.low < more < cost.high
        assert (what, "replica", "cdg") not in findings


def test_a_write_over_an_open_websocket_is_refused_and_the_form_beside_it_is_not(
    make_run: MakeRun,
) -> None:
    run = with_base(make_run(scenarios=("kitchen",)))
    names = ["read nearby", "write nearby", "write nearby, refused: 25006",
             "POST /recipes beside it"]  # fmt: skip
    told = named(run, names)
    form = told == names[3]
    columns: dict[str, Any] = {
        "name": told,
        "status": np.where(form, 303, 101).astype(np.int16),
        "wait_us": us(np.where(form, BASE_MS + way_ms(run), 0.0) + noise(run)),
    }
    findings = found(run, "long", **columns)
    refused = findings["writes over an open WebSocket nearby that are refused", "replica", "syd"]
    taken = findings["forms beside it that are taken", "replica", "syd"]
    assert refused.measured
    assert taken.measured
    assert (0.3 < refused.measured.value < 0.7, taken.measured.value) == (True, 1.0)
    near, away = (findings[name, "replica", "syd"].expected for name in (names[0], names[3]))
    assert near
    assert away
    assert (near.why, away.why.startswith("20 ms + 1 × ")) == ("no round trip", True)


def test_what_the_world_saw_of_its_replicas_is_told_but_for_faults(plain_run: Run) -> None:
    watch = plain_run.world.watch
    assert isinstance(watch, WatchFacts)
    sent = tuple(range(3_000, 15_000, 500))
    seen = tuple(121_400 if at < 8_000 else 9_000_000 if at < 10_000 else None for at in sent)
    replica = ReplicaFacts("recipes-db", "cdg", "syd", 120.5, sent, seen)
    cut = FaultFacts("cut cdg-syd", 8_000, 15_000, ("cdg-syd",), ())
    strange = replace(replica, to="nrt")
    told = replace(watch, replicas=(strange, replica), faults=(cut,))
    run = replace(plain_run, world=replace(plain_run.world, watch=told))
    (finding,) = replica_findings(run)
    assert finding.measured
    assert (finding.region, finding.measured.value, finding.holds) == ("syd", 121.4, True)
    assert finding.n == sum(at < 7_900 for at in sent)
    late = replace(told, faults=())
    (finding,) = replica_findings(replace(run, world=replace(run.world, watch=late)))
    assert finding.measured
    assert finding.holds is False
    assert replica_findings(plain_run) == ()
    short = replace(told, replicas=(replace(replica, seen_us=()),))
    with pytest.raises(RecordsError, match="recipes-db cdg-syd: not as many commits as times"):
        check_watch(short, "world.json")


def test_a_difference_of_medians_has_an_interval_or_is_none() -> None:
    thirty = np.arange(30, dtype=np.int64) * 10
    found = difference_of(thirty + 5_000, thirty, 1)
    assert found
    assert (found.value, found.n, found.low < 5.0 < found.high) == (5.0, 30, True)
    assert difference_of(thirty, thirty[:3], 1) is None


def test_caches_that_take_each_other_s_writes_are_late_by_one_way_and_alike_or_not(
    make_run: MakeRun,
) -> None:
    run = make_run(scenarios=("peer-lag",))
    seen = named(run, ["GET /peers/seen [cdg: seen]", "GET /peers/seen [mars: seen]"])
    lags = found(run, "peers", name=seen, wait_us=us(way_ms(run) + 2.0))
    syd = lags["from a write in cdg to sight", "replica", "syd"]
    assert syd.measured
    assert syd.measured.value == pytest.approx(run.plan.rtt_between_ms("syd", "cdg") / 2 + 2.0)
    assert (syd.holds, len({what for what, _, _ in lags})) == (True, 1)

    told = [
        "set at once: apart",
        "set at once: converged",
        "tally: cut off",
        "incr: counted 2 of 2",
    ]
    findings = found(run, "peers", name=named(run, [f"GET /peers/x [{t}]" for t in told]))
    alike = findings["set at once: both end alike", "replica", "syd"].measured
    assert alike
    assert 0.2 < alike.value < 0.8
    counted = findings["incr: both are counted", "replica", "syd"].measured
    assert counted
    assert counted.value == 1.0
    assert not any(what.startswith("tally") for what, _, _ in findings)


def test_what_a_cache_loses_is_told_as_shares(make_run: MakeRun) -> None:
    for scenario, names, what in (
        ("cache-eviction", ["hit", "evicted", "first"], "pages seen before that are still there"),
        ("session-moves", ["moved: kept", "moved: lost", "begun"],
         "sessions kept after a change of region"),
    ):  # fmt: skip
        run = make_run(scenarios=(scenario,))
        told = named(run, [f"GET /page [{name}]" for name in names])
        share = found(run, "caches", name=told)[what, "replica", "syd"].measured
        assert share
        assert 0.3 < share.value < 0.7
