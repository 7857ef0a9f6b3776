"""What a deployment asks for, before anything is sent; deploying itself is tested in a world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.errors import PlanError
from loadtest.fly.answers import Machine
from loadtest.fly.config import parse_app_config
from loadtest.fly.health import last_lines
from loadtest.fly.machines import NEW_CONNECTIONS_KEY, MachineConfig
from loadtest.fly.orders import AppOrder, patience_s, placements

TOML = """
app = "load"
[processes]
coordinator = "a"
worker = "b"
[http_service]
internal_port = 80
processes = ["coordinator"]
"""


def order(**more: Any) -> AppOrder:
    config = parse_app_config(TOML, Path("fly.toml"))
    base: dict[str, Any] = {"regions": ("ord", "cdg"), "primary_region": "cdg", "run_id": "r1"}
    return AppOrder(config, **{**base, "image": "i", **more})


def test_machines_are_named_by_app_group_region_number_and_run() -> None:
    places = placements(order(group_regions={"coordinator": ("cdg",)}, counts={"worker": 2}))
    assert [(place.region, place.name) for place in places] == [
        ("cdg", "load-coordinator-cdg-1-r1"),
        ("cdg", "load-worker-cdg-1-r1"),
        ("cdg", "load-worker-cdg-2-r1"),
        ("ord", "load-worker-ord-1-r1"),
        ("ord", "load-worker-ord-2-r1"),
    ]
    assert all(place.config.metadata["loadtest_run_id"] == "r1" for place in places)
    assert placements(order()) == placements(order())


def test_a_grace_period_beyond_the_deadline_is_waited_for() -> None:
    check = '[[http_service.checks]]\ngrace_period = "90s"\ntimeout = "5s"\n'
    other = '[checks.up]\ntype = "tcp"\nport = 80\ngrace_period = "2m"\ntimeout = "3s"\n'
    slow, slower = (parse_app_config(TOML + more, Path("fly.toml")) for more in (check, other))
    assert patience_s(order()) == 60.0
    assert patience_s(replace(order(), config=slow)) == 95.0
    assert patience_s(replace(order(deadline_s=300.0), config=slow)) == 300.0
    assert patience_s(replace(order(), config=slower)) == 123.0


def test_environment_is_laid_over_region_last() -> None:
    places = placements(order(env={"A": "1", "B": "1"}, env_by_region={"ord": {"B": "2"}}))
    found = {(place.region, place.config.group): place.config.env for place in places}
    assert found["cdg", "worker"]["B"] == "1"
    assert found["ord", "worker"]["B"] == "2"
    assert found["ord", "worker"]["PRIMARY_REGION"] == "cdg"


def test_an_edge_that_keeps_no_connections_is_asked_for_beside_what_the_file_says() -> None:
    """What a machine's load is counted by is the user's, and says nothing of the way to it."""
    (fresh, *_), (usual, *_) = placements(order(new_connection_share=0.68)), placements(order())
    assert fresh.config.metadata == {**usual.config.metadata, NEW_CONNECTIONS_KEY: "0.68"}
    assert fresh.config.services == usual.config.services
    assert (fresh.config.new_connection_share, usual.config.new_connection_share) == (0.68, 0)


@pytest.mark.parametrize("odd", ["fresh", "", "nan", "-1", "1.5", "inf", "1_0"])
def test_what_anybody_wrote_in_its_place_asks_for_nothing(odd: str) -> None:
    config = MachineConfig("app", metadata={NEW_CONNECTIONS_KEY: odd})
    assert config.new_connection_share == 0


def test_a_program_is_put_behind_the_words_that_watch_over_it() -> None:
    (first, *_) = placements(order(wrap=("python", "-m", "watch")))
    assert first.config.cmd == ("python", "-m", "watch", "a")
    toml = 'app = "x"\n[experimental]\nentrypoint = ["tini"]\n'
    config = parse_app_config(toml, Path("fly.toml"))
    (first, *_) = placements(replace(order(wrap=("watch",)), config=config))
    assert (first.config.entrypoint, first.config.cmd) == (("watch", "tini"), ())
    config = parse_app_config('app = "x"\n', Path("fly.toml"))
    (first, *_) = placements(replace(order(wrap=("watch",)), config=config))
    assert (first.config.entrypoint, first.config.cmd) == ((), ())


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"image": ""}, "app load: no image"),
        ({"counts": {"web": 1}}, "no process group 'web'.*coordinator, worker"),
    ],
)
def test_what_cannot_be_deployed_is_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError, match=told):
        placements(order(**more))


def test_the_last_lines_are_those_of_the_exit_else_of_the_failing_check() -> None:
    exit_event = {"type": "exit", "request": {"exit_event": {"exit_code": 1, "output": "a\n\nb"}}}
    checks = [{"name": "c", "status": "critical", "output": "no answer"}]
    machine = Machine.from_json({"id": "1", "checks": checks, "events": [exit_event]})
    assert last_lines(machine) == "  | a\n  | b"
    assert last_lines(Machine.from_json({"id": "1", "checks": checks})) == "  | no answer"
    assert last_lines(Machine.from_json({"id": "1"})) == ""


def test_a_machine_is_healthy_once_every_check_of_its_config_passes() -> None:
    config = placements(order())[0].config.to_json()
    passing = {"name": "c", "status": "passing"}
    for state, checks, healthy in (
        ("started", [passing], True),
        ("started", [], False),
        ("started", [passing, {"name": "d", "status": "critical"}], False),
        ("starting", [passing], False),
    ):
        data = {"id": "1", "state": state, "config": config, "checks": checks}
        assert Machine.from_json(data).healthy is healthy
