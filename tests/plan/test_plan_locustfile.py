"""Locust's command line as a plan, and the crowd that it asks for."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.plan.crowd import NOBODY, Change, Share, changes, kinds
from loadtest.plan.locustfile import (
    LocustCommand,
    LocustfileFacts,
    plan_of_locustfile,
    run_time_s,
    users_in_words,
)
from loadtest.plan.model import UserStep
from loadtest.plan.resolve import plan_of_raw
from loadtest.plan.selection import tables_in

FACTS = LocustfileFacts(("Shopper",), ("",), (), 0.0, (), ())
HOST = "http://shop.example/api"


def facts(**changed: Any) -> LocustfileFacts:
    return LocustfileFacts.from_json({**FACTS.to_json(), **changed})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("20s", 20), ("3m", 180), ("1h30m", 5400), ("2h 20m 1.5s", 8401.5)],
)
def test_a_run_time_is_read_as_locust_reads_it(text: str, seconds: float) -> None:
    assert run_time_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "3x", "-5", "m"])
def test_what_is_no_run_time_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"--run-time: .* is no time; write 300"):
        run_time_s(text)


def test_a_command_becomes_a_plan_of_the_closed_model() -> None:
    command = LocustCommand("shop.py", (HOST,), users=10, spawn_rate=2, run_time_s=60, tags=("a",))
    raw, notes = plan_of_locustfile(command, FACTS)
    plan = plan_of_raw({**raw, "scenario": "scenarios/pages.py"}, {})
    assert not notes
    assert (plan.load.model, plan.load.users) == ("closed", 10)
    assert (plan.load.warmup_s, plan.load.duration_s) == (4.5, 55.5)
    assert plan.deployments[0].url == "http://shop.example"
    assert plan.locustfile is not None
    assert (plan.locustfile.base_path, plan.locustfile.tags) == ("/api", ("a",))
    assert users_in_words(plan) == "10 users for 60 s"


def test_a_run_that_ends_before_all_users_are_there_is_measured_and_told() -> None:
    command = LocustCommand("shop.py", (HOST,), users=100, run_time_s=10)
    raw, notes = plan_of_locustfile(command, FACTS)
    load: Any = raw["load"]
    assert (load["warmup_s"], load["duration_s"]) == (0, 10)
    assert "100 users at 1 a second take 99 s to start" in notes[0]


def test_the_host_of_the_classes_counts_where_none_is_given() -> None:
    raw, notes = plan_of_locustfile(LocustCommand("x.py"), facts(hosts=["http://a.b", "http://c"]))
    assert tables_in(raw, "deployments")[0]["url"] == "http://a.b"
    assert "the classes name 2 hosts" in notes[0]


STEPS = [{"at_s": 0, "users": 5, "spawn_rate": 1}]


@pytest.mark.parametrize(
    ("command", "changed", "world", "words"),
    [
        (LocustCommand("x.py"), {}, "embedded", "--host: neither the command line nor"),
        (LocustCommand("x.py", ("shop",)), {}, "embedded", "write http://shop"),
        (LocustCommand("x.py", ("http://a/?b=1",)), {}, "embedded", "a base URL has no query"),
        (LocustCommand("x.py", (HOST,), users=3), {"steps": STEPS, "ends_s": 9}, "", "--users 3"),
        (LocustCommand("x.py", (HOST,)), {"steps": STEPS, "ends_s": None}, "", "does not end"),
        (LocustCommand("x.py", (HOST,)), {"modules": ["/a/b.py"]}, "fly", "imports /a/b.py"),
        (LocustCommand("/x.py", (HOST,)), {}, "fly", "outside this folder"),
    ],
)
def test_what_does_not_go_together_is_refused(
    command: LocustCommand, changed: dict[str, Any], world: str, words: str
) -> None:
    with pytest.raises(PlanError, match=words):
        plan_of_locustfile(
            command, facts(**changed), regions=["cdg"][: world == "fly"], world=world
        )


def test_a_shape_says_users_and_time() -> None:
    found = facts(steps=STEPS, ends_s=9.0)
    raw, _ = plan_of_locustfile(LocustCommand("x.py", (HOST,), run_time_s=4), found)
    load: Any = raw["load"]
    assert (load["duration_s"], load["users"]) == (4, 5)
    assert LocustfileFacts.from_json(found.to_json()) == found
    assert math.isinf(facts(ends_s=None).ends_s)


def test_a_locustfile_needs_the_closed_model() -> None:
    raw, _ = plan_of_locustfile(LocustCommand("x.py", (HOST,)), FACTS)
    raw = {**raw, "scenario": "scenarios/pages.py", "load": {"rate": 5}}
    with pytest.raises(PlanError, match="'open' is not for a locustfile"):
        plan_of_raw(raw, {})


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 60))
@settings(max_examples=40)
def test_every_class_has_its_share_at_every_length(weights: list[int], users: int) -> None:
    found = Counter(kinds([Share(weight) for weight in weights], users))
    total = sum(weights)
    assert sum(found.values()) == (users if total else 0)
    for kind, weight in enumerate(weights):
        if total:
            assert abs(found[kind] - users * weight / total) <= len(weights)


def test_fixed_users_come_first() -> None:
    assert kinds([Share(1), Share(5, fixed=2)], 5) == [1, 1, 0, 0, 0]


def test_users_come_and_go_at_their_rate() -> None:
    steps = [UserStep(at_s=0, users=2, spawn_rate=1), UserStep(at_s=5, users=1)]
    found = changes(["A"], [Share(1)], steps, 9.0)
    assert found == [Change(0.0, 0, 0), Change(1.0, 1, 0), Change(5.0, 1, NOBODY)]


def test_a_step_may_change_the_classes() -> None:
    steps = [
        UserStep(at_s=0, users=2, scenarios=("A",)),
        UserStep(at_s=3, users=2, scenarios=("B",)),
        UserStep(at_s=20, users=9),
    ]
    found = changes(["A", "B"], [Share(1), Share(1)], steps, 9.0)
    assert [(c.at_s, c.number, c.kind) for c in found] == [
        (0, 0, 0),
        (0, 1, 0),
        (3, 0, 1),
        (3, 1, 1),
    ]
