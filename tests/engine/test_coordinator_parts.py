"""The coordinator's parts: roster, collector, API; no socket, no worker."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import gevent
import pytest
from engine_rig import order
from engine_rows import batch

from loadtest.clock import FakeClock, SystemClock
from loadtest.engine.coordinator import metrics
from loadtest.engine.coordinator.api import MAX_BODY_BYTES, CoordinatorApi, CoordinatorApiError
from loadtest.engine.coordinator.collector import Collector
from loadtest.engine.coordinator.conductor import SegmentConductor
from loadtest.engine.coordinator.live_cells import CellFigures
from loadtest.engine.coordinator.metrics import family, metrics_text
from loadtest.engine.coordinator.roster import Roster
from loadtest.engine.coordinator.run_workers import RunWorkers
from loadtest.engine.wire.clocksync import Timeline
from loadtest.engine.wire.messages import ReadyMessage, spoken
from loadtest.engine.wire.protocol import CurveKeys, curve_keys, port_number, seconds, split_address
from loadtest.errors import EngineError, RecordsError
from loadtest.frozen import Signed
from loadtest.plan.order import parse_order
from loadtest.records.facts import ClockFacts, SelfCheckFacts
from loadtest.records.load_status import LiveFigures, PresentWorker
from loadtest.records.writer import Work
from loadtest.units import NS_PER_S

READY = ReadyMessage(
    SelfCheckFacts(n=120, bias_p50_us=8.0, bias_p99_us=45.0, clock="kernel"),
    ClockFacts(Signed(12.0), uncertainty_us=180.0, bound_us=200.0, exchanges=20),
)
HELLO = {
    "protocol": 1,
    "name": "m1-abcd",
    "region": "syd",
    "state": "idle",
    "versions": {"loadtest": "1.2"},
}


def test_the_roster_knows_who_is_present_and_who_fell_silent() -> None:
    clock = FakeClock()
    roster = Roster(clock.monotonic_ns, version="1.2")
    roster.hello("id-1", HELLO)
    assert [entry.name for entry in roster.present("syd")] == ["m1-abcd"]
    assert roster.present("cdg") == []
    clock.advance(13 * NS_PER_S)
    assert roster.silent("id-1")
    roster.heard("id-1")
    assert not roster.silent("id-1")
    clock.advance(200 * NS_PER_S)
    assert roster.present() == []
    assert roster.entries == {}


@pytest.mark.parametrize("bad", [{}, {"name": 1}, {"name": "x", "region": None}, {"name": ""}])
def test_a_senseless_introduction_changes_nothing(bad: dict[str, Any]) -> None:
    roster = Roster(FakeClock().monotonic_ns, version="1.2")
    roster.hello("id-1", bad)
    assert roster.entries == {}


def test_a_worker_of_another_protocol_is_refused_with_the_reason() -> None:
    roster = Roster(FakeClock().monotonic_ns, version="1.2")
    roster.hello("id-1", {**HELLO, "protocol": 99})
    assert roster.entries == {}
    assert "same version" in roster.refused["m1-abcd"]


@pytest.mark.parametrize("told", [{"loadtest": "1.1"}, {}, None], ids=["another", "none", "no map"])
def test_a_worker_of_another_version_is_refused_as_long_as_it_asks(told: Any) -> None:
    clock = FakeClock()
    roster = Roster(clock.monotonic_ns, version="1.2")
    roster.hello("id-1", {**HELLO, "versions": told})
    assert roster.entries == {}
    version = "1.1" if told else "of an unknown version"
    assert f"(syd) runs loadtest {version}, the coordinator 1.2" in roster.refused["m1-abcd"]
    clock.advance(13 * NS_PER_S)
    assert roster.refused == {}


def test_batches_are_taken_once_and_counted() -> None:
    collector = Collector()
    assert collector.take("w", "syd", batch(0))
    assert collector.take("w", "syd", batch(2))
    assert collector.take("w", "syd", batch(0))
    assert collector.take("w", "syd", batch(1))
    collector.flush()
    state = collector.received["w"]
    assert (state.rows, state.merged, state.duplicates, state.below) == (30, 30, 1, 3)
    assert collector.rows_merged == 30
    (cell,) = collector.live.table()
    assert cell.total == LiveFigures(30, 0, 50.0, 50.0)
    collector.close()


def test_what_is_watched_counts_on_and_has_a_slice_of_its_own() -> None:
    clock = FakeClock(10 * NS_PER_S)
    collector = Collector(monotonic_ns=clock.monotonic_ns)
    for number in range(2):
        assert collector.take("w", "syd", batch(number))
        clock.advance(2 * NS_PER_S)
        collector.flush()
    (cell,) = collector.live.table()
    assert (cell.total.n, cell.recent.n) == (20, 10)
    assert (collector.live.slices, collector.live.slice_s) == (2, 2.0)
    clock.advance(60 * NS_PER_S)  # a look of the gate is no slow second
    assert collector.take("w", "syd", batch(2))
    clock.advance(NS_PER_S)
    collector.flush()
    assert collector.live.slice_s == 1.0
    collector.close()


def test_a_failure_counts_as_an_answer_that_never_came() -> None:
    figures = CellFigures()
    assert figures.percentile_ms(50) is None
    figures.add(10, 4, dict.fromkeys(range(1_000, 7_000, 1_000), 1))
    assert figures.percentile_ms(50) == pytest.approx(5.0, rel=0.01)
    assert figures.percentile_ms(95) is None


def test_metrics_are_what_prometheus_reads() -> None:
    clock = SystemClock()
    run = SegmentConductor(
        parse_order(order(("cdg",), "http://127.0.0.1:9")),
        Roster(clock.monotonic_ns),
        send=lambda *_: None,
        spawn_drivers=lambda: None,
        timeline=Timeline(clock),
        call=lambda work: work(),
    )
    assert run.collector.take("w", "cdg", batch(0))
    run.collector.flush()
    text = metrics_text(run)
    labels = '{region="cdg",deployment="single"}'
    for line in (
        f"loadtest_requests_total{labels} 10",
        f"loadtest_errors_total{labels} 0",
        "# TYPE loadtest_ttfb_seconds histogram",
        'loadtest_ttfb_seconds_bucket{region="cdg",deployment="single",le="0.04"} 0',
        'loadtest_ttfb_seconds_bucket{region="cdg",deployment="single",le="0.06"} 10',
        'loadtest_ttfb_seconds_bucket{region="cdg",deployment="single",le="+Inf"} 10',
        f"loadtest_ttfb_seconds_count{labels} 10",
    ):
        assert line in text.splitlines()
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert told == set(re.findall(r"^\| (loadtest_\w+) \|", str(metrics.__doc__), re.MULTILINE))
    run.collector.close()


def test_a_label_holds_whatever_a_name_is() -> None:
    (_, _, line) = family("m", "gauge", "Words.", [("", {"a": 'x"\\\n'}, 0.5)])
    assert line == 'm{a="x\\"\\\\\\n"} 0.5'


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1},
        {"seq": "0"},
        {"rows": 0},
        {"rows": 10**9},
        {"first_row": -5},
        {"columns": {}},
        {"columns": None},
        {"words": {}},
        {"rows": "ten"},
    ],
    ids=str,
)
def test_a_senseless_batch_is_refused_and_not_acknowledged(change: dict[str, Any]) -> None:
    collector = Collector()
    assert not collector.take("w", "syd", {**batch(0), **change})
    assert collector.refused == 1
    assert collector.take("w", "syd", batch(0))


def test_a_worker_that_is_ready_is_not_taken_for_running() -> None:
    """Its last word on itself may come from the segment before; it would never be told to start."""
    roster = Roster(FakeClock().monotonic_ns, version="1.2")
    roster.hello("id-1", {**HELLO, "state": "running"})
    workers = RunWorkers("r1", Collector(), roster, lambda *_: None)
    workers.gather(1, {"syd": roster.present("syd")}, wanted=1)
    ready = spoken({"run_id": "r1", "segment": 1}, READY)
    workers.on_ready("id-1", {**ready, "segment": 0})
    (member,) = workers.active()
    assert (member.state, member.entry.state) == ("asked", "running")
    workers.on_ready("id-1", ready)
    assert (member.state, member.entry.state) == ("ready", "ready")


@pytest.mark.parametrize("key", ["self_check", "clock"])
def test_a_worker_that_cannot_be_understood_fails_the_run_by_name(key: str) -> None:
    roster = Roster(FakeClock().monotonic_ns, version="1.2")
    roster.hello("id-1", HELLO)
    workers = RunWorkers("r1", Collector(), roster, lambda *_: None)
    workers.gather(0, {"syd": roster.present("syd")}, wanted=1)
    ready = spoken({"run_id": "r1", "segment": 0}, READY)
    ready["other"] = ready.pop(key)
    workers.on_ready("id-1", ready)
    with pytest.raises(EngineError, match=rf"m1-abcd \(syd\): ReadyMessage\.{key}: missing"):
        workers.wait(0.0)


def test_a_part_that_cannot_be_stored_keeps_its_rows_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that has room again gets them; a broken run keeps what it measured."""
    collector = Collector()
    assert collector.take("w", "syd", batch(0))

    def full(**_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tempfile.TemporaryFile", full)
        with pytest.raises(RecordsError, match="No space left on device"):
            collector.flush()
    assert collector.take("w", "syd", batch(1))
    assert collector.received["w"].merged == 0
    collector.flush()
    assert collector.received["w"].merged == collector.rows_merged == 20
    collector.close()


def test_a_run_that_ends_while_a_part_is_written_keeps_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loadtest.engine.coordinator.conductor.PART_EVERY_S", 0.0)
    outcomes: list[str] = []

    def write(work: Work) -> Any:
        """Take until the run has come to its end, and a moment longer."""
        run.stop_asked.set()
        while not run.digests:
            gevent.sleep(0.001)
        gevent.sleep(0.001)
        outcomes.append("written")
        return work()

    clock = SystemClock()
    run = SegmentConductor(
        parse_order(order(("cdg",), "http://127.0.0.1:9")),
        Roster(clock.monotonic_ns),
        send=lambda *_: None,
        spawn_drivers=lambda: None,
        timeline=Timeline(clock),
        call=write,
    )
    assert run.collector.take("w", "cdg", batch(0))
    run.conduct()
    assert (run.state, outcomes) == ("stopped", ["written"])
    assert run.collector.received["w"].merged == run.collector.rows_merged == 10
    run.collector.close()


class FakeDesk:
    run = None
    version = "1.2"

    def refused(self) -> dict[str, str]:
        return {"m2": "runs another version"}

    def __init__(self) -> None:
        self.accepted: list[Any] = []

    def workers(self) -> tuple[PresentWorker, ...]:
        return (PresentWorker("m1", "syd", "idle"),)

    def accept(self, order: Any) -> Any:
        if self.accepted:
            raise CoordinatorApiError(409, "run r1 is in state steady")
        self.accepted.append(order)
        return order


def call(method: str, path: str, body: bytes = b"", token: str = "secret") -> tuple[int, Any]:
    return call_app(CoordinatorApi(FakeDesk(), "secret"), method, path, body, token)


def call_app(
    app: CoordinatorApi, method: str, path: str, body: bytes = b"", token: str = "secret"
) -> tuple[int, Any]:
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    content = b"".join(app(environ, lambda status, _headers: said.append(status)))
    return int(said[0].split()[0]), json.loads(content)


def test_the_token_guards_everything_but_health() -> None:
    assert call("GET", "/healthz", token="wrong") == (200, {"status": "ok"})
    for path in ("/v1/status", "/v1/runs/r1", "/metrics", "/nowhere"):
        status, content = call("GET", path, token="wrong")
        assert status == 401
        assert "Bearer" in content["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/nowhere", b"", 404, "no such resource"),
        ("PUT", "/v1/status", b"", 405, "allowed: GET"),
        ("GET", "/v1/runs/r9", b"", 404, "no run r9"),
        ("POST", "/v1/runs/r9/stop", b"", 404, "no run r9"),
        ("POST", "/v1/runs", b"{", 400, "no JSON"),
        ("POST", "/v1/runs", b"{}", 422, "run_id: Field required"),
        ("POST", "/v1/runs", b" " * (MAX_BODY_BYTES + 1), 413, "bytes"),
    ],
)
def test_a_wrong_request_gets_a_sentence(
    method: str, path: str, body: bytes, status: int, words: str
) -> None:
    answered, content = call(method, path, body)
    assert answered == status
    assert words in content["error"]


def test_an_order_is_accepted_once() -> None:
    app = CoordinatorApi(FakeDesk(), "secret")
    body = json.dumps(order(("cdg",), "http://127.0.0.1:1")).encode()
    assert call_app(app, "POST", "/v1/runs", body) == (201, {"run_id": "r1", "segment": 0})
    status, content = call_app(app, "POST", "/v1/runs", body)
    assert (status, content["error"]) == (409, "run r1 is in state steady")


def test_settings_are_read_from_the_environment_with_clear_faults() -> None:
    keys = {
        "LOADTEST_CURVE_SERVER_PUBLIC": "a" * 40,
        "LOADTEST_CURVE_CLIENT_PUBLIC": "b" * 40,
        "LOADTEST_CURVE_CLIENT_SECRET": "c" * 40,
    }
    assert curve_keys("CLIENT", keys) == CurveKeys("a" * 40, "b" * 40, "c" * 40)
    assert "ccc" not in repr(curve_keys("CLIENT", keys))
    with pytest.raises(EngineError, match="LOADTEST_CURVE_SERVER_SECRET is not set"):
        curve_keys("SERVER", keys)
    with pytest.raises(EngineError, match="neither 64 hex digits nor a Z85 key"):
        curve_keys("CLIENT", {**keys, "LOADTEST_CURVE_CLIENT_SECRET": "short"})
    assert split_address("COORDINATOR", "[fd00::2]:5557") == ("[fd00::2]", 5557)
    assert seconds("X", 12.0, {"X": "3.5"}) == 3.5
    for wrong in ("nonsense", "host:", ":5557", "host:99999"):
        with pytest.raises(EngineError, match="COORDINATOR"):
            split_address("COORDINATOR", wrong)
    for wrong in ("0", "x", "-1"):
        with pytest.raises(EngineError, match="seconds"):
            seconds("X", 12.0, {"X": wrong})
    with pytest.raises(EngineError, match="allowed is 1 to 65535"):
        port_number("PORT", "0")
