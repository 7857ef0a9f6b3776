"""A coordinator that nobody drives ends its run, its workers and itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from engine_rig import SCENARIO, Rig, order, until

from loadtest.clock import FakeClock
from loadtest.engine.coordinator.driver import DriverWatch
from loadtest.errors import EXIT_ENGINE
from loadtest.units import NS_PER_S


def test_a_driver_is_gone_after_its_silence_and_later_before_it_came() -> None:
    clock = FakeClock()
    watch = DriverWatch(clock.monotonic_ns, silent_s=10, first_s=100)
    clock.advance(99 * NS_PER_S)
    assert not watch.gone
    clock.advance(2 * NS_PER_S)
    assert watch.gone
    watch.heard()
    clock.advance(10 * NS_PER_S)
    assert not watch.gone
    clock.advance(NS_PER_S)
    assert watch.gone
    assert watch.sentence.startswith("nobody has asked for 10 s")


def test_a_run_has_its_time_whoever_asks() -> None:
    clock = FakeClock()
    watch = DriverWatch(clock.monotonic_ns, silent_s=10, most_s=100)
    for _ in range(20):
        clock.advance(5 * NS_PER_S)
        watch.heard()
        assert not watch.gone
    clock.advance(NS_PER_S)
    assert watch.gone
    assert watch.sentence == "100 s are all that a run may take: ending the run"


def test_without_a_limit_it_waits_for_ever() -> None:
    clock = FakeClock()
    watch = DriverWatch(clock.monotonic_ns)
    clock.advance(10**9 * NS_PER_S)
    assert not watch.gone


@pytest.mark.contract
def test_a_silent_driver_ends_load_workers_and_coordinator(tmp_path: Path) -> None:
    (tmp_path / "scenario.py").write_text(SCENARIO)
    rig = Rig(tmp_path)
    try:
        coordinator = rig.coordinator(LOADTEST_DRIVER_SILENT_S="2", LOADTEST_DRIVER_FIRST_S="60")
        workers = [rig.worker(region) for region in ("cdg", "syd")]
        until(lambda: len(rig.get("/v1/status")["workers"]) == 2, "workers join")
        url = rig.target()
        body = order(("cdg", "syd"), url, "alone", load={"duration_s": 600})
        assert rig.call("POST", "/v1/runs", body)[0] == 201
        until(lambda: rig.run_status("alone")["state"] == "steady", "load")
        until(lambda: rig.run_status("alone")["elapsed_s"] > 4, "a driver that asks is heard")
        began_s = time.monotonic()
        assert coordinator.wait(20) == EXIT_ENGINE
        assert [worker.wait(10) for worker in workers] == [EXIT_ENGINE] * 2
        assert time.monotonic() - began_s < 12
        assert "nobody has asked for 2 s" in rig.log("coordinator")
    finally:
        rig.close()
