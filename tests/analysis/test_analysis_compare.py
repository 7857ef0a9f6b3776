"""Comparison of stored runs: like with like, movement by interval, differences named."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import synth

from loadtest.analysis.compare import compare
from loadtest.analysis.load import Run
from loadtest.errors import RecordsError
from loadtest.plan.model import Load

MakeRun = Callable[..., Run]


def test_a_slower_arm_is_found_and_the_others_are_not(make_run: MakeRun) -> None:
    base = make_run(seed=1, seconds=30)
    other = make_run(seed=2, seconds=30, arm_factor={"multi": 1.3})
    found = compare([base, other])
    moved = {(c.region, c.deployment): c.movement for c in found.runs[0].cells}
    assert all(moved[region, "multi"] == "slower" for region in base.plan.regions)
    assert "slower" not in {m for (_, d), m in moved.items() if d != "multi"}
    median = next(s for s in found.runs[0].cells[4].shifts if s.p == 50)
    assert median.share == pytest.approx(0.3, abs=0.06)
    assert median.low_ms < median.difference_ms < median.high_ms


def test_faster_is_said_too(make_run: MakeRun) -> None:
    found = compare([make_run(seed=1), make_run(seed=2, arm_factor={"single": 0.7})])
    single = [c.movement for c in found.runs[0].cells if c.deployment == "single"]
    assert set(single) == {"faster"}


def test_unlike_runs_are_refused_and_what_differs_is_named(make_run: MakeRun) -> None:
    rtt = {**synth.RTT_MS, "cdg-ord": 90.0}
    plan = synth.make_plan()
    other_plan = plan.model_copy(
        update={
            "network": plan.network.model_copy(update={"rtt_ms": rtt}),
            "load": Load(rate=5, duration_s=20, warmup_s=4),
        }
    )
    base, other = make_run(), make_run(plan=other_plan)
    with pytest.raises(RecordsError) as raised:
        compare([base, other])
    assert "rtt_ms.cdg-ord: 104.0 / 90.0" in str(raised.value)
    assert "plan.load.rate: 10.0 / 5.0" in str(raised.value)
    forced = compare([base, other], force=True)
    assert {d.key for d in forced.differences} >= {"rtt_ms.cdg-ord", "plan.load.rate"}


def test_seed_and_thresholds_make_no_difference(make_run: MakeRun) -> None:
    other = make_run(plan=synth.make_plan(seed=99, thresholds=(), title="again"), seed=5)
    assert compare([make_run(), other]).differences == ()


def test_a_comparison_is_the_same_every_time(make_run: MakeRun) -> None:
    runs = [make_run(seed=1), make_run(seed=2), make_run(seed=3)]
    first = json.dumps(compare(runs).to_json())
    assert first == json.dumps(compare(runs).to_json())
    assert len(json.loads(first)["runs"]) == 2


def test_one_run_is_not_a_comparison(plain_run: Run) -> None:
    with pytest.raises(RecordsError, match="at least two"):
        compare([plain_run])


def test_pages_are_compared_beside_their_cells(make_run: MakeRun) -> None:
    """One page of one arm got slower: its row says so, and the cells' own numbers are as before."""
    names = ("GET /", "GET /search")
    slow = {("multi", "GET /search"): 60.0}
    base = make_run(seed=1, seconds=40, names=names)
    found = compare([base, make_run(seed=2, seconds=40, names=names, page_shift_ms=slow)])

    pages = {(p.region, p.deployment, p.name): p.movement for p in found.runs[0].pages}
    assert len(pages) == 2 * len(found.runs[0].cells)
    assert pages["cdg", "multi", "GET /search"] == "slower"
    assert {m for (_, d, n), m in pages.items() if d != "multi" or n == "GET /"} <= {
        "same",
        "unclear",
    }
    alone = compare([make_run(seed=1), make_run(seed=2)])
    assert alone.runs[0].pages == ()
