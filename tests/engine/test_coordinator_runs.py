"""A real coordinator and real workers on loopback: rows, reconciliation, and what may go wrong."""

from __future__ import annotations

import io
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pyarrow.parquet as pq
import pytest
import zmq
from engine_relay import Relay
from engine_rig import SCENARIO, Rig, order, until

from loadtest.records.schema import RECORDS

pytestmark = pytest.mark.contract

LONGER = {"rate": 40, "duration_s": 3, "warmup_s": 0.5}
"""280 rows in each region: time enough for something to happen on the way."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One coordinator, workers in two regions, one target: shared by the tests that only run."""
    folder: Path = tmp_path_factory.mktemp("rig")
    (folder / "scenario.py").write_text(SCENARIO)
    (folder / "broken.py").write_text("x = 1\nfrom nowhere import thing\n")
    made = Rig(folder)
    try:
        made.coordinator()
        made.worker("cdg")
        made.worker("syd")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def url(rig: Rig) -> str:
    return rig.target()


@pytest.fixture
def own_rig(tmp_path: Path) -> Iterator[Rig]:
    """A rig of its own, for a test that breaks it."""
    (tmp_path / "scenario.py").write_text(SCENARIO)
    made = Rig(tmp_path)
    try:
        yield made
    finally:
        made.close()


def rows_of(rig: Rig, run_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for part in rig.parts(run_id):
        table = pq.read_table(io.BytesIO(part))
        assert table.schema.equals(RECORDS, check_metadata=True)
        rows += table.to_pylist()
    return rows


def submit(rig: Rig, body: dict[str, Any]) -> None:
    status, content = rig.call("POST", "/v1/runs", body)
    assert status == 201, content


def reach(rig: Rig, run_id: str, *states: str) -> Any:
    def reached() -> Any:
        status = rig.run_status(run_id)
        assert status["state"] != "failed", status["error"]
        return status if status["state"] in states else None

    return until(reached, f"run {run_id} is in {states}")


def test_a_run_and_its_second_segment(rig: Rig, url: str) -> None:
    """Every arrival is a row, every row arrives, and the second segment counts on."""
    submit(rig, order(("cdg", "syd"), url, "two"))
    assert rig.call("POST", "/v1/runs", order(("cdg",), url, "other"))[0] == 409
    status = rig.wait_final("two")
    assert (status["state"], status["error"]) == ("done", "")
    report = rig.get("/v1/runs/two/engine")
    (segment,) = report["segments"]
    assert segment == {"segment": 0, "blocks": 5}

    wrong = order(("cdg", "syd"), url, "two", segment=2)
    code, content = rig.call("POST", "/v1/runs", wrong)
    assert (code, "expected is 1" in content.decode()) == (422, True)
    again = order(("cdg", "syd"), url, "two", segment=1)
    submit(rig, {**again, "first_block": 5})
    rig.wait_final("two")

    rows = rows_of(rig, "two")
    assert len(rows) == 2 * 2 * (100 + 80)
    assert {row["error"] for row in rows} == {""}
    cells = Counter((row["region"], row["deployment"], row["stage"]) for row in rows)
    for region in ("cdg", "syd"):
        for arm in ("a", "b"):
            assert cells[(region, arm, "warm-up")] == 20
            assert cells[(region, arm, "steady")] == 160
        mine = [row for row in rows if row["region"] == region]
        assert sorted(row["row"] for row in mine) == list(range(360))
        assert len({row["arrival"] for row in mine}) == 360
        assert {row["block"] for row in mine} == set(range(9))
    steady = [row for row in rows if row["reused"]]
    assert all(row["wait_us"] >= 3_000 for row in steady)
    assert {(row["db_round_trips"], row["db_us"], row["served_by"]) for row in rows} == {
        (2, 2_500, "cdg")
    }

    report = rig.get("/v1/runs/two/engine")
    assert report["state"] == "done"
    assert [segment["blocks"] for segment in report["segments"]] == [5, 4]
    assert report["schedule"]["arrivals"] == 720
    for worker in report["workers"]:
        counts = {"scheduled": 360, "sent": 360, "received": 360, "merged": 360, "missing": 0}
        assert (worker["state"], worker["rows"]) == ("finished", counts)
        assert worker["self_check"]["n"] > 0
        assert worker["clock"]["exchanges"] >= 8
        assert worker["timeline"]
        assert worker["health"]["dropped"] == 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed on Linux only")
def test_encryption_runs_behind_the_measurement(rig: Rig) -> None:
    """A worker's ZeroMQ threads have a lower priority than its main thread."""
    worker = rig.processes[1]

    def priorities() -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for task in Path(f"/proc/{worker.pid}/task").iterdir():
            kind = "zmq" if (task / "comm").read_text().startswith("ZMQbg") else "other"
            found.setdefault(kind, set()).add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
        return found

    before = os.getpriority(os.PRIO_PROCESS, 0)
    until(lambda: priorities() == {"zmq": {min(before + 10, 19)}, "other": {before}}, "it is so")


def test_the_api_refuses_with_a_sentence(rig: Rig, url: str) -> None:
    assert rig.call("GET", "/v1/status", token="wrong")[0] == 401
    assert rig.call("POST", "/v1/runs", b"{")[0] == 400
    body = order(("cdg",), url, "x")
    del body["targets"]["cdg"]["b"]
    status, content = rig.call("POST", "/v1/runs", body)
    assert (status, json.loads(content)["error"]) == (422, "order: targets.cdg: missing b")
    assert rig.call("GET", "/v1/runs/none")[0] == 404
    assert {worker["region"] for worker in rig.get("/v1/status")["workers"]} == {"cdg", "syd"}


def test_stop_ends_the_load_and_keeps_what_was_measured(rig: Rig, url: str) -> None:
    submit(rig, order(("cdg", "syd"), url, "stopped", load={"duration_s": 60}))
    reach(rig, "stopped", "steady")
    assert rig.call("POST", "/v1/runs/stopped/stop")[0] == 202
    status = rig.wait_final("stopped", 15)
    assert status["state"] == "stopped"
    rows = rows_of(rig, "stopped")
    assert 0 < len(rows) < 2_000
    for worker in rig.get("/v1/runs/stopped/engine")["workers"]:
        assert worker["state"] == "stopped"
        assert worker["rows"]["missing"] == 0
        assert worker["rows"]["merged"] == worker["rows"]["sent"] > 0


def test_a_run_that_cannot_start_fails_with_the_reason(rig: Rig, url: str) -> None:
    """A scenario with a fault names file and line; a biased client stops the run."""
    submit(rig, order(("cdg",), url, "broken", scenario="broken.py"))
    status = rig.wait_final("broken")
    assert status["state"] == "failed"
    assert "broken.py, line 2: ModuleNotFoundError" in status["error"]
    assert "(cdg)" in status["error"]

    submit(rig, order(("cdg",), url, "biased", generator={"self_check_bias_ms": 0}))
    status = rig.wait_final("biased")
    assert status["state"] == "failed"
    assert "self_check_bias_ms" in status["error"]

    submit(rig, order(("cdg",), url, "fine", load={"duration_s": 0.5}))
    assert rig.wait_final("fine")["state"] == "done"


def test_a_target_that_is_away_makes_rows_not_failures(rig: Rig) -> None:
    submit(rig, order(("syd",), "http://127.0.0.1:1", "away", load={"duration_s": 0.25}))
    assert rig.wait_final("away")["state"] == "done"
    rows = rows_of(rig, "away")
    assert {row["error"] for row in rows} == {"connect-refused"}
    assert len(rows) == 80
    (worker,) = rig.get("/v1/runs/away/engine")["workers"]
    assert sum(example["count"] for example in worker["failures"]) == 80
    assert {example["kind"] for example in worker["failures"]} == {"connect-refused"}


def test_the_closed_model_runs_too(rig: Rig, url: str) -> None:
    load = {"model": "closed", "users": 2, "duration_s": 1}
    submit(rig, order(("cdg",), url, "closed", load=load))
    assert rig.wait_final("closed")["state"] == "done"
    rows = rows_of(rig, "closed")
    assert {row["deployment"] for row in rows} == {"a", "b"}
    assert max(row["queue_us"] for row in rows if row["reused"]) < 1_000_000


def dealer(rig: Rig, server: str, keys: tuple[bytes, bytes] | None) -> Any:
    context = zmq.Context()
    sock = context.socket(zmq.DEALER)
    sock.setsockopt(zmq.LINGER, 0)
    sock.setsockopt(zmq.IDENTITY, b"intruder")
    if keys is not None:
        sock.setsockopt(zmq.CURVE_SERVERKEY, server.encode())
        sock.setsockopt(zmq.CURVE_PUBLICKEY, keys[0])
        sock.setsockopt(zmq.CURVE_SECRETKEY, keys[1])
    sock.connect(f"tcp://127.0.0.1:{rig.locust_port}")
    return sock


def close(sock: Any) -> None:
    context = sock.context
    sock.close()
    context.term()


def test_only_the_right_key_is_heard(rig: Rig) -> None:
    """No key, a key of one's own, and the right one: only the last becomes a worker."""
    server = rig.keys["LOADTEST_CURVE_SERVER_PUBLIC"]
    right = (
        rig.keys["LOADTEST_CURVE_CLIENT_PUBLIC"].encode(),
        rig.client_secret["LOADTEST_CURVE_CLIENT_SECRET"].encode(),
    )
    ready = msgpack.packb(("client_ready", "2.47.0", "intruder"))
    for keys, heard in ((None, False), (zmq.curve_keypair(), False), (right, True)):
        sock = dealer(rig, server, keys)
        sock.send(ready)
        assert (sock.poll(1_500 if heard else 400) != 0) == heard
        close(sock)


def test_no_message_stops_the_coordinator(rig: Rig, url: str) -> None:
    """Nonsense under the right key, before and in the middle of a run: the run does not notice."""
    right = (
        rig.keys["LOADTEST_CURVE_CLIENT_PUBLIC"].encode(),
        rig.client_secret["LOADTEST_CURVE_CLIENT_SECRET"].encode(),
    )
    sock = dealer(rig, rig.keys["LOADTEST_CURVE_SERVER_PUBLIC"], right)
    nonsense: list[Any] = [
        ("lt-hello", {"name": [], "region": {}, "protocol": 1}, "intruder"),
        ("lt-batch", {"run_id": "noise", "segment": 0, "seq": "x"}, "intruder"),
        ("lt-clock", {"t1": "now"}, "intruder"),
        ("lt-fin", {}, "intruder"),
        ("lt-ready", {"run_id": "noise", "segment": 0}, "intruder"),
        ("heartbeat", None, "intruder"),
        ("stats", {"stats": [1], "stats_total": {}, "user_classes_count": {}}, "intruder"),
        ("spawning_complete", {"user_classes_count": {}, "user_count": -1}, "intruder"),
        ("client_stopped", None, "intruder"),
    ]
    submit(rig, order(("cdg", "syd"), url, "noise"))
    for round_ in range(20):
        sock.send(b"\x05")
        sock.send(b"")
        sock.send(bytes(range(256)))
        sock.send_multipart([b"a", b"b", b"c"])
        for message in nonsense:
            sock.send(msgpack.packb(message))
        if round_ == 10:
            reach(rig, "noise", "steady")
    status = rig.wait_final("noise")
    close(sock)
    assert (status["state"], status["rows"]) == ("done", 400)


def test_a_killed_worker_costs_its_region_alone(own_rig: Rig) -> None:
    """Its acknowledged rows are kept; the other region is whole; a new one gets no load."""
    own_rig.start(
        "coordinator",
        *("-m", "loadtest.engine.coordinator.main"),
        PORT=str(own_rig.port),
        LOCUST_PORT=str(own_rig.locust_port),
        LOADTEST_TOKEN="token-of-the-rig",
        LOADTEST_LOST_AFTER_S="2.5",
        **own_rig.keys,
        **own_rig.server_secret,
    )
    until(lambda: own_rig.try_call("GET", "/healthz")[0] == 200, "coordinator answers")
    own_rig.worker("cdg")
    victim = own_rig.worker("syd")
    submit(own_rig, order(("cdg", "syd"), own_rig.target(), "kill", load=LONGER))
    until(lambda: own_rig.run_status("kill")["rows"] > 100, "rows are merged")
    victim.send_signal(signal.SIGKILL)
    own_rig.worker("syd", "m-syd-again")
    status = own_rig.wait_final("kill")
    assert status["state"] == "done"

    workers = {w["region"]: w for w in own_rig.get("/v1/runs/kill/engine")["workers"]}
    assert len(workers) == 2
    assert workers["cdg"]["state"] == "finished"
    assert workers["cdg"]["rows"]["merged"] == 280
    assert workers["syd"]["state"] == "lost"
    rows = own_rig.get("/v1/runs/kill")["rows"]
    assert 280 < rows < 560
    assert workers["syd"]["rows"]["merged"] == rows - 280


@pytest.mark.parametrize("how", ["held", "snapped"])
def test_a_broken_link_loses_no_row(own_rig: Rig, how: str) -> None:
    """The link to one worker stands still, or snaps, in mid-run: everything arrives, once."""
    own_rig.coordinator()
    relay = Relay(own_rig.locust_port)
    try:
        own_rig.worker("cdg")
        own_rig.worker("syd", port=relay.port)
        submit(own_rig, order(("cdg", "syd"), own_rig.target(), "cut", load=LONGER))
        reach(own_rig, "cut", "steady")
        relay.hold()
        if how == "snapped":
            relay.snap()
        until(lambda: own_rig.run_status("cut")["elapsed_s"] > 2.5, "time goes by")
        relay.let_go()
        status = own_rig.wait_final("cut")
    finally:
        relay.close()
    assert status["state"] == "done"
    rows = rows_of(own_rig, "cut")
    assert len(rows) == 560
    assert len({(row["worker"], row["row"]) for row in rows}) == 560
    assert {w["state"] for w in status["workers"]} == {"finished"}


def test_processes_end_promptly(own_rig: Rig) -> None:
    """SIGTERM ends both at once; a worker gives up when its coordinator is gone."""
    coordinator = own_rig.coordinator()
    worker = own_rig.worker("cdg", LOADTEST_ORPHANED_AFTER_S="2")
    other = own_rig.worker("syd")
    until(lambda: len(own_rig.get("/v1/status")["workers"]) == 2, "workers are there")
    other.terminate()
    assert other.wait(3) == 128 + signal.SIGTERM
    coordinator.terminate()
    assert coordinator.wait(3) == 128 + signal.SIGTERM
    assert worker.wait(10) == 15
    assert "is gone" in own_rig.log("worker-cdg")


@pytest.mark.parametrize(
    ("module", "change", "words"),
    [
        ("coordinator", {"LOADTEST_TOKEN": ""}, "LOADTEST_TOKEN is not set"),
        ("coordinator", {"LOCUST_PORT": "x"}, "LOCUST_PORT: 'x' is no port"),
        ("worker", {"COORDINATOR": "nowhere"}, "COORDINATOR: 'nowhere' is no address"),
        ("worker", {"FLY_REGION": ""}, "FLY_REGION is not set"),
    ],
)
def test_a_wrong_environment_is_one_sentence(
    own_rig: Rig, module: str, change: dict[str, str], words: str
) -> None:
    environment = {
        "PORT": "8080",
        "LOCUST_PORT": "5557",
        "LOADTEST_TOKEN": "t",
        "COORDINATOR": "127.0.0.1:5557",
        "FLY_REGION": "cdg",
        **own_rig.keys,
        **own_rig.server_secret,
        **own_rig.client_secret,
        **change,
    }
    process = own_rig.start("it", "-m", f"loadtest.engine.{module}.main", **environment)
    assert process.wait(20) == 15
    log = own_rig.log("it")
    assert words in log
    assert "Traceback" not in log
