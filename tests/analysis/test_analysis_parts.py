"""Attribution and reproduction: the parts make the whole, predictions are called predictions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import synth

from loadtest.analysis.attribution import attribute
from loadtest.analysis.load import Run
from loadtest.analysis.reproduction import CALIBRATION, PREDICTION, reproduce
from loadtest.analysis.summary import summarise
from loadtest.plan.apps import Deployment
from loadtest.plan.model import Plan


def with_variants(share: float = 0.68) -> Plan:
    plan = synth.make_plan()
    variants = (
        Deployment(
            name="single-mixed",
            of="single",
            machines="primary",
            measured_from=("scl",),
            new_connection_share=share,
        ),
        Deployment(
            name="multi-mixed",
            of="multi",
            measured_from=("scl",),
            new_connection_share=share,
        ),
    )
    return plan.model_copy(update={"deployments": plan.deployments + variants})


def test_parts_add_up_to_the_median(plain_run: Run) -> None:
    for cell in attribute(plain_run, summarise(plain_run)).cells:
        assert sum(ms for _, ms in cell.parts()) == pytest.approx(cell.ttfb_ms)
        assert abs(cell.rest_ms) < 0.03 * cell.ttfb_ms + 1


def test_each_deployment_pays_where_it_should(plain_run: Run) -> None:
    found = attribute(plain_run, summarise(plain_run))
    single, multi, replica = (found.cell("syd", d) for d in ("single", "multi", "replica"))
    assert single is not None
    assert multi is not None
    assert replica is not None
    assert (single.network_ms, multi.network_ms, replica.network_ms) == (241.0, 0.5, 0.5)
    assert single.database_network_ms == pytest.approx(1.0, abs=0.1)
    assert multi.database_network_ms == pytest.approx(482, rel=0.02)
    assert replica.app_ms == pytest.approx(45.8, rel=0.03)
    assert "2 database round trips of 241 ms" in multi.explanation


def test_a_replay_is_a_part_of_its_own(make_run: Callable[..., Run]) -> None:
    run = make_run(replayed_share=1.0)
    cell = attribute(run, summarise(run)).cell("ord", "replica")
    assert cell is not None
    assert (cell.app_region, cell.replay_ms) == ("cdg", 104.0)


def test_published_values_stand_beside_ours(plain_run: Run) -> None:
    found = reproduce(plain_run, summarise(plain_run))
    rows = {(row.deployment, row.region): row for row in found.rows}
    assert len(rows) == 12
    assert {row.label for (d, _), row in rows.items() if d == "replica"} == {CALIBRATION}
    remote = [row for (d, r), row in rows.items() if d != "replica" and r != "cdg"]
    assert {row.label for row in remote} == {PREDICTION}
    assert rows["single", "cdg"].label == CALIBRATION
    syd = rows["multi", "syd"]
    assert (syd.published_ms, syd.base_ms, syd.network_ms) == (528.7, 45.8, 482.0)
    assert syd.low_ms == pytest.approx(45.8 + 2 * 232.5)
    assert syd.high_ms == pytest.approx(45.8 + 2 * 270.1)
    assert syd.sources == 6
    assert abs(syd.difference_share or 1) < 0.03
    assert rows["multi", "cdg"].low_ms is None
    worst = max(found.predictions, key=lambda row: abs(row.difference_share or 0))
    assert (worst.deployment, worst.region) == ("multi", "scl")


def test_variants_stand_beside_what_they_vary(make_run: Callable[..., Run]) -> None:
    run = make_run(plan=with_variants())
    rows = {r.deployment: r for r in reproduce(run, summarise(run)).rows if r.variant}
    mixed = rows["multi-mixed"]
    assert (mixed.of, mixed.published_ms) == ("multi", 1341.0)
    assert mixed.round_trips == pytest.approx(2 + 0.68 * 6)
    assert abs(mixed.mean_difference_share or 1) < 0.05
    assert rows["single-mixed"].network_ms == pytest.approx(1.68 * 209.7)
    assert abs(rows["single-mixed"].mean_difference_share or 1) < 0.05


def test_a_median_is_taken_apart_as_the_mode_that_it_lies_in(make_run: Callable[..., Run]) -> None:
    """Of a mixture no request is like the mean: most have all of a new connection, or none."""
    for share, trips, edge in ((0.68, 8, 2), (0.3, 2, 1)):
        run = make_run(plan=with_variants(share))
        found = attribute(run, summarise(run))
        multi, single = found.cell("scl", "multi-mixed"), found.cell("scl", "single-mixed")
        assert multi is not None
        assert single is not None
        assert multi.database_network_ms == pytest.approx(trips * 209.7, rel=0.06)
        assert single.network_ms == pytest.approx(edge * 209.7)
        assert abs(multi.rest_ms) < 0.05 * multi.ttfb_ms


def test_a_base_of_ones_own_makes_the_replica_column_a_prediction(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(plan=synth.make_plan(base="0", base_ms={}))
    assert {row.label for row in reproduce(run, summarise(run)).rows} == {PREDICTION}


def test_an_app_of_ones_own_is_not_held_against_the_published_tables(
    make_run: Callable[..., Run],
) -> None:
    assert not Plan.model_fields["reproduce"].default
    run = make_run(plan=synth.make_plan(reproduce=False))
    assert reproduce(run, summarise(run)).rows == ()
