"""What is missing, odd or bent in a stored run is refused by name, or makes it invalid."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synth
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analysis.arm_checks import arm_checks
from loadtest.analysis.load import Run, load_run
from loadtest.analysis.summary import summarise
from loadtest.analysis.validity import check
from loadtest.errors import RecordsError
from loadtest.gate.verdict import judge
from loadtest.records.seal import MEASURED, seal

Key = tuple[str | int, ...]
FREE = {"versions", "edges", "machines", "machine", "postgres", "failures", "timeline"}
"""What is shown and not judged."""


OF_EVERY_RUN = ("plan", "world", "engine", "records")
"""What the names of files begin with that every run has; on Fly there is one more."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = synth.make_plan(regions=("cdg", "ord"), thresholds=("ttfb.p50 < 10s",))
    return synth.write_run(tmp_path_factory.mktemp("whole") / "run", plan, seconds=30, seed=3)


def decision(folder: Path) -> str:
    """Return the word on a folder, or that it was refused."""
    try:
        run = load_run(folder)
    except RecordsError:
        return "refused"
    return judge(run, summarise(run)).decision


def keys_of(value: Any, before: Key = ()) -> Iterator[Key]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if key in FREE:
            continue
        if isinstance(key, str):
            yield (*before, key)
        if isinstance(inner, dict | list):
            yield from keys_of(inner, (*before, key))


def changed(content: Any, key: Key, change: Callable[[dict[str, Any], str], None]) -> Any:
    again = copy.deepcopy(content)
    holder = again
    for part in key[:-1]:
        holder = holder[part]
    change(holder, str(key[-1]))
    return again


def remove(holder: dict[str, Any], key: str) -> None:
    del holder[key]


def rename(holder: dict[str, Any], key: str) -> None:
    holder[f"{key}_renamed"] = holder.pop(key)


def test_the_whole_run_passes(whole: Path) -> None:
    assert decision(whole) == "pass"


@pytest.mark.parametrize("change", [remove, rename])
def test_an_engine_account_without_any_one_key_never_passes(
    whole: Path, tmp_path: Path, change: Callable[[dict[str, Any], str], None]
) -> None:
    content = json.loads((whole / "engine.json").read_text())
    keys = list(keys_of(content))
    assert len(keys) > 40
    passed = []
    for number, key in enumerate(keys):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / "engine.json").write_text(json.dumps(changed(content, key, change)))
        seal(folder, "by hand")  # so that not the seal, but the reader, has to notice
        if decision(folder) == "pass":
            passed.append(key)
        shutil.rmtree(folder)
    assert passed == []


@pytest.mark.parametrize("key", ["schema", "kind", "links", "regions", "watch"])
def test_a_world_without_a_key_that_is_judged_never_passes(
    whole: Path, tmp_path: Path, key: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    content = json.loads((folder / "world.json").read_text())
    del content[key]
    (folder / "world.json").write_text(json.dumps(content))
    seal(folder, "by hand")
    assert decision(folder) in ("refused", "invalid")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("workers",), []),
        (("workers",), None),
        (("workers", 0, "health"), None),
        (("workers", 0, "health", "loop_lag_p99_us"), float("nan")),
        (("workers", 0, "health", "loop_lag_p99_us"), None),
        (("workers", 0, "health", "cpu_share_mean"), True),
        (("workers", 0, "self_check"), {}),
        (("workers", 0, "rows", "missing"), "0"),
        (("schedule", "arrivals"), 0),
        (("state",), "failed"),
    ],
)
def test_evidence_that_is_empty_or_odd_never_passes(
    whole: Path, tmp_path: Path, key: Key, value: Any
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    content = json.loads((folder / "engine.json").read_text())
    odd = changed(content, key, lambda holder, last: holder.update({last: value}))
    (folder / "engine.json").write_text(json.dumps(odd))
    seal(folder, "by hand")
    assert decision(folder) in ("refused", "invalid")


def test_a_link_that_says_it_is_in_order_is_measured_all_the_same(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    content = json.loads((folder / "world.json").read_text())
    content["links"][0] |= {"measured_rtt_p50_ms": 1.0, "configured_rtt_ms": 1.0, "ok": True}
    (folder / "world.json").write_text(json.dumps(content))
    seal(folder, "by hand")
    assert decision(folder) == "invalid"


def test_a_run_that_was_never_sealed_is_not_judged(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "manifest.json").unlink()
    assert decision(folder) == "invalid"


def test_a_run_sealed_by_hand_says_so(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    seal(folder, "by hand")
    run: Run = load_run(folder)
    assert [c.why for c in check(run).checks if c.name == "sealed"] == [
        "The run's files were sealed again by hand after they had been changed."
    ]


@given(
    st.sampled_from([name for name in MEASURED if name.startswith(OF_EVERY_RUN)]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 7),
)
@settings(max_examples=60, deadline=None)
def test_any_bit_that_flips_is_noticed(whole: Path, name: str, place: float, bit: int) -> None:
    path = whole / name
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[int(place * len(data))] ^= 1 << bit
    path.write_bytes(bytes(flipped))
    try:
        with pytest.raises(RecordsError):
            load_run(whole)
    finally:
        path.write_bytes(data)


def test_an_arm_that_its_users_leave_is_not_asked_as_its_base_is(
    make_run: Callable[..., Run],
) -> None:
    """In the closed model nothing is scheduled, so users that are gone leave no gap in the rows."""
    rule = "ttfb.p50(multi) within 5% of baseline(single)"
    run = make_run(plan=synth.make_plan(thresholds=(rule,)))
    load = run.plan.load.model_copy(update={"model": "closed", "users": 20})
    run = replace(run, plan=run.plan.model_copy(update={"load": load}))
    assert run.engine is not None
    first, *others = run.engine.workers

    def told(**left: int) -> list[str]:
        assert run.engine is not None
        workers = (replace(first, left=left), *others)
        bent = replace(run, engine=replace(run.engine, workers=workers))
        return [check.why for check in arm_checks(bent, ())]

    assert told() == told(multi=2, single=1) == told(multi=2) == told(multi=9, single=9) == []
    assert any("of 20 users each, 10 of multi left by themselves, and 0 of single" in why
               for why in told(multi=10))  # fmt: skip
    assert any("0 of multi left by themselves, and 10 of single" in why for why in told(single=10))
