"""Faults of a plan are held against its regions, its apps and the length of its load."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.errors import PlanError
from loadtest.plan.faults import faults_of
from loadtest.plan.resolve import resolve_plan


def plan_with(*faults: dict[str, Any], **more: Any) -> Any:
    return resolve_plan(
        {
            "schema": 1,
            "regions": ["cdg", "syd"],
            "primary_region": "cdg",
            "deployments": [
                {"name": "one", "fly_toml": "fly/recipes-single/fly.toml", "machines": "primary"},
                {"name": "all", "fly_toml": "fly/recipes-multi/fly.toml"},
            ],
            "load": {"duration_s": 10, "warmup_s": 2},
            "gate": {"max_looks": 1},
            "faults": list(faults),
            **more,
        }
    )


def test_faults_are_read_with_their_times() -> None:
    plan = plan_with({"what": "loss 1% *"}, {"what": "kill all/syd", "at_s": 3})
    assert [(f.what, p.at_s, p.for_s) for f, p in faults_of(plan)] == [
        ("loss 1% *", 0.0, 0.0),
        ("kill all/syd", 3.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"what": "cut cdg"}, "faults[0].what: 'cut cdg': 'cdg' is no link"),
        ({"what": "cut cdg-nrt"}, "there is no region 'nrt'; allowed: cdg, syd"),
        ({"what": "cut cdg-syd", "at_s": 12}, "faults[0].at_s: 12 s is after the load"),
        ({"what": "restart database", "for_s": 3}, "faults[0].for_s: 'restart database' is over"),
        ({"what": "kill none/syd"}, "'none' is none of one, all, database"),
        ({"what": "kill one/syd"}, "one has machines in cdg only"),
        ({"what": "cut cdg-syd", "for": 3}, "faults.0.for: unknown key"),
        ({"at_s": 1}, "faults.0.what: missing"),
    ],
)
def test_a_fault_that_cannot_be_is_told_by_its_key(fault: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan_with(fault)
    assert told in str(caught.value)


def test_fly_cannot_be_bent() -> None:
    with pytest.raises(PlanError, match="faults: Fly's network is not ours to bend"):
        plan_with({"what": "cut cdg-syd"}, world="fly")


def test_an_app_that_is_not_ours_is_not_killed() -> None:
    one = [{"name": "shop", "url": "http://127.0.0.1:8000", "at": "cdg"}]
    with pytest.raises(PlanError, match="'shop' is none of our apps"):
        plan_with({"what": "kill shop/cdg"}, deployments=one, paths=["/"])
