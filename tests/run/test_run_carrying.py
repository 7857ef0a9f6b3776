"""How long a run is before all of its rules may pass: told before there is load."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.gate.errors import Failures, chance_of_difference
from loadtest.gate.shares import requests_to_pass
from loadtest.plan.model import Gate
from loadtest.plan.resolve import url_plan
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.run.carrying import pass_length

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("flags", "told", "never"),
    [
        ({"thresholds": ["ttfb.p50 < 300ms", "ttfb.mean < 1s"]}, "", False),
        (
            {"thresholds": ["ttfb.p50 < 300ms", "ttfb.p95 < 300ms"]},
            "'ttfb.p95 < 300ms' passes after 59 s of load, in 3 looks: 59 blocks of 1 s rule out",
            False,
        ),
        ({"thresholds": ["ttfb.p95 < 300ms"], "load.duration_s": 60.0}, "", False),
        ({"thresholds": ["ttfb.p95 > 300ms"]}, "", False),
        (
            {"thresholds": ["ttfb.p95 < 300ms"], "gate.max_looks": 2},
            "59 s of load, and 20 s 2 times are all there is: it may fail or stay undecided, not "
            "pass, since 59 blocks of 1 s rule out trouble in a few of them (more do where usual "
            "requests lie beyond the limit, too); give --duration 30 or",
            True,
        ),
        ({"thresholds": ["errors <= 0%"]}, "", False),
        (
            {"thresholds": ["errors < 1%"], "gate.max_looks": 3},
            "passes after 735 s of load, and 20 s 3 times",
            True,
        ),
        (
            {"thresholds": ["errors < 1%"], "gate.max_looks": 3, "load.rate": 200.0},
            "",
            False,
        ),
    ],
)
def test_how_long_a_pass_takes_is_told_before_the_load(
    flags: dict[str, object], told: str, never: bool
) -> None:
    found = pass_length(url_plan([URL], "", flags))

    assert told in found.told
    assert bool(told) == bool(found.told)
    assert found.never == never


def test_a_comparison_of_shares_is_told_what_it_takes_to_pass() -> None:
    rule, side = parse_threshold("errors within 1% of baseline"), 0.05
    requests = requests_to_pass(rule, Gate(), side)

    def passes(n: float) -> bool:
        none = Failures(np.zeros(20), np.full(20, n / 20))
        return chance_of_difference(none, none, 0.01)[1] <= side

    assert passes(requests)
    assert not passes(requests - 10)
