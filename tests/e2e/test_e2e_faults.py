"""Faults of a plan, with the whole program: what visitors see of each, and that it is no doubt."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import small_app
from whole_program import finished, read

from loadtest.analysis.load import load_run
from loadtest.analysis.outages import find_outages
from loadtest.analysis.summary import summarise

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

FAULTS = """
machines = "primary"

[[faults]]
what = "cut cdg-ord"
at_s = 2
for_s = 2

[[faults]]
what = "restart shop"
at_s = 6
"""


def test_a_region_that_is_cut_off_stands_still_and_a_dead_machine_refuses(tmp_path: Path) -> None:
    plan = small_app.write(tmp_path)
    words = plan.read_text().replace("duration_s = 60.0", "duration_s = 9.0")
    plan.write_text(words + FAULTS)
    done = finished("run", "plan.toml", "--out", "run", cwd=tmp_path)
    assert (tmp_path / "run" / "report.md").is_file(), done.stderr

    run = load_run(tmp_path / "run")
    met = {(o.fault.split()[0], o.region): o for o in find_outages(run, summarise(run))}
    cut, dead = met["cut", "ord"], met["restart", "cdg"]
    assert (cut.failed, cut.stalled > 0) == (0, True), "what was sent comes after the end"
    assert not met["cut", "cdg"].touched
    assert cut.back_s
    assert cut.lasted_s
    assert cut.back_s.high >= cut.lasted_s
    assert dead.failed > 0
    assert dead.back_s, "it was started again"
    checks = {c["name"]: c["ok"] for c in read(run.folder / "summary.json")["validity"]["checks"]}
    assert checks["machines"] is checks["paths"] is True
    report = (run.folder / "report.md").read_text()
    assert "What visitors saw of each failure" in report
    assert "| cut cdg-ord for" in report.partition("## Where it breaks down")[2]
