"""Every batch arrives, or its rows are counted as lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.engine.worker.shipping import RESEND_AFTER_NS, Shipper


def chunk(rows: int = 10, size: int = 100) -> dict[str, Any]:
    return {"rows": rows, "columns": {"wait_us": bytes(size)}}


def test_a_batch_is_sent_at_once_and_forgotten_when_acknowledged() -> None:
    sent: list[dict[str, Any]] = []
    shipper = Shipper(sent.append)
    shipper.add(chunk(), 0)
    assert [batch["seq"] for batch in sent] == [0]
    assert not shipper.drained
    shipper.acknowledge([0, 0, 99], 0)
    assert shipper.drained
    assert (shipper.acknowledged_rows, shipper.held_bytes) == (10, 0)


def test_an_unanswered_batch_is_sent_again_ever_more_patiently() -> None:
    sent: list[dict[str, Any]] = []
    shipper = Shipper(sent.append)
    shipper.add(chunk(), 0)
    shipper.resend(RESEND_AFTER_NS - 1)
    assert len(sent) == 1
    shipper.resend(RESEND_AFTER_NS)
    shipper.resend(2 * RESEND_AFTER_NS)
    assert (len(sent), shipper.resends) == (2, 1)
    shipper.resend(3 * RESEND_AFTER_NS)
    assert (len(sent), shipper.resends) == (3, 2)


def test_what_is_acknowledged_in_a_breath_is_not_sent_again() -> None:
    sent: list[dict[str, Any]] = []
    shipper = Shipper(sent.append)
    for _ in range(3):
        shipper.add(chunk(), 0)
    shipper.resend(RESEND_AFTER_NS, breathe=lambda: shipper.acknowledge([1, 2], RESEND_AFTER_NS))
    assert [batch["seq"] for batch in sent] == [0, 1, 2, 0]
    assert shipper.resends == 1


def test_the_window_bounds_what_is_under_way() -> None:
    sent: list[dict[str, Any]] = []
    shipper = Shipper(sent.append, window=2)
    for _ in range(5):
        shipper.add(chunk(), 0)
    assert [batch["seq"] for batch in sent] == [0, 1]
    shipper.acknowledge([1], 0)
    assert [batch["seq"] for batch in sent] == [0, 1, 2]


def test_beyond_the_limit_rows_are_lost_and_counted() -> None:
    shipper = Shipper(lambda _batch: None, limit_bytes=10_000)
    for _ in range(10):
        shipper.add(chunk(rows=7, size=1_000), 0)
    assert shipper.held_bytes <= 10_000
    assert shipper.lost_rows == 7 * 7
    assert shipper.held_rows == 3 * 7


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 8))
def test_whatever_the_link_loses_arrives_in_the_end(fates: list[bool], window: int) -> None:
    """A link that drops messages and acknowledgements at random costs time, never rows."""
    arrived: set[int] = set()
    answers: list[int] = []
    fate = iter(fates)

    def link(batch: dict[str, Any]) -> None:
        if next(fate, True):
            arrived.add(batch["seq"])
            if next(fate, True):
                answers.append(batch["seq"])

    shipper = Shipper(link, window=window)
    for _ in range(12):
        shipper.add(chunk(), 0)
    now = 0
    for _ in range(400):
        now += RESEND_AFTER_NS
        taken, answers[:] = list(answers), []
        shipper.acknowledge(taken, now)
        shipper.resend(now)
    assert shipper.drained
    assert arrived == set(range(12))
    assert shipper.acknowledged_rows == 120
