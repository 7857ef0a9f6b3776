"""Which rows are a sample of which metric."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from loadtest.analysis.metrics import PHASES, sample_of

# error, reused, attempts, wait, and what the row counts as
ROWS = [
    ("", True, 1, 100, "warm success"),
    ("", False, 1, 150, "cold success"),
    ("", True, 2, 900, "sent again on a stale connection"),
    ("status", True, 1, 50, "warm failure"),
    ("status", False, 1, 60, "cold failure"),
    ("connect-refused", False, 1, 0, "never had a connection"),
    ("dropped", False, 1, 0, "never left"),
    ("cancelled", True, 1, 0, "the run was stopped"),
    ("", False, 1, 300, "had to open a connection that nobody asked for"),
    ("status", False, 1, 70, "the same, and failed"),
]
COLD = (1, 4, 5)
"""Rows of which the plan asked for a new connection."""


@pytest.fixture
def frame() -> pd.DataFrame:
    columns: dict[str, object] = {
        f"{p}_us": np.full(len(ROWS), 10, np.int32) for p in PHASES if p != "wait"
    }
    columns |= {
        "error": pd.Categorical([row[0] for row in ROWS]),
        "reused": [row[1] for row in ROWS],
        "cold": [number in COLD for number in range(len(ROWS))],
        "attempts": np.array([row[2] for row in ROWS], np.int8),
        "wait_us": np.array([row[3] for row in ROWS], np.int32),
        "replayed": [False] * len(ROWS),
        "db_us": np.array([5, -1, 7, *[-1] * 7], np.int32),
        "app_us": np.full(len(ROWS), -1, np.int32),
        "db_round_trips": np.array([2, -1, 2, *[-1] * 7], np.int16),
    }
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("metric", "values", "failed"),
    [
        ("ttfb", [100, 340], [3, 5, 9]),
        ("ttfb_cold", [190], [4, 5]),
        ("response_from_schedule", [160, 210, 960, 360], [3, 4, 5, 6, 9]),
        ("queue", [10, 10, 10, 10], []),
        ("connect", [10, 10], []),
        ("wait", [100, 150, 900, 300], []),
        ("db", [5, 7], []),
        ("app", [], []),
        ("db_round_trips", [2, 2], []),
        ("errors", [0, 0, 0, 1, 1, 1, 0, 1], []),
        ("replayed", [0, 0, 0, 0], []),
    ],
)
def test_a_metric_has_its_rows(
    frame: pd.DataFrame, metric: str, values: list[int], failed: list[int]
) -> None:
    sample = sample_of(frame, np.arange(len(ROWS), dtype=np.int32), metric)
    assert sample.values.tolist() == values
    assert sorted(sample.failed.tolist()) == failed
    assert np.isinf(sample.with_failures()).sum() == len(failed)


def test_an_unknown_metric_is_a_bug(frame: pd.DataFrame) -> None:
    with pytest.raises(KeyError):
        sample_of(frame, np.arange(3, dtype=np.int32), "speed")
