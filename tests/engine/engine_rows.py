"""Makes samples and batches without a network."""

from __future__ import annotations

from typing import Any

from loadtest.engine.client.sample import RequestSample
from loadtest.engine.worker.recorder import Arrival, Recorder
from loadtest.units import NS_PER_MS

EPOCH_NS = 1_000 * NS_PER_MS


def arrival(number: int = 0, deployment: int = 0, stage: int = 1) -> Arrival:
    return (number, number // 10, stage, deployment, 0, number * 1_000)


def sample(number: int = 0, wait_ms: float = 50.0, **changes: Any) -> RequestSample:
    """Return a warm request that left 100 us late and took ``wait_ms`` to its first byte."""
    due = EPOCH_NS + number * NS_PER_MS
    made = RequestSample("GET /recipes", "GET", due + 100_000, due, arrival(number))
    made.send_ns = 20_000
    made.sent_ns = made.start_ns + made.send_ns
    made.first_ns = made.sent_ns + int(wait_ms * NS_PER_MS)
    made.first_user_ns = made.first_ns + 30_000
    made.last_ns = made.first_user_ns + 5_000
    made.kernel = made.reused = True
    made.status, made.bytes = 200, 1_200
    made.protocol = "2"
    made.region_header = b"cdg"
    made.timing_header = b'app;dur=1.5, db;dur=2.5;desc="2", replay;desc="syd;captured"'
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def recorder() -> tuple[Recorder, list[dict[str, Any]]]:
    """Return a recorder and the list that its chunks land in."""
    chunks: list[dict[str, Any]] = []
    made = Recorder(("single", "replica"), ("recipes",), chunks.append)
    made.begin(EPOCH_NS)
    return made, chunks


def batch(seq: int = 0, rows: int = 10, first: int | None = None) -> dict[str, Any]:
    """Return a numbered batch as a worker sends it."""
    made, chunks = recorder()
    for number in range(rows):
        made.record(sample(number))
    made.flush()
    first_row = seq * rows if first is None else first
    return {**chunks[0], "seq": seq, "first_row": first_row}
