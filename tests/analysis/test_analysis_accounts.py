"""An account that contradicts another is not believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadtest.analysis.load import Run
from loadtest.analysis.validity import check
from loadtest.records.facts import MomentFacts, WorkerFacts
from loadtest.records.watch import PathFacts, WatchFacts
from loadtest.records.world_facts import CountersFacts, LinkCounts, WorldCounts


def with_worker(run: Run, worker: WorkerFacts) -> Run:
    assert run.engine is not None
    return replace(run, engine=replace(run.engine, workers=(worker, *run.workers[1:])))


def moments(worker: WorkerFacts, every: int, **values: Any) -> tuple[MomentFacts, ...]:
    return tuple(
        moment if number % every else replace(moment, **values)
        for number, moment in enumerate(worker.timeline)
    )


def accounts(run: Run, name: str = "account") -> list[str]:
    return [one.why for one in check(run).failed if one.name == name]


@pytest.mark.parametrize(
    ("every", "lag_us", "words"),
    [
        (9, 400_000, "by 400.00 ms, and of 1.90 ms at most"),
        (1, 1_500, "seconds in most of which the event loop woke late by 1.50 ms"),
    ],
)
def test_a_summary_that_is_better_than_its_seconds(
    plain_run: Run, every: int, lag_us: float, words: str
) -> None:
    worker = plain_run.workers[0]
    bent = replace(worker, timeline=moments(worker, every, loop_lag_p99_us=lag_us))

    assert not accounts(plain_run)
    assert any(words in why for why in accounts(with_worker(plain_run, bent)))


def test_a_late_second_that_the_summary_has_is_believed(plain_run: Run) -> None:
    worker = plain_run.workers[0]
    assert worker.health is not None
    health = replace(worker.health, loop_lag_max_us=400_000)
    late = replace(worker, health=health, timeline=moments(worker, 9, loop_lag_p99_us=400_000))

    assert not accounts(with_worker(plain_run, late))


def test_a_worker_that_says_it_was_late_where_its_rows_do_not(plain_run: Run) -> None:
    worker = plain_run.workers[0]
    assert worker.health is not None
    late = replace(worker, health=replace(worker.health, late=500))

    assert accounts(with_worker(plain_run, late)) == [
        f"{worker.region}: worker {worker.id} says that 500 arrivals left late, and its rows say "
        "it of 0."
    ]


@pytest.mark.parametrize(
    ("looked_at", "opened", "told"), [(0, 4, True), (4, 4, False), (0, 900, False), (0, 0, False)]
)
def test_paths_that_nobody_looked_at(
    plain_run: Run, looked_at: int, opened: int, told: bool
) -> None:
    assert isinstance(plain_run.world.watch, WatchFacts)
    watch = replace(plain_run.world.watch, paths_after=PathFacts(looked_at, ()))
    link = LinkCounts("m", "recipes-multi", "ord", "db:5432", "db", 900, 0, 0, opened)
    counters = CountersFacts(WorldCounts((), ()), WorldCounts((link,), ()), ())
    run = replace(plain_run, world=replace(plain_run.world, watch=watch, counters=counters))

    assert bool(accounts(run, "paths")) == told
