"""
The error rates of the decision procedure, by simulation, with generous bounds.

``benchmarks/gate_simulation.py`` runs the same trials ten thousand times.
"""

from __future__ import annotations

import pytest
from gate_trials import Design, run_trials

from loadtest.plan.model import Gate

FAST = Gate(resamples=400, margin_share=0.03, margin_ms=0)


@pytest.mark.parametrize("drift", [0.05, 0.10])
def test_false_alarms_are_rare(drift: float) -> None:
    tally = run_trials(Design(gate=FAST, drift=drift), 100, seed=1)
    assert tally.share("fail", look=FAST.max_looks) <= 0.02


@pytest.mark.parametrize("drift", [0.05, 0.10])
def test_ten_percent_more_is_found(drift: float) -> None:
    tally = run_trials(Design(gate=FAST, drift=drift, effect=0.10), 100, seed=2)
    assert tally.share("fail", rule=0) >= 0.97
    assert tally.share("fail", rule=1) >= 0.82
    assert tally.share("pass", look=FAST.max_looks) == 0


def test_a_true_change_of_exactly_the_margin_fails_at_most_at_the_nominal_rate() -> None:
    design = Design(rules=("ttfb.p50 within margin of baseline",), gate=FAST, effect=0.03)
    tally = run_trials(design, 200, seed=3)
    assert tally.share("fail", look=FAST.max_looks) <= 0.10
    assert tally.share("pass", look=FAST.max_looks) <= 0.10
