"""
The worker process: ``python -m loadtest.engine.worker.main``.

A Locust worker that runs one pinned driver; the driver plays the orders that the coordinator sends.
Reads COORDINATOR (host:port), FLY_REGION, FLY_MACHINE_ID and the CURVE keys from its environment.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
from functools import partial
from typing import Any

import gevent
from gevent.queue import Queue
from locust import runners
from locust.env import Environment

from loadtest.clock import SystemClock
from loadtest.engine.wire import protocol
from loadtest.engine.wire.clocksync import ClockSync, Timeline
from loadtest.engine.wire.messages import FailedMessage, spoken
from loadtest.engine.wire.protocol import curve_keys, log_level, required, seconds, split_address
from loadtest.engine.wire.secure_rpc import secure_locust
from loadtest.engine.wire.worker_user import WorkerUser
from loadtest.engine.wire.zmq_threads import step_back
from loadtest.engine.worker.run_state import RunState
from loadtest.engine.worker.session import SegmentSession
from loadtest.errors import EXIT_ENGINE, LoadtestError
from loadtest.kernel.descriptors import raise_descriptor_limit
from loadtest.plan.order import RunOrder, parse_order
from loadtest.versions import versions_of

logger = logging.getLogger("loadtest.worker")

_FIRST_PINGS, _PING_EVERY_S = 8, 2.0


class Worker:
    """
    Answers the coordinator's messages.

    Args:
        runner: Locust's worker runner, connected.
        region: Region that this worker measures from.
        machine: Id of the machine it runs on; may be empty.
    """

    def __init__(self, runner: Any, region: str, machine: str) -> None:
        self._runner = runner
        self._region = region
        self.name = f"{machine or platform.node()}-{runner.client_id[-4:]}"
        self._timeline = Timeline(SystemClock())
        self._clocks = ClockSync()
        self._orders: Queue[tuple[RunOrder, tuple[int, int]]] = Queue()
        self._session: SegmentSession | None = None
        self._asked: dict[str, object] | None = None
        """Run and segment of the latest order taken on."""
        self._run: RunState | None = None
        self._failure: dict[str, object] | None = None
        for kind, handler in {
            protocol.PREPARE: self._on_prepare,
            protocol.CLOCK: self._on_clock,
            protocol.START: self._on_start,
            protocol.STOP: self._on_stop,
            protocol.ACK: self._on_ack,
            protocol.RELEASE: self._on_release,
        }.items():
            runner.register_message(kind, handler)
        gevent.spawn(self._beacon)
        gevent.spawn(self._ping)

    def play_orders(self) -> None:
        """Play order after order; never returns."""
        while True:
            order, share = self._orders.get()
            session = self._session = SegmentSession(
                order,
                share,
                region=self._region,
                send=self._send,
                clocks=self._clocks,
                timeline=self._timeline,
            )
            try:
                same_run = self._run is not None and self._run.run_id == order.run_id
                self._run = session.run(self._run if same_run else None)
            except LoadtestError as error:
                self._fail(session, str(error))
            except Exception as error:
                logger.exception("segment %s failed", session.key)
                self._fail(session, f"{type(error).__name__}: {error}")
            self._session = None

    def _fail(self, session: SegmentSession, sentence: str) -> None:
        """Tell the coordinator why this worker cannot; again whenever it asks."""
        self._failure = spoken(session.key, FailedMessage(sentence))
        self._send(protocol.FAILED, self._failure)

    def _send(self, kind: str, data: dict[str, object]) -> None:
        self._runner.send_message(kind, data)

    def _beacon(self) -> None:
        hello = {
            "protocol": protocol.PROTOCOL,
            "name": self.name,
            "region": self._region,
            "versions": versions_of(("loadtest", "locust")),
        }
        while True:
            state = self._session.state if self._session is not None else "idle"
            self._send(protocol.HELLO, {**hello, "state": state})
            gevent.sleep(protocol.REPEAT_S)

    def _ping(self) -> None:
        while True:
            self._send(protocol.CLOCK, {"t1": self._timeline.now_ns()})
            gevent.sleep(0.05 if len(self._clocks) < _FIRST_PINGS else _PING_EVERY_S)

    def _mine(self, msg: Any) -> SegmentSession | None:
        """Return the session that a message is about, None for an old or unknown one."""
        session = self._session
        if session is None:
            return None
        asked = {"run_id": msg.data.get("run_id"), "segment": msg.data.get("segment")}
        return session if session.key == asked else None

    def _on_prepare(self, msg: Any, **_: Any) -> None:
        asked = {"run_id": msg.data["run_id"], "segment": msg.data["segment"]}
        if self._failure is not None and {k: self._failure[k] for k in asked} == asked:
            self._send(protocol.FAILED, self._failure)
            return
        if asked == self._asked:
            return  # asked again before the first answer came
        self._asked = asked
        try:
            order = parse_order(msg.data["order"])
        except LoadtestError as error:
            self._failure = spoken(asked, FailedMessage(str(error)))
            self._send(protocol.FAILED, self._failure)
            return
        self._orders.put((order, (msg.data["index"], msg.data["workers"])))

    def _on_clock(self, msg: Any, **_: Any) -> None:
        stamps = (msg.data["t1"], msg.data["t2"], msg.data["t3"])
        self._clocks.add(*stamps, self._timeline.now_ns())

    def _on_start(self, msg: Any, **_: Any) -> None:
        session = self._mine(msg)
        if session is not None and not session.told_start.is_set():
            session.start_ns, session.epoch_ns = msg.data["start_ns"], msg.data["epoch_ns"]
            session.told_start.set()

    def _on_stop(self, msg: Any, **_: Any) -> None:
        session = self._mine(msg)
        if session is not None:
            session.stop()

    def _on_ack(self, msg: Any, **_: Any) -> None:
        session = self._mine(msg)
        if session is not None:
            session.acknowledge(msg.data["numbers"])

    def _on_release(self, msg: Any, **_: Any) -> None:
        session = self._mine(msg)
        if session is not None:
            session.released.set()
            session.told_start.set()


def _end_refused(host: str, port: int) -> None:
    logger.error(
        "coordinator at %s:%d refuses the keys of this worker: those of both have to be of one run "
        "of `loadtest keys`",
        host,
        port,
    )
    os._exit(EXIT_ENGINE)


def main() -> int:
    """Run the worker until its coordinator is gone or a signal ends it; return the exit code."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    raise_descriptor_limit()
    try:
        logging.getLogger().setLevel(log_level("LOADTEST_LOG"))
        host, port = split_address("COORDINATOR", required("COORDINATOR"))
        region = required("FLY_REGION")
        orphaned_after_s = seconds("LOADTEST_ORPHANED_AFTER_S", protocol.ORPHANED_AFTER_S)
        secure_locust(curve_keys("CLIENT"), partial(_end_refused, host, port))
    except LoadtestError as error:
        logger.error("%s", error)
        return EXIT_ENGINE
    # the exit of a signal must not wait for greenlets, sockets or rows: nobody would read them
    gevent.signal_handler(signal.SIGTERM, os._exit, 128 + signal.SIGTERM)
    gevent.signal_handler(signal.SIGINT, os._exit, 128 + signal.SIGINT)
    runners.WORKER_REPORT_INTERVAL = 1.0
    runners.MASTER_HEARTBEAT_TIMEOUT = int(orphaned_after_s)
    environment = Environment(user_classes=[WorkerUser])
    try:
        runner = environment.create_worker_runner(host.strip("[]"), port)
    except ConnectionError:
        logger.error("coordinator at %s:%d does not answer; is it running?", host, port)
        return EXIT_ENGINE
    step_back()
    vars(environment)["loadtest_worker"] = Worker(
        runner, region, os.environ.get("FLY_MACHINE_ID", "")
    )
    runner.greenlet.join()
    logger.error("coordinator at %s:%d is gone", host, port)
    return EXIT_ENGINE


if __name__ == "__main__":
    sys.exit(main())
