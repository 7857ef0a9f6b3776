"""What the published tables say of themselves; every number here is arithmetic on theirs."""

from __future__ import annotations

import pytest

from loadtest.analysis.published_model import mixture, self_predictions


def test_multi_predicts_single_where_only_distance_differs() -> None:
    found = {one.region: one for one in self_predictions("cdg")}
    assert set(found) == {"ord", "syd", "scl"}
    assert found["syd"].predicted_ms == pytest.approx((45.8 + 528.7) / 2)
    assert found["syd"].off_share == pytest.approx(287.25 / 286.2 - 1)
    assert abs(found["ord"].off_share) < 0.10
    assert found["scl"].off_share > 0.5


def test_one_share_of_new_connections_explains_both_cells_of_santiago() -> None:
    found = mixture("scl", 209.7)
    assert found is not None
    assert found.single_ms == pytest.approx(84.4 + 209.7 * (1 + found.share))
    assert found.multi_ms == pytest.approx(84.4 + 209.7 * (2 + 6 * found.share))
    assert 0.6 < found.share < 0.75
    assert abs(found.single_off_share) < 0.015
    assert abs(found.multi_off_share) < 0.015


def test_where_connections_were_open_the_share_is_small() -> None:
    found = mixture("syd", 241.0)
    assert found is not None
    assert found.share < 0.02


def test_a_region_that_was_not_published_has_no_mixture() -> None:
    assert mixture("nrt", 220.0) is None
