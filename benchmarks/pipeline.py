"""
How many rows a second get from a worker through the coordinator into Parquet, and what they weigh.

    python benchmarks/pipeline.py --rows 1000000 --workers 2 [--one-core] [--keep DIR]

Workers are processes that record made-up samples of a plain steady load as fast as they can,
through the real recorder, shipper and encrypted connection; this process is the coordinator's real
receiving side.  Every row is counted at the end, in the file that is read back.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SERVER_KEYS = ("LOADTEST_CURVE_SERVER_PUBLIC", "LOADTEST_CURVE_SERVER_SECRET")
CLIENT_KEYS = ("LOADTEST_CURVE_CLIENT_PUBLIC", "LOADTEST_CURVE_CLIENT_SECRET")
LIMIT_S = 900


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def produce(port: int, rows: int, rate: float) -> None:
    """Be one worker: record, encode, ship, wait for the last acknowledgement; print the costs."""
    import gevent
    from locust.rpc.protocol import Message

    from loadtest.engine.wire.protocol import BATCH, curve_keys
    from loadtest.engine.wire.secure_rpc import SecureClient
    from loadtest.engine.worker.recorder import Recorder
    from loadtest.engine.worker.shipping import Shipper

    name = f"w{os.getpid()}"
    client = SecureClient("127.0.0.1", port, name, curve_keys("CLIENT"))
    shipper = Shipper(
        lambda batch: client.send(Message(BATCH, batch, name))  # type: ignore[no-untyped-call]
    )
    recorder = Recorder(
        ("single", "replica"),
        ("recipes",),
        lambda chunk: shipper.add(chunk, time.monotonic_ns()),
    )

    def hear() -> None:
        while True:
            told = client.recv().data  # type: ignore[no-untyped-call]
            shipper.acknowledge(told["numbers"], time.monotonic_ns())

    gevent.spawn(hear)
    recorder.begin(1)
    work = record_rows(recorder, rows, rate)
    while next(work, None) is not None:
        while shipper.held_bytes > 8 << 20:
            gevent.sleep(0.001)
        gevent.sleep(0)
    recorder.flush()
    while not shipper.drained:
        shipper.resend(time.monotonic_ns())
        gevent.sleep(0.01)
    spent = cpu_s()
    sys.stdout.write(f"{recorder.rows} {spent} {shipper.resends} {shipper.lost_rows} {rss_mb()}\n")


def record_rows(recorder: Any, rows: int, rate: float) -> Any:
    """Record rows of a constant rate with believable jitter; yield now and then."""
    from loadtest.engine.client.sample import RequestSample

    draw = random.Random(os.getpid())
    gap_ns = int(1e9 / rate)
    waits = [int(draw.gauss(46e6, 150e3)) for _ in range(4_096)]
    lates = [draw.randrange(20_000, 90_000) for _ in range(4_093)]
    sample = RequestSample("GET /recipes", "GET", 0)
    sample.kernel = sample.reused = True
    sample.status, sample.bytes, sample.region_header = 200, 1_200, b"cdg"
    for number in range(rows):
        due = number * gap_ns + 1
        start = sample.start_ns = due + lates[number % 4_093]
        sample.intended_ns = due
        sample.send_ns = 15_000 + (start & 0x3FFF)
        sent = sample.sent_ns = start + sample.send_ns
        first = sample.first_ns = sent + waits[number % 4_096]
        sample.first_user_ns = first + 40_000 + (start & 0x3FFF)
        sample.last_ns = sample.first_user_ns + 5_000
        sample.context = (number, number // 2_000, 1, number & 1, 0, due // 1_000)
        recorder.record(sample)
        if number % 4_096 == 0:
            yield number


def collect(port: int, expected: int, ready: Callable[[], None]) -> dict[str, Any]:
    """Be the coordinator's receiving side until every row is in a part."""
    import gevent
    from locust.rpc.protocol import Message

    from loadtest.engine.coordinator.collector import Collector
    from loadtest.engine.wire.protocol import ACK, curve_keys
    from loadtest.engine.wire.secure_rpc import SecureServer

    server = SecureServer("127.0.0.1", port, curve_keys("SERVER"))
    pool = gevent.get_hub().threadpool
    collector = Collector(pool.apply)
    state: dict[str, Any] = {"rows": 0, "peak_mb": 0.0, "first": 0.0}

    def receive() -> None:
        while state["rows"] < expected:
            client_id, message = server.recv_from_client()
            state["first"] = state["first"] or time.monotonic()
            batch = message.data
            if collector.take(client_id, "cdg", batch):
                ack = {"numbers": [batch["seq"]]}
                server.send_to_client(Message(ACK, ack, client_id))  # type: ignore[no-untyped-call]
                state["rows"] = sum(r.rows for r in collector.received.values())

    receiver = gevent.spawn(receive)
    ready()
    cpu_before, end = cpu_s(), time.monotonic() + LIMIT_S
    while not receiver.ready() and time.monotonic() < end:
        gevent.sleep(0.05)
        if collector.full:
            collector.flush()
        state["peak_mb"] = max(state["peak_mb"], rss_mb())
    collector.flush()
    state["elapsed"] = time.monotonic() - state["first"]
    state["cpu"] = cpu_s() - cpu_before
    state["merged"] = collector.rows_merged
    state["duplicates"] = sum(r.duplicates for r in collector.received.values())
    state["collector"] = collector
    gevent.sleep(0.1)  # the last acknowledgements leave
    return state


def run(arguments: argparse.Namespace, folder: Path) -> None:
    import socket

    import zmq

    from loadtest.records.folder import RunFolder
    from loadtest.records.reader import read_records

    for names in (SERVER_KEYS, CLIENT_KEYS):
        os.environ.update(zip(names, (key.decode() for key in zmq.curve_keypair()), strict=True))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    share = arguments.rows // arguments.workers
    total = share * arguments.workers
    workers: list[subprocess.Popen[str]] = []

    def start_workers() -> None:
        command = [sys.executable, __file__, "--producer", str(port), "--rows", str(share)]
        for _ in range(arguments.workers):
            workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))

    try:
        state = collect(port, total, start_workers)
        outputs = [worker.communicate(timeout=60)[0].split() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    began = time.monotonic()
    run_folder = RunFolder.create(folder / "run")
    for part in state["collector"].parts:
        (run_folder.parts / part.name).write_bytes(part.read())
    run_folder.merge_parts()
    merge_s = time.monotonic() - began
    size = run_folder.records.stat().st_size
    began = time.monotonic()
    read = read_records(run_folder.records).num_rows
    report(arguments, total, state, outputs, (merge_s, size, time.monotonic() - began, read))


def report(
    arguments: argparse.Namespace,
    total: int,
    state: dict[str, Any],
    outputs: list[list[str]],
    stored: tuple[float, int, float, int],
) -> None:
    merge_s, size, read_s, read = stored
    worker_cpu = sum(float(output[1]) for output in outputs)
    cpu = state["cpu"] + worker_cpu
    lines = {
        "rows": f"{total:,} by {arguments.workers} workers"
        + (", everything on one core" if arguments.one_core else ""),
        "rows lost": f"{total - read:,} ({sum(int(o[3]) for o in outputs)} given up)",
        "through the pipe": f"{total / state['elapsed']:,.0f} rows/s in {state['elapsed']:.1f} s",
        "worker: record, encode, ship": f"{worker_cpu / total * 1e6:.2f} us CPU per row",
        "coordinator: receive, decode, Parquet": f"{state['cpu'] / total * 1e6:.2f} us CPU per row",
        "coordinator alone could take": f"{total / state['cpu']:,.0f} rows/s of one core",
        "both on one core would take": f"{total / cpu:,.0f} rows/s",
        "resent, came twice": f"{sum(int(o[2]) for o in outputs)}, {state['duplicates']}",
        "memory: coordinator, worker": f"{state['peak_mb']:.0f} MB, "
        f"{max(float(o[4]) for o in outputs):.0f} MB",
        "on disk": f"{size / total:.2f} bytes per row",
        "merge parts, read back": f"{merge_s:.2f} s, {read_s:.2f} s",
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        print(f"{name:<{width}}  {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--rows", type=int, default=400_000, help="rows in all (to 10 000 000)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--one-core", action="store_true", help="pin everything to one core")
    parser.add_argument("--keep", type=Path, help="folder that keeps records.parquet")
    parser.add_argument("--producer", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.producer:
        produce(arguments.producer, arguments.rows, rate=20_000)
        return
    if arguments.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if arguments.keep:
        run(arguments, arguments.keep)
        return
    with tempfile.TemporaryDirectory(prefix="loadtest-pipeline-") as folder:
        run(arguments, Path(folder))


if __name__ == "__main__":
    main()
