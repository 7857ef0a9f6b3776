"""Validity: an honest run is valid; each kind of trouble is named, in its scope, with advice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synth

from loadtest.analysis.aa import SPLITS, split_test
from loadtest.analysis.blocks import blocked
from loadtest.analysis.cells import cell_rows
from loadtest.analysis.checks import SplitTest, Validity, ValidityCheck
from loadtest.analysis.load import Run, load_run
from loadtest.analysis.validity import check
from loadtest.errors import RecordsError
from loadtest.plan.apps import Generator
from loadtest.plan.model import ValidityLimits
from loadtest.records.engine_account import NULLABLE
from loadtest.records.seal import seal


def test_an_honest_run_is_valid(plain_run: Run) -> None:
    validity = check(plain_run)
    assert validity.ok, [c.why for c in validity.failed]
    assert all(c.why.endswith(".") for c in validity.checks)


@pytest.mark.parametrize(
    ("effects", "name", "everywhere"),
    [
        ({"late_share": 0.05}, "late", True),
        ({"dropped_share": 0.02}, "dropped", True),
        ({"resent_share": 0.02}, "resent", True),
        ({"health": {"loop_lag_p99_us": 29_000}}, "loop lag", True),
        ({"health": {"cpu_share_mean": 0.97}}, "cpu", True),
        ({"health": {"steal_share_mean": 0.2}}, "steal", True),
        ({"health": {"gc_pause_max_us": 80_000}}, "gc", True),
        ({"health": {"retransmits": 90}}, "retransmits", True),
        ({"link_off_ms": 3.0}, "links", True),
        ({"lost_worker": "syd"}, "worker", False),
        ({"unreconciled": 4}, "reconciliation", False),
    ],
)
def test_trouble_is_named_in_its_scope(
    make_run: Callable[..., Run], effects: dict[str, Any], name: str, everywhere: bool
) -> None:
    validity = check(make_run(**effects))
    failed = [c for c in validity.failed if c.name == name]
    assert failed
    assert all(c.advice for c in failed)
    held = {r: bool(validity.against(r, "multi", "browse")) for r in ("cdg", "ord", "syd", "scl")}
    assert all(held.values()) if everywhere else sum(held.values()) == 1


def test_a_lost_worker_leaves_the_other_regions_alone(make_run: Callable[..., Run]) -> None:
    validity = check(make_run(lost_worker="scl"))
    assert validity.against("scl", "single", "browse")
    assert not validity.against("cdg", "single", "browse")


def test_one_of_two_workers_lost_is_noticed(make_run: Callable[..., Run]) -> None:
    plan = synth.make_plan(generator=Generator(workers_per_region=2))
    failed = {c.name for c in check(make_run(plan=plan, lost_worker="ord")).failed}
    assert failed >= {"worker", "schedule"}


def test_user_clocks_may_be_forbidden(make_run: Callable[..., Run]) -> None:
    allowed = check(make_run(user_clock=True))
    strict = synth.make_plan(validity=ValidityLimits(user_clock_allowed=False))
    assert allowed.ok
    assert "clock source" in {c.name for c in check(make_run(plan=strict, user_clock=True)).failed}


def edit_engine(run: Run, edit: Callable[[dict[str, Any]], None]) -> Run:
    path = run.folder / "engine.json"
    engine = json.loads(path.read_text())
    edit(engine)
    path.write_text(json.dumps(engine))
    seal(run.folder)
    return load_run(run.folder)


def test_a_stopped_run_is_not_judged(make_run: Callable[..., Run]) -> None:
    run = edit_engine(make_run(), lambda e: e.update(state="stopped", reason="Ctrl-C"))
    failed = check(run).failed
    assert [c.name for c in failed] == ["complete"]
    assert "stopped (Ctrl-C)" in failed[0].why


def test_a_broken_run_says_so(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run()
    (run.folder / "engine.json").unlink()
    seal(run.folder)
    assert [c.name for c in check(load_run(run.folder)).failed] == ["complete"]


def test_what_a_platform_cannot_tell_is_not_held_against_the_run(
    make_run: Callable[..., Run],
) -> None:
    def forget(engine: dict[str, Any]) -> None:
        for worker in engine["workers"]:
            worker["health"] |= dict.fromkeys(NULLABLE)
            worker["health"]["untold"] = dict.fromkeys(NULLABLE, "nobody counts it here")

    validity = check(edit_engine(make_run(), forget))
    assert validity.ok
    told = [c.name for c in validity.checks if "cannot tell (nobody counts it here)" in c.why]
    assert set(told) == {"steal", "retransmits"}


@pytest.mark.parametrize("reason", [{}, {"steal_share_mean": "", "steal_share_max": ""}])
def test_what_is_not_told_without_a_reason_is_refused(
    make_run: Callable[..., Run], reason: dict[str, str]
) -> None:
    def forget(engine: dict[str, Any]) -> None:
        health = engine["workers"][0]["health"]
        health |= {"steal_share_mean": None, "steal_share_max": None, "untold": reason}

    with pytest.raises(RecordsError, match="steal_share_mean: is null without a reason"):
        edit_engine(make_run(), forget)


def test_an_empty_cell_is_invalid(make_run: Callable[..., Run]) -> None:
    run = make_run()
    keep = ~((run.frame["region"] == "ord") & (run.frame["deployment"] == "multi"))
    holed = Run(run.plan, run.world, run.engine, run.frame[keep], run.folder, run.partial)
    validity = check(holed)
    named = [c for c in validity.failed if c.name == "measured"]
    assert [(c.region, c.deployment, c.scenario) for c in named] == [("ord", "multi", "browse")]


def test_a_a_hardly_ever_invalidates_an_honest_run(tmp_path: Path) -> None:
    """40 honest runs under drift and heavy noise: none is called unsound, raw fires are nominal."""
    plan = synth.make_plan(regions=("cdg", "ord"))
    raw = trials = unsound = 0
    for seed in range(40):
        folder = synth.write_run(
            tmp_path / str(seed),
            plan,
            seconds=20,
            seed=seed,
            effects=synth.Effects(sigma=0.35, drift_sd=0.1),
        )
        run = load_run(folder)
        found = split_test(run, cell_rows(run))
        unsound += not found.ok
        raw += found.raw_fires
        trials += found.trials
    assert unsound == 0
    assert 0.005 < raw / trials < 0.09


def test_a_a_splits_pages_where_no_rule_judges_cells(make_run: Callable[..., Run]) -> None:
    """The median of two pages of very different times lies between them, anywhere."""
    pages = {(arm, "slow"): 300.0 for arm in ("single", "multi", "replica")}
    plan = synth.make_plan(thresholds=())
    run = make_run(names=("quick", "slow"), page_shift_ms=pages, plan=plan, seconds=30)
    found = split_test(run, cell_rows(run))
    assert (found.trials, found.ok) == (2 * 12 * SPLITS, True)


def test_a_a_of_a_few_samples_is_left_out(make_run: Callable[..., Run]) -> None:
    found = split_test(run := make_run(seconds=2), cell_rows(run))
    assert (found.trials, found.ok) == (0, True)


def test_a_sample_in_blocks_keeps_its_sums() -> None:
    sample = blocked(np.array([3.0, 1.0, 2.0]), np.array([1, 0, 1], np.int32), 3)
    assert sample.sums.tolist() == [1.0, 5.0, 0.0]
    assert sample.counts.tolist() == [1.0, 2.0, 0.0]


def test_what_tells_why_others_failed_is_told_first() -> None:
    """A task that raises may keep the worker's machine busy; its maker has to mend the task."""

    def failed(name: str) -> ValidityCheck:
        return ValidityCheck(name, "run", 1.0, 0.0, "", ok=False, why=f"{name}.")

    found = Validity(
        (failed("late"), failed("stalls"), failed("scenario")), SplitTest(0, 0, 0, True)
    )
    assert found.sentences == ("scenario.", "late.", "stalls.")
