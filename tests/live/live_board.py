"""A live board with a run on it, and its server, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.frozen import Signed
from loadtest.live.board import LiveBoard
from loadtest.live.server import LiveServer, serve_live
from loadtest.plan.resolve import load_plan
from loadtest.records.facts import MomentFacts
from loadtest.records.load_status import (
    CellStatus,
    FailureStatus,
    LiveFigures,
    LoadStatus,
    WorkerStatus,
)
from loadtest.records.watch import FaultFacts, LinkGlance, MachineEnd, WorldGlance

TOKEN = "a-token-of-16-or-more"
MOMENT = MomentFacts(Signed(1.0), 200, 0.1, 0.0, 300, 120, 3)


def status(number: int = 1, sentence: str = "HTTP 503") -> LoadStatus:
    figures = LiveFigures(10 * number, number, 76.2, None)
    return LoadStatus(
        run_id="r1",
        segment=0,
        state="steady",
        elapsed_s=2.0 * number,
        total_s=34.0,
        rows=10 * number,
        slice_number=number,
        slice_s=2.0,
        cells=(CellStatus("cdg", "multi", figures, figures),),
        workers=(WorkerStatus("w", "cdg", "running", 9, MOMENT),),
        failures=(FailureStatus("cdg", "multi", "GET /", "status", sentence, 3),),
        error="",
    )


def glance() -> WorldGlance:
    return WorldGlance(
        now_ms=3_000,
        links=(LinkGlance("cdg", "ord", 104.0, 104.1, 20, 0),),
        late_p99_us=100.0,
        events=(MachineEnd(1_500, "web", "cdg", "1", "exit", False, 137, True),),
        faults=(FaultFacts("cut ord-cdg", 2_000, 2_500, ("cdg-ord",), ()),),
    )


@contextmanager
def served() -> Iterator[tuple[LiveBoard, LiveServer]]:
    """Serve a board that a run has begun on."""
    board = LiveBoard()
    board.begin(load_plan(), "r1", lambda: b"loadtest_up 1\n")
    with serve_live(board, TOKEN, 0) as server:
        yield board, server
