"""Change points: found where the level moved, not in noise, the same every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.analysis.history import StoredSummary, change_points, history, read_summary
from loadtest.errors import RecordsError


def series(*levels: tuple[int, float], sd: float = 2.0, seed: int = 1) -> list[tuple[str, float]]:
    generator = np.random.Generator(np.random.PCG64(seed))
    values = [v for n, level in levels for v in generator.normal(level, sd, n)]
    return [(f"run-{i}", float(v)) for i, v in enumerate(values)]


def test_steps_are_found_where_they_are() -> None:
    found = change_points(series((30, 100.0), (40, 110.0), (30, 95.0)))
    assert [point.index for point in found] == pytest.approx([30, 70], abs=1)
    assert found[0].change_share == pytest.approx(0.1, abs=0.02)
    assert found[0].run_id == f"run-{found[0].index}"


def test_noise_has_hardly_any_change_points() -> None:
    found = [bool(change_points(series((25, 100.0), seed=seed))) for seed in range(40)]
    assert sum(found) <= 3


def test_one_odd_run_is_weather() -> None:
    points = series((20, 100.0))
    points[10] = ("odd", 400.0)
    assert change_points(points) == ()


def test_the_same_history_gives_the_same_points() -> None:
    points = series((12, 100.0), (12, 104.0))
    assert change_points(points) == change_points(points)


def summary(number: int, value: float | None, *, valid: bool = True) -> StoredSummary:
    return read_summary(summary_json(number, value, valid=valid))


def summary_json(number: int, value: float | None, *, valid: bool = True) -> dict[str, Any]:
    cell = {
        "region": "cdg",
        "deployment": "multi",
        "scenario": "browse",
        "valid": valid,
        "ttfb_ms": {"p50": value},
    }
    run = {"id": f"run-{number}", "started_wall_ns": number}
    return {"schema": 1, "run": run, "cells": [cell]}


def test_runs_are_put_in_order_and_invalid_cells_left_out() -> None:
    found = history([summary(3, 12.0), summary(1, 10.0), summary(2, 11.0, valid=False)])
    assert found[0].run_ids == ("run-1", "run-3")
    assert found[0].values_ms == (10.0, 12.0)
    assert found[0].changes == ()


def test_another_schema_is_refused() -> None:
    with pytest.raises(RecordsError, match="schema 7"):
        read_summary({**summary_json(1, 1.0), "schema": 7})


def test_pages_have_a_series_of_their_own_after_the_cells() -> None:
    def summary(number: int) -> dict[str, Any]:
        def part(value: float) -> dict[str, Any]:
            return {"ttfb_ms": {"p50": value}}

        cell = {
            "region": "cdg",
            "deployment": "multi",
            "scenario": "browse",
            "valid": True,
            **part(50.0 + number),
            "pages": [{"name": "a", **part(10.0 + number)}, {"name": "b", **part(90.0 + number)}],
        }
        return {
            "schema": 1,
            "run": {"id": f"r{number}", "started_wall_ns": number},
            "cells": [cell, {**cell, "region": "syd", "pages": cell["pages"][:1]}],
        }

    series = history([read_summary(summary(number)) for number in range(3)])

    assert [(one.region, one.name, one.values_ms[0]) for one in series] == [
        ("cdg", "", 50.0),
        ("syd", "", 50.0),
        ("cdg", "a", 10.0),
        ("cdg", "b", 90.0),
    ]
    assert series[2].label == "cdg / multi / browse / a"
