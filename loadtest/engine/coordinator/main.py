"""
The coordinator process: ``python -m loadtest.engine.coordinator.main``.

A Locust master without its dealing-out of users: orders come over a small HTTP API, go to the
workers as messages, rows come back and become Parquet.  Reads PORT, LOCUST_PORT, LOADTEST_TOKEN,
LOADTEST_BIND (default 127.0.0.1), LOADTEST_BIND_WORKERS (default: the same) and the CURVE keys from
its environment; LOADTEST_TLS_CERT and LOADTEST_TLS_KEY let the API speak TLS.
Where LOADTEST_DRIVER_SILENT_S is set, a coordinator that nobody asks for so long ends its run, its
workers and itself; until it is asked the first time, LOADTEST_DRIVER_FIRST_S counts, and
LOADTEST_RUN_MOST_S ends all whoever asks.  With LOADTEST_STAYS=1 it ends the run alone, and waits
for the next.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import ssl
from gevent.pywsgi import WSGIServer
from locust import runners
from locust.env import Environment

from loadtest.clock import SystemClock
from loadtest.engine.coordinator.api import CoordinatorApi, CoordinatorApiError
from loadtest.engine.coordinator.conductor import SegmentConductor
from loadtest.engine.coordinator.dispatch import PinnedDispatcher
from loadtest.engine.coordinator.driver import DriverWatch
from loadtest.engine.coordinator.roster import Roster
from loadtest.engine.wire import protocol
from loadtest.engine.wire.clocksync import Timeline
from loadtest.engine.wire.protocol import curve_keys, log_level, port_number, required, seconds
from loadtest.engine.wire.secure_rpc import secure_locust, shield
from loadtest.engine.wire.worker_user import WorkerUser
from loadtest.errors import EXIT_ENGINE, EngineError, LoadtestError
from loadtest.kernel.descriptors import raise_descriptor_limit
from loadtest.plan.order import RunOrder
from loadtest.records.load_status import PresentWorker
from loadtest.records.writer import Work

logger = logging.getLogger("loadtest.coordinator")

_LOOK_S = 0.25
_STOP_S = 10.0

_NEVER = 10**9  # heartbeats: Locust's own verdicts on workers must never touch the load


class CoordinatorProcess:
    """
    Ties Locust's master, the roster of workers and the run together.

    Args:
        runner: Locust's master runner, shielded.
        lost_after_s: Silence after which a worker counts as lost.
    """

    def __init__(self, runner: Any, lost_after_s: float = protocol.LOST_AFTER_S) -> None:
        self.run: SegmentConductor | None = None
        self._runner = runner
        self._timeline = Timeline(SystemClock())
        self._roster = Roster(time.monotonic_ns, lost_after_s)
        self._spawning = False
        self._listen(protocol.HELLO, self._roster.hello)
        self._listen(protocol.CLOCK, self._on_clock)
        for kind, name in {
            protocol.READY: "on_ready",
            protocol.FAILED: "on_failed",
            protocol.BATCH: "on_batch",
            protocol.HEALTH: "on_health",
            protocol.FIN: "on_fin",
        }.items():
            self._listen(kind, self._for_run(name))

    @property
    def version(self) -> str:
        """Version of loadtest that workers have to be of."""
        return self._roster.version

    def refused(self) -> dict[str, str]:
        """Return the workers that cannot take part, and why, for the API."""
        return self._roster.refused

    def workers(self) -> tuple[PresentWorker, ...]:
        """Return the workers that are present, for the API."""
        return tuple(
            PresentWorker(id=entry.name, region=entry.region, state=entry.state)
            for entry in self._roster.present()
        )

    def accept(self, order: RunOrder) -> SegmentConductor:
        """
        Start a segment.

        Raises:
            CoordinatorApiError: 409 while another runs, 422 for an order that does not fit.
        """
        run = self.run
        if run is not None and not run.final:
            raise CoordinatorApiError(
                409, f"run {run.run_id} is in state {run.state}; wait for it or stop it"
            )
        _check(order, run)
        if run is not None and run.run_id == order.run_id:
            run.next_segment(order)
        else:
            if run is not None:
                run.collector.close()
            run = self.run = SegmentConductor(
                order,
                self._roster,
                send=self._send,
                spawn_drivers=self._spawn_drivers,
                timeline=self._timeline,
                call=_in_thread,
            )
        gevent.spawn(run.conduct)
        return run

    def abandon(self, why: str) -> None:
        """End the load that nobody follows; coordinator and workers stay."""
        if self.run is not None and not self.run.final and not self.run.stop_asked.is_set():
            logger.error("%s", why)
            self.run.stop(why)

    def end(self) -> None:
        """End the load, then the workers; what they have measured is nobody's any more."""
        if self.run is not None and not self.run.final:
            self.run.stop()
            with gevent.Timeout(_STOP_S, False):
                while not self.run.final:
                    gevent.sleep(_LOOK_S)
        self._runner.quit()

    def _listen(self, kind: str, handler: Callable[[str, dict[str, object]], None]) -> None:
        def listener(environment: Any, msg: Any) -> None:  # noqa: ARG001 - Locust's signature
            self._roster.heard(msg.node_id)
            handler(msg.node_id, msg.data)

        self._runner.register_message(kind, listener)

    def _for_run(self, name: str) -> Callable[[str, dict[str, object]], None]:
        def handler(client_id: str, data: dict[str, object]) -> None:
            if self.run is not None:
                getattr(self.run.workers, name)(client_id, data)

        return handler

    def _on_clock(self, client_id: str, data: dict[str, object]) -> None:
        t2 = self._timeline.now_ns()
        stamps = {"t1": data["t1"], "t2": t2, "t3": self._timeline.now_ns()}
        self._send(protocol.CLOCK, stamps, client_id)

    def _send(self, kind: str, data: dict[str, object], client_id: str) -> None:
        self._runner.send_message(kind, data, client_id)

    def _spawn_drivers(self) -> None:
        """Let Locust put a driver on every worker; those that have one keep it."""
        if self._spawning:
            return
        self._spawning = True

        def start() -> None:
            try:
                count = max(1, len(self._runner.clients))
                self._runner.start(count, spawn_rate=count)
            finally:
                self._spawning = False

        gevent.spawn(start)


def _check(order: RunOrder, run: SegmentConductor | None) -> None:
    same = run is not None and run.run_id == order.run_id
    expected = run.order.segment + 1 if run is not None and same else 0
    if order.segment != expected:
        raise CoordinatorApiError(422, f"order: segment {order.segment}; expected is {expected}")
    measured = False
    for region in order.plan.regions:
        arms = order.plan.arms_in(region)
        measured = measured or bool(arms)
        missing = [arm for arm in arms if arm not in order.targets.get(region, {})]
        if missing:
            raise CoordinatorApiError(422, f"order: targets.{region}: missing {', '.join(missing)}")
    if not measured:
        raise CoordinatorApiError(422, "order: no region measures any deployment")


def _end_when_alone(process: CoordinatorProcess, watch: DriverWatch) -> None:
    """End everything once the driver is gone; never returns."""
    while not watch.gone:
        gevent.sleep(_LOOK_S)
    logger.error("%s and the machine", watch.sentence)
    try:
        process.end()
    finally:
        os._exit(EXIT_ENGINE)


def _end_runs_when_alone(process: CoordinatorProcess, watch: DriverWatch) -> None:
    """End every run whose driver is gone; never returns."""
    while True:
        if watch.gone:
            process.abandon(watch.sentence)
        gevent.sleep(_LOOK_S)


def _in_thread(work: Work) -> Any:
    return gevent.get_hub().threadpool.apply(work)


def _start_master(host: str, port: int) -> Any:
    """
    Create Locust's master.

    Its own ideas of dead workers are switched off: they would deal users out again or stop the
    whole test.
    """
    runners.HEARTBEAT_LIVENESS = _NEVER
    environment = Environment(user_classes=[WorkerUser], dispatcher_class=PinnedDispatcher)
    try:
        runner = environment.create_master_runner(host, port)
    except SystemExit as error:
        raise LoadtestError(f"LOCUST_PORT {port}: in use; choose another") from error
    shield(runner)
    return runner


def _certificate() -> dict[str, object]:
    """
    Return how the API speaks TLS; nothing where it does not.

    Raises:
        EngineError: The files are none that a server can show.
    """
    names = ("LOADTEST_TLS_CERT", "LOADTEST_TLS_KEY")
    given = [os.environ.get(name, "") for name in names]
    if not any(given):
        return {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(required(names[0]), required(names[1]))
    except OSError as error:
        raise EngineError(
            f"{' and '.join(names)}: {' and '.join(given)} are no certificate and its key in PEM: "
            f"{error.strerror or error}"
        ) from error
    return {"ssl_context": context}


def main() -> int:
    """Serve until a signal ends it; return the exit code."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    raise_descriptor_limit()
    try:
        logging.getLogger().setLevel(log_level("LOADTEST_LOG"))
        token = required("LOADTEST_TOKEN")
        http_port = port_number("PORT", required("PORT"))
        locust_port = port_number("LOCUST_PORT", required("LOCUST_PORT"))
        bind = os.environ.get("LOADTEST_BIND", "127.0.0.1")
        bind_workers = os.environ.get("LOADTEST_BIND_WORKERS", "") or bind
        tls = _certificate()
        lost_after_s = seconds("LOADTEST_LOST_AFTER_S", protocol.LOST_AFTER_S)
        silent_s = seconds("LOADTEST_DRIVER_SILENT_S", 0.0)
        first_s = seconds("LOADTEST_DRIVER_FIRST_S", 0.0)
        most_s = seconds("LOADTEST_RUN_MOST_S", 0.0)
        secure_locust(curve_keys("SERVER"))
        runner = _start_master("*" if bind_workers == "::" else bind_workers, locust_port)
    except LoadtestError as error:
        logger.error("%s", error)
        return EXIT_ENGINE
    gevent.signal_handler(signal.SIGTERM, os._exit, 128 + signal.SIGTERM)
    gevent.signal_handler(signal.SIGINT, os._exit, 128 + signal.SIGINT)
    process = CoordinatorProcess(runner, lost_after_s)
    watch = DriverWatch(time.monotonic_ns, silent_s, first_s, most_s)
    stays = os.environ.get("LOADTEST_STAYS") == "1"
    gevent.spawn(_end_runs_when_alone if stays else _end_when_alone, process, watch)
    app = CoordinatorApi(process, token, watch.heard)
    server = WSGIServer((bind, http_port), app, log=None, error_log=logger, **tls)
    try:
        server.serve_forever()
    except OSError as error:
        logger.error("PORT %d at %s: %s; choose another", http_port, bind, error.strerror)
    return EXIT_ENGINE


if __name__ == "__main__":
    sys.exit(main())
