"""Parts of the stage that the contract tests play on: servers, app processes, a counting wire."""

import contextlib
import dataclasses
import http.client
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loadtest.world.caches.binary import find_cache_server
from loadtest.world.postgres.server import RunningPostgres

PASSWORD = "p:a's s/wörd%"
QUOTED = "p%3Aa%27s%20s%2Fw%C3%B6rd%25"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def cache_server(*options: str) -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [find_cache_server().program, "--port", str(port), "--save", "", *options],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)


@dataclasses.dataclass
class Page:
    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def round_trips(self) -> int:
        timing = self.headers["server-timing"]
        return int(timing.partition('desc="')[2].partition('"')[0])


@dataclasses.dataclass
class App:
    """One app process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Page:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            form = {"content-type": "application/x-www-form-urlencoded"} if body else {}
            connection.request(method, path, body, {**form, **(headers or {})})
            answer = connection.getresponse()
            return Page(answer.status, answer.headers, answer.read().decode())

    def get(self, path: str, **headers: str) -> Page:
        return self.ask("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def wait_health(self, status: int = 200, deadline_s: float = 20) -> Page:
        """Wait until the health check answers with a status."""
        due = time.monotonic() + deadline_s
        while time.monotonic() < due:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                page = self.get("/healthz")
                if page.status == status:
                    return page
            select.select([], [], [], 0.02)
        raise AssertionError(f"no {status} from /healthz: {self.log.read_text()}")


class Wire:
    """A relay that counts connections and round trips: an answer that follows a request."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self.round_trips = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[], tuple[int, int]]]:
        before = (self.connections, self.round_trips)
        yield lambda: (self.connections - before[0], self.round_trips - before[1])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._relay, args=[near], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self._target)) as far:
            asked = False
            while True:
                for source in select.select([near, far], [], [])[0]:
                    try:
                        data = source.recv(65_536)
                    except OSError:
                        return
                    if not data:
                        return
                    if source is near:
                        asked = True
                        far.sendall(data)
                    else:
                        self.round_trips += asked
                        asked = False
                        near.sendall(data)


class Road:
    """A relay that can be shut: connections stay, and what was sent comes when it is open again."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open = threading.Event()
        self._open.set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._relay, args=[near], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.socket() as far:
            far.connect(("127.0.0.1", self._target))
            while True:
                for source in select.select([near, far], [], [])[0]:
                    data = source.recv(65_536)
                    if not data:
                        return
                    self._open.wait(30)
                    (far if source is near else near).sendall(data)


def wait_until(look: Callable[[], bool], why: str = "") -> None:
    due = time.monotonic() + 20
    while not look():
        assert time.monotonic() < due, why
        select.select([], [], [], 0.005)


@dataclasses.dataclass
class Stage:
    """Servers that run, and a way to start apps against them."""

    base: Path
    primary: RunningPostgres
    replica: RunningPostgres
    primary_port: int
    replica_port: int
    apps: list[App] = dataclasses.field(default_factory=list)

    def url(self, port: int) -> str:
        return f"postgres://postgres:{QUOTED}@127.0.0.1:{port}/recipes"

    def environment(self, region: str, **extra: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLY_", "PG", "DB_"))}
        return {
            **kept,
            "DATABASE_URL": self.url(self.primary_port),
            "REPLICA_DATABASE_URL": self.url(self.replica_port),
            "PRIMARY_REGION": "cdg",
            "FLY_REGION": region,
            "DB_POOL": "2",
            "HOST": "127.0.0.1",
            **extra,
        }

    def seed(self, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "loadtest.refapp", "seed"],
            env=self.environment("cdg", **extra),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start_worker(self, **extra: str) -> subprocess.Popen[bytes]:
        with (self.base / "worker.log").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "loadtest.refapp", "work"],
                env=self.environment("cdg", **extra),
                stdout=output,
                stderr=output,
            )

    def start_app(self, region: str, **extra: str) -> App:
        port = free_port()
        log = self.base / f"app-{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "loadtest.refapp"],
                env=self.environment(region, PORT=str(port), **extra),
                stdout=output,
                stderr=output,
            )
        self.apps.append(App(process, port, log))
        return self.apps[-1]
