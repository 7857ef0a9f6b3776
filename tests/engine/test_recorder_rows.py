"""Samples become rows: every column in its unit, failures and drops included."""

from __future__ import annotations

from typing import Any

import pytest
from engine_rows import EPOCH_NS, arrival, recorder, sample

from loadtest.engine.client.sample import RequestSample
from loadtest.engine.worker.recorder import CHUNK_ROWS, Recorder, Words
from loadtest.records.batch import Batch, decode_batches
from loadtest.records.kinds import ERROR_KINDS
from loadtest.records.layout import COLUMNS, MAX_LETTERS, OTHER


def decoded(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    content = [chunk[key] for key in ("first_row", "rows", "columns", "words")]
    (batch,) = decode_batches([Batch("w1", "syd", *content)])
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def test_a_warm_request_becomes_a_row_in_microseconds() -> None:
    made, chunks = recorder()
    made.record(sample(7))
    made.flush()
    (row,) = decoded(chunks[0])

    assert row == {
        "worker": "w1",
        "row": 0,
        "region": "syd",
        "deployment": "single",
        "scenario": "recipes",
        "name": "GET /recipes",
        "stage": "steady",
        "block": 0,
        "arrival": 7,
        "intended_us": 7_000,
        "start_us": 7_100,
        "queue_us": 100,
        "dns_us": 0,
        "connect_us": 0,
        "tls_us": 0,
        "send_us": 20,
        "wait_us": 50_000,
        "wait_user_us": 50_030,
        "receive_us": 35,
        "status": 200,
        "error": "",
        "bytes": 1_200,
        "reused": True,
        "cold": False,
        "attempts": 1,
        "clock": "kernel",
        "protocol": "2",
        "served_by": "cdg",
        "replayed": True,
        "db_round_trips": 2,
        "db_us": 2_500,
        "app_us": 1_500,
    }


def test_a_new_connection_shows_its_phases() -> None:
    made, chunks = recorder()
    phases = {"dns_ns": 1_000_000, "connect_ns": 25_000_000, "tls_ns": 50_000_000}
    made.record(sample(reused=False, kernel=False, **phases))
    made.flush()
    (row,) = decoded(chunks[0])
    assert (row["dns_us"], row["connect_us"], row["tls_us"]) == (1_000, 25_000, 50_000)
    assert (row["reused"], row["clock"]) == (False, "user")


@pytest.mark.parametrize("kind", [kind for kind in ERROR_KINDS if kind])
def test_every_kind_of_error_is_a_row_and_its_sentence_is_counted(kind: str) -> None:
    made, chunks = recorder()
    made.record(sample(error=kind, detail="it broke", status=0, first_ns=0, last_ns=0))
    made.flush()
    (row,) = decoded(chunks[0])
    assert (row["error"], row["wait_us"], row["receive_us"]) == (kind, 0, 0)
    assert made.errors == 1
    (example,) = made.failures.examples()
    assert (example.kind, example.sentence, example.count) == (kind, "it broke", 1)
    assert (example.deployment, example.scenario) == (row["deployment"], row["scenario"])
    assert example.name == row["name"]


def test_a_dropped_arrival_and_a_failed_task_are_rows() -> None:
    made, chunks = recorder()
    made.drop(arrival(3, deployment=1))
    made.fail(arrival(4), EPOCH_NS + 5_000_000, "check", "task")
    made.flush()
    dropped, failed = decoded(chunks[0])
    assert (dropped["error"], dropped["start_us"], dropped["intended_us"]) == ("dropped", -1, 3_000)
    assert (dropped["deployment"], dropped["arrival"]) == ("replica", 3)
    assert (failed["error"], failed["start_us"], failed["queue_us"]) == ("check", 5_000, 1_000)
    assert (made.dropped, made.errors) == (1, 1)


def test_a_request_outside_any_arrival_is_labelled_so() -> None:
    """Requests of on_start belong to no block and never to the steady stage."""
    made, chunks = recorder()
    made.record(RequestSample("GET /login", "GET", EPOCH_NS - 2_000_000))
    made.flush()
    (row,) = decoded(chunks[0])
    assert (row["stage"], row["block"], row["arrival"]) == ("warm-up", -1, -1)
    assert row["start_us"] == row["intended_us"] == -2_000


def test_what_comes_before_the_epoch_waits_for_it() -> None:
    """A log-in of on_start keeps its arm and lands before the start of the time line."""
    chunks: list[dict[str, Any]] = []
    made = Recorder(("single", "replica"), ("recipes",), chunks.append)
    early = RequestSample("POST /login", "POST", EPOCH_NS - 3_000_000, context=(-1, -1, 0, 1, 0, 0))
    made.record(early)
    assert made.rows == 0
    made.begin(EPOCH_NS)
    made.flush()
    (row,) = decoded(chunks[0])
    assert (row["deployment"], row["start_us"], row["intended_us"]) == ("replica", -3_000, -3_000)
    assert (row["stage"], row["queue_us"]) == ("warm-up", 0)


def test_an_absurd_value_is_brought_into_range_and_stops_nothing() -> None:
    made, chunks = recorder()
    made.record(sample(status=99_999, attempts=300, dns_ns=10**19, reused=False))
    made.flush()
    columns = chunks[0]["columns"]
    assert int.from_bytes(columns["dns_us"], "little") == 2**31 - 1
    assert int.from_bytes(columns["status"], "little") == 2**15 - 1
    assert columns["attempts"] == b"\x7f"


def test_rows_are_numbered_without_a_gap_over_chunks() -> None:
    made, chunks = recorder()
    total = 2 * CHUNK_ROWS + 5
    for number in range(total):
        made.record(sample(number))
    made.flush()
    made.flush()
    assert [chunk["rows"] for chunk in chunks] == [CHUNK_ROWS, CHUNK_ROWS, 5]
    rows = [row for chunk in chunks for row in decoded(chunk)]
    assert [row["row"] for row in rows] == list(range(total)) == [row["arrival"] for row in rows]
    assert made.rows == total


def test_a_column_of_one_value_travels_as_that_value() -> None:
    made, chunks = recorder()
    for number in range(50):
        made.record(sample(number))
    made.flush()
    columns = chunks[0]["columns"]
    assert len(columns["status"]) == 2
    assert len(columns["arrival"]) == 50 * 8


def test_words_beyond_the_limit_share_one_code() -> None:
    words = Words(4, ("",))
    codes = [words.code(word) for word in ("a", "b", "c", "d", "a")]
    assert codes == [1, 2, 3, 3, 1]
    assert words.listed == ["", "a", "b", OTHER]


def test_a_word_of_any_length_is_kept_short() -> None:
    words = Words(10)
    first, second = words.code("x" * 5_000), words.code("x" * 5_001)
    assert first == second
    assert words.listed == ["x" * (MAX_LETTERS - 1) + "…"]


def test_an_untrusted_region_header_cannot_fill_memory() -> None:
    made, chunks = recorder()
    for number in range(600):
        made.record(sample(number, region_header=b"r%d" % number))
    made.flush()
    words = chunks[0]["words"]["served_by"]
    assert len(words) <= 250
    assert words[-1] == OTHER


def test_a_full_chunk_waits_for_whoever_flushes_now_and_then() -> None:
    """Until then nothing is encoded; then every column is followed by a breath."""
    made, chunks = recorder()
    made.patient = True
    for number in range(CHUNK_ROWS + 5):
        made.record(sample(number))
    assert chunks == []
    breaths: list[int] = []
    made.flush(lambda: breaths.append(len(chunks)))
    assert [(chunk["first_row"], chunk["rows"]) for chunk in chunks] == [
        (0, CHUNK_ROWS),
        (CHUNK_ROWS, 5),
    ]
    assert breaths == [0] * len(COLUMNS) + [1] * len(COLUMNS)


def test_a_recorder_that_falls_behind_takes_no_breath() -> None:
    """Memory is bounded by encoding at once what has waited for too long."""
    made, chunks = recorder()
    made.patient = True
    too_many = 40
    for number in range(too_many * CHUNK_ROWS):
        made.record(sample(number))
    breaths: list[int] = []
    made.flush(lambda: breaths.append(len(chunks)))
    assert len(chunks) == too_many
    assert 0 < min(breaths) < too_many
