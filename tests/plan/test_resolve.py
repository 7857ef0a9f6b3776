"""Plans: every fault at once, flags over file, everything looked up before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import PlanError
from loadtest.plan.model import Plan
from loadtest.plan.network import base_times_ms, round_trips
from loadtest.plan.resolve import load_judged_plan, load_plan, load_raw, resolve_plan
from loadtest.plan.selection import tables_in
from loadtest.regions import region_table


def minimal(**changes: Any) -> dict[str, Any]:
    """Return the smallest raw plan that is right, with changes."""
    return {
        "schema": 1,
        "regions": ["cdg", "syd"],
        "primary_region": "cdg",
        "deployments": [{"name": "single", "url": "http://127.0.0.1:1"}],
        **changes,
    }


def test_the_default_plan_is_right_and_complete() -> None:
    """The plan that travels with the program resolves: all pairs, all bases, both variants."""
    plan = load_plan()

    assert plan.regions == ("cdg", "ord", "syd", "scl")
    assert set(plan.network.rtt_ms) == {
        "cdg-ord", "cdg-syd", "cdg-scl", "ord-syd", "ord-scl", "scl-syd",
    }  # fmt: skip
    assert plan.base_ms == {"cdg": 75.1, "ord": 50.4, "syd": 45.8, "scl": 84.4}
    assert plan.arms_in("scl") == ("single", "multi", "replica", "single-mixed", "multi-mixed")
    assert plan.arms_in("cdg") == ("single", "multi", "replica")
    assert plan.deployment("multi-mixed").fly_toml == "fly/recipes-multi/fly.toml"


def test_a_plan_survives_its_own_json() -> None:
    """plan.json read back is the plan that was written."""
    plan = load_plan()

    assert plan == Plan.model_validate(plan.to_json())


def test_flags_win_over_the_file() -> None:
    """What stands on the command line is what runs."""
    plan = load_plan(flags={"regions": ["ord", "syd"], "load.rate": 9.0, "network.rtt": "neutral"})

    assert plan.regions == ("ord", "syd")
    assert plan.primary_region == "ord"
    assert plan.load.rate == 9.0
    assert plan.network.rtt_ms == {"ord-syd": 181.7}


def test_regions_that_are_not_measured_take_their_variants_away() -> None:
    """A variant that is measured from scl alone is no arm of a run without scl."""
    plan = load_plan(flags={"regions": ["cdg", "ord"]})

    assert [d.name for d in plan.deployments] == ["single", "multi", "replica"]


def test_deployments_flag_keeps_only_those_named_and_their_thresholds() -> None:
    """Thresholds that speak of a deployment left out go with it."""
    plan = load_plan(flags={"deployments": ["single", "replica"]})

    assert [d.name for d in plan.deployments] == ["single", "replica"]
    assert [t for t in plan.thresholds if "multi" in t] == []
    assert len(plan.thresholds) == 1


def test_a_variant_kept_without_its_origin_stands_alone() -> None:
    """--deployments multi-mixed measures that variant although multi is gone."""
    plan = load_plan(flags={"deployments": ["multi-mixed"]})

    assert plan.deployment("multi-mixed").fly_toml == "fly/recipes-multi/fly.toml"


def test_flags_that_leave_no_rule_to_judge_are_refused() -> None:
    with pytest.raises(PlanError, match=r"every rule is about what the flags took away .*multi"):
        load_judged_plan(None, {"deployments": ["multi-mixed"]})
    kept = load_judged_plan(None, {"deployments": ["multi-mixed"], "thresholds": ["ttfb.p50 < 1s"]})
    assert kept.thresholds == ("ttfb.p50 < 1s",)


def test_all_faults_are_reported_at_once() -> None:
    """A person mends a plan in one go."""
    with pytest.raises(PlanError) as caught:
        resolve_plan(minimal(load={"rate": -1, "blok_s": 3}, base="-5", wrold="fly"))

    text = str(caught.value)
    assert "load.rate: -1 is not allowed" in text
    assert "load.blok_s: unknown key; did you mean 'block_s'?" in text
    assert "wrold: unknown key; did you mean 'world'?" in text


def test_unknown_regions_come_with_suggestions() -> None:
    """The nearest known codes are named."""
    with pytest.raises(PlanError) as caught:
        resolve_plan(minimal(regions=["cdg", "sidney"]))

    assert "'sidney' is no known region" in str(caught.value)
    assert "syd (Sydney)" in str(caught.value)


def test_a_retired_region_runs_embedded_and_is_refused_on_fly_with_its_replacement() -> None:
    """Fly closed scl in 2025; the emulated world has it still."""
    embedded = resolve_plan(minimal(regions=["cdg", "scl"]))

    assert embedded.regions == ("cdg", "scl")
    with pytest.raises(PlanError, match="use 'gru'"):
        resolve_plan(minimal(regions=["cdg", "scl"], world="fly"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"primary_region": "ord"}, "'ord' is not among the plan's regions"),
        ({"regions": ["cdg", "cdg"]}, "named more than once: cdg"),
        ({"scenario": "nowhere.py"}, "there is no file 'nowhere.py'"),
        ({"deployments": [{"name": "a"}]}, "needs one of fly_toml, url or of"),
        ({"deployments": [{"name": "a", "of": "b"}]}, "no deployment 'b'"),
        ({"deployments": [{"name": "a", "fly_toml": "x.toml"}]}, "no file 'x.toml'"),
        ({"deployments": [{"name": "a", "url": "u"}] * 2}, "used more than once"),
        ({"network": {"rtt": "nowhere.csv"}}, "neither 'published-era', 'neutral', a CSV file nor"),
        ({"network": {"rtt_ms": {"cdgsyd": 1}}}, "'cdgsyd' is no pair of region codes"),
        ({"base": "fast"}, "neither 'published', a number of milliseconds"),
        ({"base": "9999"}, "not between 0 and"),
        ({"seed": -1}, "seed: -1 is not allowed"),
        ({"thresholds": ["ttfb.p95 <"]}, "ttfb.p95 <"),
    ],
)
def test_each_fault_names_its_key_and_value(change: dict[str, Any], words: str) -> None:
    """A fault says what is wrong, where, and what would be right."""
    with pytest.raises(PlanError) as caught:
        resolve_plan(minimal(**change))

    assert words in str(caught.value)


def test_a_file_that_is_no_toml_says_where() -> None:
    """The parser's line and column reach the person."""
    with pytest.raises(PlanError, match="there is no file"):
        load_plan("no-such-plan.toml")


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    """The parser's line reaches the person."""
    path = tmp_path / "bad.toml"
    path.write_text("seed = 1\nregions = ]\n")

    with pytest.raises(PlanError, match="line 2"):
        load_plan(str(path))


def test_pairs_that_the_published_era_lacks_come_from_the_neutral_set() -> None:
    """The source of every pair is written down."""
    found = round_trips("published-era", ["cdg", "ord", "fra"], {})

    assert found.rtt_ms["cdg-ord"] == 104.0
    assert found.sources["cdg-ord"] == "azure-2025"
    assert "cdg-fra" in found.rtt_ms


@given(st.lists(st.sampled_from(sorted(region_table())), min_size=2, max_size=34, unique=True))
def test_every_pair_of_known_regions_has_a_round_trip_time(codes: list[str]) -> None:
    """The neutral set is complete."""
    found = round_trips("neutral", codes, {})

    assert len(found.rtt_ms) == len(codes) * (len(codes) - 1) // 2
    assert set(found.sources) == set(found.rtt_ms)


def test_own_round_trip_times_from_a_file(tmp_path: Path) -> None:
    """A CSV of one's own is taken as it stands, and its bad lines are named."""
    path = tmp_path / "rtt.csv"
    path.write_text("from,to,rtt_ms\nsyd,cdg,12.5\n")

    assert round_trips(str(path), ["cdg", "syd"], {}).rtt_ms == {"cdg-syd": 12.5}
    path.write_text("from,to,rtt_ms\nsyd,cdg,fast\n")
    with pytest.raises(PlanError, match="line 2"):
        round_trips(str(path), ["cdg", "syd"], {})


def test_base_times(tmp_path: Path) -> None:
    """A number, the published table, or a file."""
    path = tmp_path / "base.csv"
    path.write_text("region,base_ms\ncdg,5\n")

    assert base_times_ms("0", ["cdg", "syd"]) == {"cdg": 0.0, "syd": 0.0}
    assert base_times_ms(str(path), ["cdg"]) == {"cdg": 5.0}
    with pytest.raises(PlanError, match="no row for syd"):
        base_times_ms(str(path), ["cdg", "syd"])


def test_a_plan_without_a_name_is_called_like_its_file(tmp_path: Path) -> None:
    for file, name in (("My Shop_2.toml", "my-shop-2"), ("été.toml", "t"), ("----.toml", "plan")):
        (tmp_path / file).write_text("schema = 1\n", encoding="utf-8")

        assert load_raw(str(tmp_path / file), {})[0]["name"] == name

    (tmp_path / "x.toml").write_text('name = "mine"\n', encoding="utf-8")
    assert load_raw(str(tmp_path / "x.toml"), {})[0]["name"] == "mine"


ATLAS = "scenarios/atlas.toml"


def test_a_plan_that_travels_with_the_program_is_found_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_raw("atlas", {})[0]["title"] == load_raw(ATLAS, {})[0]["title"]
    Path("atlas").write_text("x = 1\n", encoding="utf-8")
    assert load_raw("atlas", {})[0]["x"] == 1, "a file of one's own wins"
    with pytest.raises(PlanError, match="no file 'atlases'; give the path of a TOML plan, one of"):
        load_raw("atlases", {})


def test_one_part_of_an_atlas_keeps_the_deployments_that_play_it() -> None:
    plan = load_plan(ATLAS, {"scenarios": ["double-effect", "session"]})
    assert {d.name: d.scenarios for d in plan.deployments} == {
        "replica": ("session",),
        "far-cache": ("double-effect", "session"),
    }
    with pytest.raises(PlanError, match="no deployment of the plan plays 'tea'; they play cache-"):
        load_plan(ATLAS, {"scenarios": ["tea"]})
    every = load_plan("scenarios/latency-tables.toml", {"scenarios": ["recipes"]})
    assert {d.scenarios for d in every.deployments} == {("recipes",)}


def test_redis_is_one_more_companion() -> None:
    plan = load_plan(ATLAS, {"redis": True})
    named = ["cache", "small", "peers", "mirror", "queue", "full", "worker", "redis"]
    assert [c.name for c in plan.companions] == named
    assert plan.companions[-1].variable == "REDIS_URL"
    assert load_plan(None, {"redis": None}).companions == ()


def test_regions_of_a_deployment_are_the_plan_s() -> None:
    raw, _ = load_raw("scenarios/latency-tables.toml", {})
    tables_in(raw, "deployments")[1]["regions"] = ["cdg", "lhr"]
    with pytest.raises(PlanError, match=r"deployments\.multi\.regions: 'lhr' is not among"):
        resolve_plan(raw)
