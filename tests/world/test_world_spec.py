"""A world's spec is checked before anything starts, every fault at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest.errors import PlanError
from loadtest.fly.machines import MachineConfig
from loadtest.fly.services import Service
from loadtest.world.machines.environment import (
    base_environment,
    internal_ports,
    port_variables,
    with_real_ports,
)
from loadtest.world.machines.logs import tail
from loadtest.world.spec import WorldSpec

GOOD: dict[str, Any] = {
    "schema": 1,
    "regions": ["cdg", "ord", "syd"],
    "primary_region": "cdg",
    "rtt_ms": {"cdg-ord": 104, "cdg-syd": 280.0, "ord-syd": 200},
}


def test_a_spec_survives_the_way_to_the_world(tmp_path: Path) -> None:
    spec = WorldSpec.from_json({**GOOD, "images": {"app": {"cwd": str(tmp_path), "env": {}}}})
    assert WorldSpec.from_json(spec.to_json()) == spec
    assert spec.one_way_ns("ord", "cdg") == 52_000_000
    assert spec.one_way_ns("syd", "syd") == 250_000
    assert spec.pairs() == [("cdg", "ord"), ("cdg", "syd"), ("ord", "syd")]


def test_every_fault_is_told() -> None:
    bad = {
        **GOOD,
        "primary_region": "lhr",
        "rtt_ms": {"cdg-ord": 20_000, "ord-syd": 1},
        "images": {"app": {"cwd": "/no/such/folder"}},
    }
    with pytest.raises(PlanError) as caught:
        WorldSpec.from_json(bad)
    told = str(caught.value)
    for part in ("primary_region 'lhr'", "cdg-ord", "cdg-syd", "'/no/such/folder'"):
        assert part in told


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 9},
        {"regions": None},
        {"rtt_ms": {"a-b": "x"}},
        {"rtt_ms": {"cdg-ord": -1}},
        {"rttms": {}},
    ],
)
def test_what_cannot_be_read_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="world spec"):
        WorldSpec.from_json({**GOOD, **change})


def test_secrets_of_the_caller_reach_no_machine(tmp_path: Path) -> None:
    env = base_environment(tmp_path, {"FLY_API_TOKEN": "x", "AWS_SECRET": "y", "LANG": "C"})
    assert "x" not in env.values()
    assert "y" not in env.values()
    assert env["LANG"] == "C"
    assert env["TMPDIR"] == str(tmp_path / "tmp")


def test_ports_of_services_and_of_port_variables_become_real_ones() -> None:
    config = MachineConfig("app:1", services=(Service(8080),))
    env = {"LOCUST_PORT": "5557", "REPORT": "1", "X_PORT": "none", "SUPPORT": "2"}
    assert port_variables(env) == {"LOCUST_PORT": 5557}
    assert internal_ports(config, env) == [8080, 5557]
    real = with_real_ports(config, env, {8080: 20_001, 5557: 20_002})
    assert real == {**env, "LOCUST_PORT": "20002", "PORT": "20001"}


def test_the_end_of_a_log_shows_no_secret(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {n} hunter2" for n in range(10_000)))
    shown = tail(log, 2, ("hunter2", ""))
    assert shown == "line 9998 ***\nline 9999 ***"
    assert tail(tmp_path / "none") == ""
